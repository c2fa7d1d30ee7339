package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Prospect is what a start is about to do: what whoever starts it should know, and what is written
// down of it.
type Prospect struct {
	Record     Record // of the runs before; zero when there was none
	Begun      bool   // there was one
	Recipients int
	Twice      int // of them, may get their message for the second time
}

// Foresee looks at what earlier runs have left. The options hold a summary.
func (j Job) Foresee(ctx context.Context, o Options) (Prospect, error) {
	record, _, err := ReadRecord(ctx, o.Conn, j.AppID, j.Campaign)
	unknown := errors.Is(err, ErrUnknown)
	if err != nil && !unknown {
		return Prospect{}, err
	}
	return Prospect{
		Record: record, Begun: !unknown, Recipients: o.Summary.Recipients,
		Twice: record.MayDouble(time.Now(), o.Remembered),
	}, nil
}

// Audit writes down that the job is started.
func (p Prospect) Audit(ctx context.Context, j Job, o Options) error {
	detail := "started"
	if p.Begun {
		detail = fmt.Sprintf("continued behind row %d of %d", p.Record.Next, p.Record.Rows)
	}
	if p.Twice > 0 {
		detail += fmt.Sprintf("; %d may get it twice", p.Twice)
	}
	return o.Conn.Audit(ctx, broker.AuditEntry{
		Actor: o.By, Verb: "campaign", AppID: j.AppID, Count: p.Recipients, Detail: detail,
		Filter: fmt.Sprintf("campaign=%s file_sha256=%s", j.Campaign, o.Summary.File),
	})
}

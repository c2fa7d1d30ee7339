package deadletter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"

	"github.com/kefuhq/kefu/internal/broker"
)

// ExportPlan says what an export would write.
type ExportPlan struct {
	Tally
	Foreign int    `json:"foreign"` // more that the filter chooses, which are no letters
	Through uint64 `json:"through"`
}

// PlanExport looks at every letter that the filter chooses.
func (b *Box) PlanExport(ctx context.Context, filter Filter) (ExportPlan, error) {
	var p ExportPlan
	var err error
	if p.Through, err = b.last(ctx); err != nil || p.Through == 0 {
		return p, err
	}
	err = b.walkSkimmed(ctx, filter, p.Through, func(i Item) error {
		if i.Broken {
			p.Foreign++
		} else {
			p.add(&i.Letter)
		}
		return nil
	})
	p.sort()
	return p, err
}

// Export writes the letters that a plan has found, one on each line, as they are stored: with
// their recipients and messages. The audit comes before the first letter, and no more are written
// than it says. Nothing is taken out of the box. It returns how many letters were written, with
// an error, too. progress may be nil.
func (b *Box) Export(
	ctx context.Context, w io.Writer, v Viewer, filter Filter, p ExportPlan, progress func(int),
) (exported int, err error) {
	if p.Total == 0 {
		return 0, nil
	}
	if err := b.AuditRevealOf(ctx, v, filter, p.Total); err != nil {
		return 0, err
	}
	out := bufio.NewWriterSize(w, 64<<10)
	err = b.walkSkimmed(ctx, filter, p.Through, func(i Item) error {
		switch {
		case i.Broken:
			return nil
		case exported == p.Total:
			return broker.ErrStopScan
		}
		line, err := oneLine(i.raw)
		if err == nil {
			_, err = out.Write(append(line, '\n'))
		}
		if err != nil {
			return err
		}
		exported++
		if progress != nil {
			progress(exported)
		}
		return ctx.Err()
	})
	if err != nil {
		_ = out.Flush() // the first error counts
		return exported, err
	}
	return exported, out.Flush()
}

// oneLine returns JSON without line feeds: a letter may have been published by hand.
func oneLine(raw []byte) ([]byte, error) {
	if !bytes.ContainsAny(raw, "\r\n") {
		return raw, nil
	}
	var b bytes.Buffer
	err := json.Compact(&b, raw)
	return b.Bytes(), err
}

package replay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/schema"
)

// Original is a letter as it was before a replay changed its packet. It is kept in KEFU_JOB under
// edited.<appid>.<hash of the id>.<sequence of the letter>.
type Original struct {
	Job    string        `json:"job"`
	By     string        `json:"by"`
	At     time.Time     `json:"at"`
	Letter schema.Letter `json:"letter"`
}

const (
	originalPrefix = "edited."

	// originalKeep is as long as a letter is kept.
	originalKeep = 30 * 24 * time.Hour
)

func originalKeys(appID, id string) string {
	sum := sha256.Sum256([]byte(id))
	return originalPrefix + appID + "." + hex.EncodeToString(sum[:8]) + "."
}

// keepOriginals keeps letters before they are sent with changes.
func (w *Work) keepOriginals(
	ctx context.Context, o job.Order, items []deadletter.Item, held []bool,
) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxUnsettled)
	for i, item := range items {
		if !held[i] || item.Broken {
			continue
		}
		group.Go(func() error {
			l := &items[i].Letter
			body, err := json.Marshal(Original{o.ID, o.By, time.Now().UTC(), *l})
			if err != nil {
				return err
			}
			key := originalKeys(l.AppID, l.ID) + fmt.Sprint(item.Seq)
			_, err = w.conn.Outbox.PublishWait(ctx, broker.PutJob(key, body, originalKeep))
			return err
		})
	}
	return group.Wait()
}

// Originals reads what was kept of an intent of an app, the oldest first.
func Originals(ctx context.Context, conn *broker.Conn, appID, id string) ([]Original, error) {
	entries, err := conn.ReadJobs(ctx, originalKeys(appID, id))
	if err != nil {
		return nil, err
	}
	var out []Original
	for _, e := range entries {
		var o Original
		if json.Unmarshal(e.Value, &o) == nil && o.Letter.ID == id {
			out = append(out, o)
		}
	}
	return out, nil
}

package forget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Remnant is what is not removed.
type Remnant struct {
	Where string    `json:"where"`
	What  string    `json:"what"`
	Until time.Time `json:"until,omitzero"` // zero: kefu does not know
}

// remains lists what is left of a person after what is stored was removed.
func remains(
	ctx context.Context, conn *broker.Conn, orders []Order, left []Remnant,
) ([]Remnant, error) {
	var out []Remnant
	if len(orders) > 0 {
		r := Remnant{Where: wire.BucketState,
			What: "the order itself, under a hash of the openid with a key"}
		for _, o := range orders {
			if o.Until.After(r.Until) {
				r.Until = o.Until
			}
		}
		out = append(out, r)
	}
	now := time.Now()
	for _, r := range []Remnant{
		{Where: wire.StreamLedger, What: "hashes of their messages' ids"},
		{Where: wire.StreamDeadIndex, What: "hashes of their letters' ids"},
		{Where: schema.StreamReceipt,
			What: "receipts of messages that were sent to them: an id, and no recipient"},
		{Where: wire.StreamAudit, What: "a hash of the openid with a key, and the ids of messages " +
			"that operators named"},
	} {
		keep, err := maxAge(ctx, conn, r.Where)
		if err != nil {
			return nil, err
		}
		if keep > 0 {
			r.Until = now.Add(keep).UTC()
		}
		out = append(out, r)
	}
	for _, r := range left { // one may concern several apps
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return append(out, Remnant{Where: "elsewhere", What: "logs, with the hash of the openid; " +
		"exported letters, files of recipients and of rejected rows, reports of campaigns, backups " +
		"and mirrors of the broker, and what producers keep"}), nil
}

// maxAge is how long a stream keeps a message; 0 for ever.
func maxAge(ctx context.Context, conn *broker.Conn, stream string) (time.Duration, error) {
	s, err := conn.JS.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, fmt.Errorf("%s: %w", stream, broker.ErrNoStream)
	}
	if err != nil {
		return 0, fmt.Errorf("how long %s keeps a message: %w", stream, err)
	}
	return s.CachedInfo().Config.MaxAge, nil
}

// keep is for how long an order must stand: as long as a letter can be replayed, and as long as an
// intent can wait.
func (r *removal) keep(ctx context.Context) (time.Duration, error) {
	letters, err := maxAge(ctx, r.conn, schema.StreamDead)
	return max(letters, r.options.ExpireAfter, keepLeast), err
}

// keepLeast is for how long an order stands at least, where letters are kept for ever.
const keepLeast = 30 * 24 * time.Hour

// jobRemnant is a record of KEFU_JOB that names the person.
func jobRemnant(e broker.StateEntry) Remnant {
	what := "the record " + e.Key
	if parts := strings.Split(e.Key, "."); len(parts) > 1 && parts[0] == "job" {
		what = "job " + parts[1] + ", which was ordered for this openid; it names nobody any " +
			"more when it has ended"
	}
	return Remnant{Where: wire.BucketJob, What: what}
}

package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Progress is how far a replay has come.
type Progress struct {
	Replayed int
	Left     int    // in the box: skipped and failed
	Waiting  string // for what, when the queue takes nothing just now
}

// Result is what a replay did.
type Result struct {
	Replayed   int    `json:"replayed"`   // the queue has them
	Duplicates int    `json:"duplicates"` // of those: an earlier run had got that far
	Kept       int    `json:"kept"`       // of those: their letter may still lie in the box
	Skipped    int    `json:"skipped"`    // left in the box; Notes say why
	Failed     int    `json:"failed"`     // left in the box: the broker refused them; Notes say why
	Notes      []Note `json:"notes,omitempty"`

	// Stopped says why the replay ended before the last letter; "" when it did not.
	Stopped string        `json:"stopped,omitempty"`
	Took    time.Duration `json:"-"`
}

const (
	// maxUnsettled is how many letters are between publish and deletion. Before as many
	// are published, that is written down (handover).
	maxUnsettled = 64
	maxInRow     = 20 // refusals in a row that end a replay: what is wrong is not the letters

	fullPause = 500 * time.Millisecond // between two offers to a full queue

	// afterStop is how long an interrupted replay waits for the answers to what
	// it has published, so that their letters can go.
	afterStop = 3 * time.Second

	// patience is how long the box, the ledger and the queues may not answer before
	// a replay gives up.
	patience = time.Minute

	requestTimeout = 5 * time.Second
)

// Replay publishes every letter that the filter chooses to its lane again and
// takes it out of the box. It begins and ends with an entry in the audit.
//
// It can be interrupted and run again at any time: a letter is taken out only
// when its own message is in the queue, or was. The one that an earlier run has
// published is known by its id at the broker and in the queue, and later by the
// ledger and what that run has written down.
//
// The error is that of the context or of a box that cannot be read; what one
// letter met with is in the Result, which says how far it came in either case.
func (b *Box) Replay(ctx context.Context, filter Filter, o Options) (Result, error) {
	planned := o.Through != 0
	if !planned {
		var err error
		if o.Through, err = b.last(ctx); err != nil {
			return Result{}, err
		}
	}
	pseudonyms, err := b.conn.Pseudonyms(ctx)
	if err != nil {
		return Result{}, err
	}
	entry := broker.AuditEntry{
		Actor: o.By, Verb: "replay", AppID: filter.AppID, Filter: filter.Words(pseudonyms),
	}
	r := newReplay(b, o)
	r.planned = planned
	err = b.conn.Audited(ctx, entry, o.words(), func() (int, string, error) {
		begin := time.Now()
		err := r.run(ctx, filter)
		r.result.Took = time.Since(begin)
		r.result.Notes = r.notes.sorted()
		err = errors.Join(err, r.close(ctx))
		return r.result.Replayed, r.result.words(err), err
	})
	return r.result, err
}

// words are the options as the audit keeps them.
func (o Options) words() string {
	s := ""
	if o.Rate > 0 {
		s += fmt.Sprintf(", %g a second", o.Rate)
	}
	if o.Limit > 0 {
		s += fmt.Sprintf(", %d at most", o.Limit)
	}
	if o.ExpiresIn > 0 {
		s += fmt.Sprintf(", new deadline in %s", o.ExpiresIn)
	}
	if o.NewIDs {
		s += ", new ids"
	}
	return s
}

func (r Result) words(err error) string {
	s := fmt.Sprintf("replayed %d, skipped %d, failed %d", r.Replayed, r.Skipped, r.Failed)
	switch {
	case r.Stopped != "":
		return s + "; stopped: " + r.Stopped
	case err != nil:
		return s + "; interrupted"
	}
	return s
}

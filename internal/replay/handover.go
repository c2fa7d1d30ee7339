package replay

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
)

// handed is a letter that may have been published since a time.
type handed struct {
	Seq   uint64    `json:"seq"` // in KEFU_DEAD
	At    time.Time `json:"at"`
	NewID bool      `json:"new_id,omitempty"` // under an id of its own
}

// handover is what versions of kefu that replayed from within the command wrote down before they
// published some letters, under replay.<run>. One that is still there is of a run that was killed.
type handover struct {
	Box     time.Time `json:"box,omitzero"` // when KEFU_DEAD was made; another has other sequences
	Letters []handed  `json:"letters"`
}

const handoverPrefix = "replay."

// readHands reads which letters of the box that was made at a time replays have in hand, or had
// when they were cut off. Handovers that do not say which box they mean count as being about it.
func readHands(ctx context.Context, conn *broker.Conn, made time.Time) ([]handed, error) {
	entries, err := conn.ReadJobs(ctx, handoverPrefix)
	if err != nil {
		return nil, err
	}
	var all []handed
	for _, e := range entries {
		var h handover
		if json.Unmarshal(e.Value, &h) == nil && (h.Box.IsZero() || h.Box.Equal(made)) {
			all = append(all, h.Letters...)
		}
	}
	steps, err := job.OpenSteps(ctx, conn)
	if err != nil {
		return nil, err
	}
	for _, s := range steps {
		step := stepOf(s)
		if !step.Box.Equal(made) {
			continue
		}
		for _, l := range step.Letters {
			all = append(all, handed{l.Seq, step.At, false}, handed{l.Seq, step.At, true})
		}
	}
	return all, nil
}

// InHand tells a discard which letters replays have in hand: it leaves these.
func InHand(ctx context.Context, conn *broker.Conn, made time.Time) (map[uint64]bool, error) {
	hands, err := readHands(ctx, conn, made)
	if err != nil {
		return nil, err
	}
	seqs := make(map[uint64]bool, len(hands))
	for _, h := range hands {
		seqs[h.Seq] = true
	}
	return seqs, nil
}

package deadletter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
)

// handover is what a replay writes down before it publishes some letters: if it dies, these may be
// in the queue and in the box. It is kept in the bucket KEFU_JOB under replay.<run>, and taken away
// when all of them are settled.
type handover struct {
	By      string    `json:"by,omitempty"`
	Box     time.Time `json:"box,omitzero"` // when KEFU_DEAD was made; another has other sequences
	Letters []handed  `json:"letters"`

	run string
	seq uint64 // in the bucket
}

// handed is a letter that may have been published at a time.
type handed struct {
	Seq   uint64    `json:"seq"` // in KEFU_DEAD
	At    time.Time `json:"at"`
	NewID bool      `json:"new_id,omitempty"` // under an id of its own
}

const (
	handoverPrefix = "replay."

	// handoverKeep is longer than a letter is kept.
	handoverKeep = 35 * 24 * time.Hour
)

// readHandovers reads what replays that did not end, or are running, have written down about the
// box that was made at a time. Notes that do not say which box they mean count as being about it.
func readHandovers(ctx context.Context, conn *broker.Conn, made time.Time) ([]handover, error) {
	entries, err := conn.ReadJobs(ctx, handoverPrefix)
	if err != nil {
		return nil, err
	}
	var all []handover
	for _, e := range entries {
		h := handover{run: e.Key[len(handoverPrefix):], seq: e.Seq}
		if json.Unmarshal(e.Value, &h) == nil && len(h.Letters) > 0 &&
			(h.Box.IsZero() || h.Box.Equal(made)) {
			all = append(all, h)
		}
	}
	return all, nil
}

// write stores the handover in the place of what the same run wrote before, or takes it away when
// it has no letters.
func (h *handover) write(ctx context.Context, conn *broker.Conn) error {
	m, err := h.message()
	if err == nil {
		_, err = conn.Outbox.PublishWait(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("write down what is replayed: %w", err)
	}
	return nil
}

func (h *handover) message() (*nats.Msg, error) {
	key := handoverPrefix + h.run
	if len(h.Letters) == 0 {
		return broker.DeleteJob(key), nil
	}
	body, err := json.Marshal(h)
	return broker.PutJob(key, body, handoverKeep), err
}

// removeSettled takes settled letters off what other runs have left. Nobody but their own run may
// still write there: whoever does so meanwhile keeps his.
func removeSettled(
	ctx context.Context, conn *broker.Conn, all []handover, settled map[uint64]bool,
) error {
	for _, h := range all {
		var left []handed
		for _, l := range h.Letters {
			if !settled[l.Seq] {
				left = append(left, l)
			}
		}
		if len(left) == len(h.Letters) {
			continue
		}
		h.Letters = left
		m, err := h.message()
		if err != nil {
			return err
		}
		if _, err := conn.Swap(ctx, m, h.seq); err != nil && !errors.Is(err, broker.ErrOvertaken) {
			return err
		}
	}
	return nil
}

// writeDown notes that a batch comes next, beside what is still open of those before.
func (r *replay) writeDown(ctx context.Context, batch ...chosen) error {
	r.judging.Lock()
	defer r.judging.Unlock()
	now := time.Now().UTC()
	r.mu.Lock()
	for _, c := range batch {
		at := now
		if before, ok := r.records.doubts[doubt{c.item.Seq, c.target.ownID}]; ok {
			at = before
		}
		r.open[c.item.Seq] = handed{Seq: c.item.Seq, At: at, NewID: c.target.ownID}
	}
	r.handover.Box, r.handover.Letters = r.records.made,
		slices.SortedFunc(maps.Values(r.open), bySeq)
	r.mu.Unlock()
	return r.handover.write(ctx, r.box.conn)
}

func bySeq(a, b handed) int { return cmp.Compare(a.Seq, b.Seq) }

// sent notes that a letter is published now.
func (r *replay) sent(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.flying[seq] = true
}

// unsent notes that the queue certainly has no message of a letter from this run.
func (r *replay) unsent(seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, seq)
	delete(r.flying, seq)
}

// close leaves what is still in doubt for the next run, and takes what is settled off the notes of
// earlier ones.
func (r *replay) close(ctx context.Context) error {
	if len(r.handover.Letters) == 0 && len(r.settled) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTimeout)
	defer cancel()
	var err error
	if len(r.handover.Letters) > 0 {
		// their turn did not come
		maps.DeleteFunc(r.open, func(seq uint64, _ handed) bool { return !r.flying[seq] })
		r.handover.Letters = slices.SortedFunc(maps.Values(r.open), bySeq)
		err = r.handover.write(ctx, r.box.conn)
	}
	return errors.Join(err, removeSettled(ctx, r.box.conn, r.records.handovers, r.settled))
}

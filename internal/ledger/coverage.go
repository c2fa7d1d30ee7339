package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// What campaigns count is all there is only while every worker says in its marks
// which campaign they belong to: one of an earlier version does not, nor does one
// that keeps no ledger. The key counts.since says since when that is so. It has
// another value whenever it was not so in between.
const sinceKey = "counts.since"

// coverage is since when all ends are counted.
type coverage struct {
	Since time.Time `json:"since"`

	// Unsaid is when the last mark came before that of which nobody knows the campaign.
	// Who finds a later one in the log knows that the key is worth nothing.
	Unsaid time.Time `json:"unsaid,omitzero"`

	rev uint64
}

// CountedSince reads since when the ends of all campaigns are counted; zero if they
// are not. A campaign is counted whole if the answer is the same as at its start.
func CountedSince(ctx context.Context, conn *broker.Conn) (time.Time, error) {
	c, err := readCoverage(ctx, conn)
	return c.Since, err
}

func readCoverage(ctx context.Context, conn *broker.Conn) (c coverage, err error) {
	e, err := conn.LastState(ctx, sinceKey)
	if errors.Is(err, broker.ErrNoMessage) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("since when campaigns are counted: %w", err)
	}
	if !e.Deleted && json.Unmarshal(e.Value, &c) != nil {
		c = coverage{}
	}
	c.rev = e.Seq
	return c, nil
}

// Cover keeps that key. all says whether every worker of the pool counts now. It is
// to be called every now and then, and when Unsaid has changed.
func (l *Ledger) Cover(ctx context.Context, all bool) error {
	if !all {
		return Uncover(ctx, l.conn)
	}
	c, err := readCoverage(ctx, l.conn)
	unsaid := l.Unsaid()
	if err != nil || !c.Since.IsZero() && !unsaid.After(c.Unsaid) {
		return err
	}
	body, err := json.Marshal(coverage{Since: time.Now().UTC(), Unsaid: unsaid})
	if err != nil {
		return err
	}
	_, err = l.conn.Swap(ctx, broker.PutState(sinceKey, body, 0), c.rev)
	if errors.Is(err, broker.ErrOvertaken) {
		return nil // by another worker, who has seen the same
	}
	return err
}

// Uncover takes the key away: an end may come that is not counted.
func Uncover(ctx context.Context, conn *broker.Conn) error {
	c, err := readCoverage(ctx, conn)
	if err != nil || c.Since.IsZero() {
		return err
	}
	return conn.SaveState(ctx, broker.DeleteState(sinceKey))
}

// Unsaid is when a mark of an end last came that does not say its campaign; zero
// when there is none in the log.
func (l *Ledger) Unsaid() time.Time {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.counters.lastWithoutCampaign
}

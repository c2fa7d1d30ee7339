package worker

import (
	"context"
	"errors"
	"time"

	"github.com/kefuhq/kefu/internal/ledger"
)

const (
	// countsEvery is how often what campaigns and jobs count is stored.
	countsEvery = 500 * time.Millisecond
	// coverEvery is how often a worker looks whether all of it is counted, though
	// nothing seems to have changed.
	coverEvery = time.Minute
	// countsLast is for how long a worker that stops may take for what is left.
	countsLast = 2 * time.Second
	// countsMost is for how long one look may take.
	countsMost = 5 * time.Second
)

// counting stores what campaigns and jobs count, as the ledger has it, in one worker of
// the pool, and in each the names of the campaigns that it met. It belongs to one
// goroutine, and nothing that sends waits for it.
type counting struct {
	*services
	failing bool

	looked time.Time // when the following was seen
	all    bool      // every worker counts
	unsaid time.Time // of the ledger
}

// keep stores until ctx ends.
func (c *counting) keep(ctx context.Context) {
	t := time.NewTicker(countsEvery)
	defer t.Stop()
	for {
		if c.conn.Connected() {
			c.report(c.store(ctx))
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// end stores what the ledger has learned last.
func (c *counting) end() {
	ctx, cancel := context.WithTimeout(context.Background(), countsLast)
	defer cancel()
	if !c.conn.Connected() {
		return
	}
	var err error
	if c.book != nil {
		err = c.book.StoreCounts(ctx, c.pool.WritesCounts())
	}
	c.report(errors.Join(err, c.names.save(ctx, c.conn)))
}

func (c *counting) store(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, countsMost)
	defer cancel()
	if err := c.storeCounts(ctx, time.Now()); err != nil {
		return err
	}
	return c.names.save(ctx, c.conn)
}

func (c *counting) storeCounts(ctx context.Context, now time.Time) error {
	if c.book == nil { // nobody counts what this worker ends
		if now.Sub(c.looked) < coverEvery {
			return nil
		}
		c.looked = now
		return ledger.Uncover(ctx, c.conn)
	}
	writer := c.pool.WritesCounts()
	if err := c.book.StoreCounts(ctx, writer); err != nil || !writer {
		return err
	}
	all, unsaid := c.pool.AllCount(), c.book.Unsaid()
	if all == c.all && unsaid.Equal(c.unsaid) && now.Sub(c.looked) < coverEvery {
		return nil
	}
	if err := c.book.Cover(ctx, all); err != nil {
		return err
	}
	c.looked, c.all, c.unsaid = now, all, unsaid
	return nil
}

// report logs when what campaigns count cannot be stored, and when that is over.
func (c *counting) report(err error) {
	switch {
	case err != nil && c.work.Err() != nil:
	case err != nil && !c.failing:
		c.log.Warn("what campaigns count cannot be stored: kefu campaign status lags behind",
			"error", err)
	case err == nil && c.failing:
		c.log.Info("what campaigns count is stored again")
	}
	c.failing = err != nil
}

package gate

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	clockFresh = 4 * time.Second  // after which the broker is asked again
	clockStale = 30 * time.Second // after which nothing is taken before it has answered
	clockLooks = 8                // that are remembered; the one with the least doubt counts
	clockFirst = 3                // looks before the first slot is taken
	clockDrift = 200e-6           // of two clocks: twice what crystals are allowed
)

// clock tells the broker's time, which all workers share, though their own may be seconds apart. It
// is kept on the monotonic clock: nobody can set it.
type clock struct {
	conn  store
	trips *trips
	run   func(f func())   // in a goroutine that ends with the worker
	now   func() time.Time // this worker's

	looking chan struct{} // holds one while the broker is asked
	looks   []look
	created time.Time    // when the stream of the budgets was made
	unknown atomic.Int64 // up to when slots may have been taken that it does not know; nanoseconds
	best    atomic.Pointer[look]
	stale   atomic.Bool
	newest  atomic.Pointer[time.Time] // of looks
	renews  atomic.Bool               // a look is under way that nobody waits for
}

// look is one look at the broker's clock.
type look struct {
	at     time.Time // in the middle of the round trip
	broker int64     // what it said, in nanoseconds
	trip   time.Duration
}

// doubt is how far off a look may be at a time.
func (l look) doubt(now time.Time) time.Duration {
	return l.trip/2 + time.Duration(clockDrift*float64(now.Sub(l.at)))
}

// broker is the broker's time at now; ok is false before the first look.
func (c *clock) broker(now time.Time) (t int64, ok bool) {
	l := c.best.Load()
	if l == nil {
		return 0, false
	}
	return l.broker + int64(now.Sub(l.at)), true
}

// sync looks at the broker's clock if it is time to, and makes the stream of the budgets if that is
// gone. It waits for the answer only where the time is not known well enough to go on.
func (c *clock) sync(ctx context.Context) error {
	switch age := c.age(); {
	case age < clockFresh:
	case age < clockStale:
		if c.renews.CompareAndSwap(false, true) {
			c.run(func() {
				defer c.renews.Store(false)
				_ = c.look(ctx, 1) // a failure that lasts is met, and told, when the time is stale
			})
		}
	default:
		return c.look(ctx, clockFirst)
	}
	return nil
}

// age is how long ago the broker's clock was looked at.
func (c *clock) age() time.Duration {
	newest := c.newest.Load()
	if newest == nil || c.stale.Load() {
		return clockStale
	}
	return c.now().Sub(*newest)
}

// look asks for the broker's time so often, unless somebody else just has.
func (c *clock) look(ctx context.Context, times int) error {
	select {
	case c.looking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.looking }()
	if c.age() < clockFresh {
		return nil
	}
	if c.stale.Swap(false) {
		c.looks = nil
		c.newest.Store(nil)
	}
	for range times {
		var asked, answered, stamp, created time.Time
		err := c.trips.ask(ctx, func(ctx context.Context) (err error) {
			asked = c.now()
			stamp, created, err = c.conn.EnsureRateStream(ctx)
			answered = c.now()
			return err
		})
		if err != nil {
			return err
		}
		c.found(created)
		c.addSample(asked, answered, stamp)
	}
	c.newest.Store(&c.looks[len(c.looks)-1].at)
	return nil
}

// found notes when the stream of the budgets was made. One that took another's place knows nothing
// of what workers had in hand.
func (c *clock) found(created time.Time) {
	switch {
	case c.created.IsZero():
		c.unknown.Store(created.UnixNano())
	case !created.Equal(c.created):
		trip := c.trips.lead() // what delays the others' requests is not known here
		c.unknown.Store(created.UnixNano() + int64(trip+ahead+max(slowChunk, 3*trip)))
	}
	c.created = created
}

// distrust has the clock looked at before anything more is taken: the broker was away, and another
// node with another clock may lead now.
func (c *clock) distrust() { c.stale.Store(true) }

// addSample adds a look and chooses the best of those that are remembered.
func (c *clock) addSample(asked, answered time.Time, stamp time.Time) {
	trip := answered.Sub(asked)
	c.looks = append(c.looks, look{at: asked.Add(trip / 2), broker: stamp.UnixNano(), trip: trip})
	c.looks = c.looks[max(len(c.looks)-clockLooks, 0):]
	best := c.looks[0]
	for _, l := range c.looks[1:] {
		if l.doubt(answered) < best.doubt(answered) {
			best = l
		}
	}
	c.best.Store(&best)
}

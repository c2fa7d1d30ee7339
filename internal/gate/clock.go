package gate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	clockFresh = 4 * time.Second  // after which the broker is asked again
	clockStale = 30 * time.Second // after which nothing is taken before it has answered
	clockLooks = 8                // that are remembered; the one with the shortest round trip counts
	clockFirst = 3                // looks before the first slot is taken
	clockDrift = 200e-6           // by which two clocks may run apart: twice what crystals are allowed
)

// clock tells the broker's time, which all workers share, though their own may
// be seconds apart. It is kept on the monotonic clock: nobody can set it.
type clock struct {
	conn *broker.Conn
	now  func() time.Time // this worker's

	looking sync.Mutex
	looks   []look
	created time.Time    // when the stream of the budgets was made
	unknown atomic.Int64 // up to when slots may have been taken that it does not know; nanoseconds
	best    atomic.Pointer[look]
	stale   atomic.Bool
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

// sync looks at the broker's clock if it is time to, and makes the stream of
// the budgets if that is gone.
func (c *clock) sync(ctx context.Context) error {
	c.looking.Lock()
	defer c.looking.Unlock()
	if c.stale.Swap(false) {
		c.looks = nil
	}
	need := clockFirst
	if n := len(c.looks); n > 0 {
		switch age := c.now().Sub(c.looks[n-1].at); {
		case age < clockFresh:
			return nil
		case age < clockStale:
			need = 1
		}
	}
	for range need {
		asked := c.now()
		stamp, created, err := c.conn.EnsureRateStream(ctx)
		if err != nil {
			return err
		}
		c.found(created)
		c.learn(asked, c.now(), stamp)
	}
	return nil
}

// found notes when the stream of the budgets was made. One that took another's
// place knows nothing of what workers had in hand.
func (c *clock) found(created time.Time) {
	switch {
	case c.created.IsZero():
		c.unknown.Store(created.UnixNano())
	case !created.Equal(c.created):
		c.unknown.Store(created.UnixNano() + int64(ahead+slowChunk))
	}
	c.created = created
}

// distrust has the clock looked at before anything more is taken: the broker
// was away, and another node with another clock may lead now.
func (c *clock) distrust() { c.stale.Store(true) }

// learn adds a look and chooses the best of those that are remembered.
func (c *clock) learn(asked, answered time.Time, stamp time.Time) {
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

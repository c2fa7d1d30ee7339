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
		c.looks = nil // another node may lead now, with a clock of its own
	}
	for n := 1; ; n++ {
		now := c.now()
		enough := clockFirst
		if n := len(c.looks); n > 0 {
			switch age := now.Sub(c.looks[n-1].at); {
			case age < clockFresh && n >= clockFirst:
				return nil
			case age < clockStale && n >= clockFirst:
				enough = 1
			}
		}
		stamp, err := c.conn.EnsureRateStream(ctx)
		if err != nil {
			c.stale.Store(true)
			return err
		}
		c.learn(now, c.now(), stamp)
		if n >= enough {
			return nil
		}
	}
}

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

// fresh says whether slots may be taken without another look.
func (c *clock) fresh() bool {
	l := c.best.Load()
	return l != nil && !c.stale.Load() && c.now().Sub(l.at) < clockLooks*clockFresh
}

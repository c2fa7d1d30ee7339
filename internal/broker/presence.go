package broker

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// Connected says whether the broker is there, as far as is known. It never
// blocks: nats.go's own IsConnected waits for a lock that is held while
// something is written and while a connection is made.
func (c *Conn) Connected() bool { return c.connected.Load() }

// Since is since when the broker has been there, absences of less than
// shortAbsence aside: what was published or asked before must have been answered
// in that time or not at all. It is zero while the broker is away. It never blocks.
func (c *Conn) Since() time.Time {
	if c.connected.Load() {
		return value(&c.reachableSince)
	}
	return time.Time{}
}

// shortAbsence is how long the broker may be away without a new beginning for
// what waits for it: a connection that breaks again and again and never answers
// must not look fresh each time.
const shortAbsence = 12 * time.Second

// beginning is what Since says from now on, when the broker is back: there is
// what it said before, gone when the broker went away (zero: never).
func beginning(there, gone, now time.Time) time.Time {
	if there.IsZero() || gone.IsZero() || now.Sub(gone) >= shortAbsence {
		return now
	}
	return there
}

// markConnected notes that the broker is there. It says whether it was away.
func (c *Conn) markConnected() (news bool) {
	at := beginning(value(&c.reachableSince), value(&c.lostAt), time.Now())
	c.reachableSince.Store(&at)
	news = !c.connected.Swap(true)
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return news
}

func value(at *atomic.Pointer[time.Time]) time.Time {
	if t := at.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// markDisconnected notes that the broker is away.
func (c *Conn) markDisconnected(err error) {
	if !c.connected.Load() {
		return
	}
	now := time.Now()
	c.lostAt.Store(&now)
	if c.connected.Swap(false) {
		c.log.Warn("broker away, trying again until it is back", "error", err)
	}
}

// reconnected notes that the broker is there once more, on another connection.
func (c *Conn) reconnected(nc *nats.Conn) {
	if c.markConnected() {
		c.log.Info("broker back", "server", nc.ConnectedServerName())
	}
	c.epoch.Add(1)
	c.denied.Store(nil) // what is still forbidden will be said again
	c.getRefusedAt.Store(nil)
	c.hooks.run()
}

// OnReconnect has f called (from nats.go's callback goroutine; it must not
// block) after each reconnect, until remove is called. A call that has begun
// may still be running when remove returns.
func (c *Conn) OnReconnect(f func()) (remove func()) { return c.hooks.add(f) }

// Ask calls f, which asks the JetStream API for something, and calls it again
// when the connection was lost under it, until ctx ends: what was asked before a
// reconnect is never answered, and waiting for it costs seconds. f must bear to
// be called twice.
func (c *Conn) Ask(ctx context.Context, f func(context.Context) error) error {
	for {
		until, end := c.untilReconnect(ctx)
		err := f(until)
		if err != nil && ctx.Err() == nil && !c.NC.IsConnected() && !c.NC.IsClosed() {
			<-until.Done() // no use to ask before
		}
		// A request that was refused for want of a connection may find one by now.
		lost := errors.Is(context.Cause(until), errReconnected) ||
			errors.Is(readError(err), ErrAway)
		end(nil)
		if ctx.Err() != nil {
			return err
		}
		if err == nil || !lost {
			return err
		}
	}
}

// untilReconnect returns a context that ends at the next reconnect. end must
// be called.
func (c *Conn) untilReconnect(
	ctx context.Context,
) (until context.Context, end context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	remove := c.OnReconnect(func() { cancel(errReconnected) })
	return ctx, func(cause error) {
		remove()
		cancel(cause)
	}
}

var errReconnected = errors.New("the connection to the broker was lost meanwhile")

package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// FollowOptions choose what a Follower reads.
type FollowOptions struct {
	Subject string // filter; "" for all

	// Latest begins with the newest message of each subject, as a key-value
	// watch does, and does so again after each interruption; otherwise everything
	// is read once, from the oldest on.
	Latest bool

	// New begins with what is stored after Follow was called, and Since with the
	// first message that was stored then or later. With either of them nothing is
	// read from the beginning again: a stream that is not what it was is read on
	// from the time of the last message that was read.
	New   bool
	Since time.Time

	// Anew is called when the stream is not what it was: made anew, or (noticed
	// without Latest only) cut back by a power failure. It is then read from its
	// beginning once more, but for New and Since, and what was written to it lately
	// may be lost.
	Anew func()

	// Begun is called before each reading: when the stream was made, and the sequence
	// of its last message. After Anew it is called before anything is read again.
	Begun func(made time.Time, last uint64)

	Log *slog.Logger

	begin, end func()        // around each reading of what stands; with Latest
	expires    time.Duration // of a request for more
}

// Follower reads a stream with limits retention in order and goes on reading
// what is added, over reconnects and restarts of the broker.
//
// It is not built on nats.go's ordered consumer: that one heals itself in a
// goroutine of its own, so that two messages can be handled at once and Stop
// can take many seconds. Here one goroutine does everything.
type Follower struct {
	conn   *Conn
	stream string
	opts   FollowOptions
	f      func(Stored)

	caughtUp chan struct{} // closed when what was stored at the beginning has been read
	wake     chan struct{}
	stop     context.CancelFunc
	done     chan struct{}

	unread atomic.Pointer[Unread] // nil while the broker hands out messages or gives signs of life

	// the reading goroutine's
	created    time.Time // of the stream
	from       time.Time // with New and Since: where to begin when last has no sequence
	last       Stored    // the newest message that was read; only its sequence and time
	shortReads int       // how many times in a row the stream ended before it
}

// Follow calls f for each message of a stream, one after the other, and
// returns when everything that was stored before has been passed to f. f must
// not block for long, and must not call Stop.
func (c *Conn) Follow(
	ctx context.Context, stream string, o FollowOptions, f func(Stored),
) (*Follower, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.expires = cmp.Or(o.expires, pullExpires)
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &Follower{
		conn: c, stream: stream, opts: o, f: f, from: o.Since,
		caughtUp: make(chan struct{}), wake: make(chan struct{}, 1), stop: stop,
		done: make(chan struct{}),
	}
	unhook := c.OnReconnect(w.reconnected)
	var first *reader
	err := c.Ask(ctx, func(ctx context.Context) (err error) {
		first, err = w.open(ctx)
		return err
	})
	if err != nil {
		unhook()
		stop()
		return nil, fmt.Errorf("follow %s: %w", stream, explain(err))
	}
	c.followers.Store(w, true)
	go w.run(run, first, unhook)
	select {
	case <-w.caughtUp:
		return w, nil
	case <-ctx.Done():
		w.Stop()
		return nil, fmt.Errorf("follow %s: not read to its end yet: %w", stream, context.Cause(ctx))
	}
}

// Unread says that a stream that is followed cannot be read.
type Unread struct {
	Stream string
	Since  time.Time
	Why    string
}

// Unread lists the followers that cannot read. It never blocks. One that has
// just begun again is among them until the first message or heartbeat.
func (c *Conn) Unread() []Unread {
	var out []Unread
	c.followers.Range(func(w, _ any) bool {
		if u := w.(*Follower).unread.Load(); u != nil {
			out = append(out, *u)
		}
		return true
	})
	return out
}

// cannotRead notes that nothing can be read, and why.
func (w *Follower) cannotRead(err error) {
	u := &Unread{Stream: w.stream, Since: time.Now(), Why: explain(err).Error()}
	if before := w.unread.Load(); before != nil {
		u.Since = before.Since
	}
	w.unread.Store(u)
}

// heard notes a message or a sign of life.
func (w *Follower) heard() {
	if w.unread.Load() != nil {
		w.unread.Store(nil)
	}
}

// Stop ends following; f is not called any more when it returns.
func (w *Follower) Stop() {
	w.stop()
	<-w.done
}

// reconnected has the reader replaced at once: the broker may have restarted,
// and its consumer with it.
func (w *Follower) reconnected() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Follower) run(ctx context.Context, r *reader, unhook func()) {
	defer close(w.done)
	defer unhook()
	defer w.conn.followers.Delete(w)
	for {
		begun := time.Now()
		var err error
		if r != nil {
			err = w.read(ctx, r)
			r.close()
			w.cannotRead(err)
			w.opts.Log.Debug("follow", "stream", w.stream, "again", err)
		}
		if ctx.Err() == nil &&
			(err == nil || time.Since(begun) > followRepeat || errors.Is(err, errReconnected)) {
			if r, err = w.reopen(ctx); err == nil {
				continue
			}
			w.cannotRead(err)
			w.opts.Log.Debug("follow", "stream", w.stream, "error", err)
		}
		r = nil
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-time.After(followRepeat): // nor when every consumer ends at once
		}
	}
}

func (w *Follower) reopen(ctx context.Context) (*reader, error) {
	select {
	case <-w.wake: // what it would say is done now
	default:
	}
	ctx, end := w.conn.untilReconnect(ctx)
	defer end(nil)
	ctx, cancel := context.WithTimeout(ctx, followOpen)
	defer cancel()
	return w.open(ctx)
}

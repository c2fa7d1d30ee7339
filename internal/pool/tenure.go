package pool

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/wire"
)

// span is a time that runs from the moment at which it was asked for.
type span struct {
	asked time.Time
	wall  time.Time // the same by the wall clock
	lasts time.Duration
}

func newSpan(asked time.Time, lasts time.Duration) span {
	return span{asked, asked.Round(0), lasts}
}

// left is how much of it is left at now, which must come from time.Now; not above zero when it is
// over. The monotonic clock of some systems stands still while the machine is suspended, and the
// wall clock may be set back: who counts is the one that has gone further. A wall clock that is set
// forward so ends it early.
func (s span) left(now time.Time) time.Duration {
	return s.lasts - max(now.Sub(s.asked), now.Round(0).Sub(s.wall))
}

// tenure is a time for which nobody can take this worker for dead. It goes on with the lease, and
// while there is no KEFU_STATE: nobody has a lease then, nor can anybody's be seen to end.
type tenure struct {
	span
	number uint64
	from   time.Time // others have heard of it
}

// hearing is how long others are given to hear of a tenure that follows another: they may be about
// to take over what was this worker's.
const hearing = time.Second

// Term is the number of this worker's tenure, of which another begins when others may have taken
// this worker for dead; ok says whether anything may be started in it at now, which must come from
// time.Now.
func (p *Pool) Term(now time.Time) (number uint64, ok bool) {
	t := p.tenure.Load()
	return t.number, t.left(now) > 0 && !now.Before(t.from)
}

// Holds says whether nobody can have taken this worker for dead from when Term said number until
// now, which must come from time.Now. It is cheap enough to be asked right before each call.
func (p *Pool) Holds(number uint64, now time.Time) bool {
	t := p.tenure.Load()
	return t.number == number && t.left(now) > 0
}

// stay has the tenure go on, or begins another one if it was over when this was asked for. The
// keeping goroutine's.
func (p *Pool) stay(asked time.Time, lasts time.Duration) {
	t := p.tenure.Load()
	left := t.left(asked)
	if left >= lasts {
		return
	}
	next := tenure{newSpan(asked, lasts), t.number, t.from}
	if left <= 0 {
		next.number++
		if t.number > 0 { // nobody knew this worker before the first
			next.from = time.Now().Add(hearing)
		}
	}
	p.tenure.Store(&next)
}

// stateless asks whether there is no KEFU_STATE. Only the broker's own word counts: a node that is
// cut off from its peers finds nobody who takes a heartbeat either. When the bucket is made anew,
// who joins then takes nobody for dead before settle.
func (p *Pool) stateless(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	asked := time.Now()
	_, err := p.conn.JS.Stream(ctx, wire.StreamState)
	if p.missing = errors.Is(err, jetstream.ErrStreamNotFound); p.missing {
		p.stay(asked, settle-margin)
	}
	return p.missing
}

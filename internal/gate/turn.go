package gate

import (
	"slices"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Turn is a request's place in the line for the rate.
type Turn struct {
	budget *budget
	live   bool
	ready  chan struct{}
}

// Ready is closed when the request may leave.
func (t *Turn) Ready() <-chan struct{} { return t.ready }

// GiveUp leaves the line, or lets go of the slot that it led to.
func (t *Turn) GiveUp() { t.budget.giveUp(t) }

// leave takes a slot for a request that leaves now, reserved or not; or it is put in line for one.
func (b *budget) leave(lane schema.Lane, reserved bool) *Turn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !reserved {
		b.reserved++
	}
	live := lane == schema.LaneLive
	first := len(b.lines[0])+len(b.lines[1]) == 0
	if first {
		i := b.readClocks()
		ok := b.takeSlot(i, live)
		b.replenish(i.at, ok)
		if ok {
			return nil
		}
	}
	t := &Turn{budget: b, live: live, ready: make(chan struct{})}
	line := b.line(live)
	*line = append(*line, t)
	if first {
		return t
	}
	b.serve()
	select {
	case <-t.ready:
		return nil
	default:
		return t
	}
}

// line is where a request waits. b.mu is held.
func (b *budget) line(live bool) *[]*Turn {
	if live {
		return &b.lines[0]
	}
	return &b.lines[1]
}

// serve lets those in line go for whom there is a slot, live before bulk, and sees to it that it is
// called again for the next. b.mu is held.
func (b *budget) serve() {
	i := b.readClocks()
	got := false
	defer func() { b.replenish(i.at, got) }()
	for n := range b.lines {
		for len(b.lines[n]) > 0 {
			if !b.takeSlot(i, n == 0) {
				return
			}
			got = true
			close(b.lines[n][0].ready)
			b.lines[n] = slices.Delete(b.lines[n], 0, 1)
		}
	}
}

// instant is now by this process's clock and by the broker's.
type instant struct {
	now    time.Time
	at     int64
	synced bool // the broker's is known
}

// readClocks reads the clocks, and drops what is too old for them. b.mu is held.
func (b *budget) readClocks() instant {
	i := instant{now: b.common.clock.now()}
	if i.at, i.synced = b.common.clock.broker(i.now); i.synced {
		b.expire(i.at)
	}
	return i
}

// takeSlot takes a slot for a request that is the next to leave; if there is none, it sees to it
// that the line is served when there may be. b.mu is held.
func (b *budget) takeSlot(i instant, live bool) bool {
	ok, wait := false, time.Duration(0)
	if i.synced {
		ok, wait = b.use(i.at, i.now, live)
	}
	if !ok {
		b.waiting = b.waiting || wait == 0
		b.serveAfter(wait)
	}
	return ok
}

// use takes a slot out of the hand, or says how long it is until the first may be used (0: there is
// none). b.mu is held.
func (b *budget) use(t int64, now time.Time, live bool) (ok bool, wait time.Duration) {
	if ok, wait = b.hand.take(t, live, b.pace); !ok {
		return false, wait
	}
	if !b.guard.AllowN(now, 1) { // the slot is lost: there was one too many
		return false, time.Duration(b.pace.step)
	}
	b.sizing.used++
	b.reserved--
	if !live {
		b.lastBulk = t
	}
	return true, 0
}

// serveAfter has the line served after a time; 0: when slots have come.
func (b *budget) serveAfter(after time.Duration) {
	switch {
	case after == 0:
	case b.timer == nil:
		b.timer = time.AfterFunc(after, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.serve()
		})
	default:
		b.timer.Reset(after)
	}
}

// giveUp takes a request out of the line. One that had its turn meanwhile has used its slot.
func (b *budget) giveUp(t *Turn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	line := b.line(t.live)
	if i := slices.Index(*line, t); i >= 0 {
		*line = slices.Delete(*line, i, i+1)
		b.reserved--
	}
}

// release lets everybody in line go: there is no limit any more.
func (b *budget) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.lines {
		for _, t := range b.lines[i] {
			close(t.ready)
		}
		b.reserved -= len(b.lines[i])
		b.lines[i] = nil
	}
}

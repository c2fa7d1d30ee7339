package worker

import (
	"cmp"
	"slices"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// phase is where an app stands between its holds.
type phase uint8

const (
	open phase = iota
	closing
	closed
)

// turnPhase opens or closes the app as the gate and the worker's life say.
func (a *app) turnPhase(now time.Time) {
	shut := a.stopping || a.gate.Closed(now)
	if a.phase == open && shut {
		a.phase = closing
		for _, l := range a.lanes {
			if puller := l.puller; puller != nil {
				a.draining++
				a.w.running.Go(func() { puller.Pause(a.drained) }) // drained takes our lock
			}
		}
	}
	if a.phase == closing && a.running == 0 && a.draining == 0 {
		a.giveBack()
		a.phase = closed
	}
	if a.phase == closed {
		if a.stopping {
			a.checkIdle()
			return
		}
		if !shut {
			a.phase = open
			for _, l := range a.lanes {
				if l.stale() {
					a.w.running.Go(l.bind) // takes our lock
				}
				if !l.reads() {
					continue
				}
				if err := l.puller.Resume(); err != nil {
					a.w.log.Warn("lane", "app", a.cfg().ID, "lane", l.name, "error", err)
					a.w.running.Go(l.bind) // takes our lock
				}
			}
		}
	}
	if !a.stopping {
		if next := a.gate.NextTry(); next.After(now) {
			a.wake(next)
		}
	}
}

// drained is called when a paused puller can deliver nothing more.
func (a *app) drained() {
	a.mu.Lock()
	a.draining--
	a.pump()
	a.mu.Unlock()
}

// giveBack returns everything that has not been started to the broker. That of
// a live shard only at the end: given back in a hold, it would come again behind
// what an earlier hold gave back and this one found not handed out yet. So it is
// dropped, and the consumer made anew when the hold is over: then everything
// that is not settled comes again in the order of the queue.
func (a *app) giveBack() {
	for _, l := range a.lanes {
		back := a.unstarted(l)
		if l.kind == schema.LaneLive && !a.stopping && len(back) > 0 && l.claim.Load() != nil {
			l.dropped++
			for _, d := range back {
				a.discard(d)
			}
		} else {
			a.returnAll(back)
		}
		l.ready = queue{}
	}
	clear(a.recipients)
}

// unstarted is what has no slot and no end yet, of one lane.
func (a *app) unstarted(l *lane) (out []*delivery) {
	for _, d := range a.inflight {
		if d.place != settling && d.place != inSlot && d.lane == l {
			out = append(out, d)
		}
	}
	return out
}

// returnAll gives deliveries back, oldest first: they come again in the order in
// which they are given back.
func (a *app) returnAll(back []*delivery) {
	slices.SortFunc(back, func(x, y *delivery) int { return cmp.Compare(x.seq, y.seq) })
	for _, d := range back {
		a.engine.acquit(d)
		_ = a.w.conn.NakReply(d.getReply()) // without a connection the broker hands it out again by itself
		a.drop(d)
	}
}

// drop forgets a delivery. a.mu is held.
func (a *app) drop(d *delivery) {
	if a.inflight[d.seq] != d {
		return
	}
	delete(a.inflight, d.seq)
	a.held.Add(-1)
	d.lane.held--
	a.w.ahead.dropped(d.lane.held)
	d.place = forgotten
	if d.timer != nil {
		d.timer.Stop()
	}
}

// has says whether the message with this sequence is in hand.
func (a *app) has(seq uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.inflight[seq] != nil
}

// disown forgets what is in hand of a queue that was deleted before another one
// was made under its name: what has begun ends, and is not acknowledged, since
// its sequence belongs to another intent now.
func (a *app) disown(made time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lanes {
		for _, d := range a.unstarted(l) {
			if d.stored.Before(made) {
				a.drop(d)
			}
		}
		l.forget()
		for _, d := range a.unstarted(l) { // bulk: another worker may have made its consumer already
			if d.place == ready {
				l.ready.pushBack(d)
			}
		}
	}
	for _, d := range a.inflight {
		if d.stored.Before(made) {
			d.setReply("")
			a.drop(d)
		}
	}
}

func (a *app) checkIdle() {
	if len(a.inflight) > 0 {
		return
	}
	select {
	case <-a.idle:
	default:
		close(a.idle)
	}
}

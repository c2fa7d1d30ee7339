package worker

import (
	"time"

	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

// A live shard is read with a claim of the pool's only, so that a recipient's
// intents are in one worker's hands. Bulk needs none.
//
// A claim ends in one of two ways. Asked back, the lane pulls and starts no
// more, ends what is under way, gives back the rest in order, and then lets go.
// Lost, it drops what had not been started without a word to the broker: the
// next reader has been handed it already, by a consumer made anew.

// claims is the worker as the pool sees it.
type claims struct{ w *Worker }

func (h claims) Acquired(c *pool.Claim) { h.on(c, (*lane).acquire) }
func (h claims) Release(c *pool.Claim)  { h.on(c, (*lane).giveUp) }
func (h claims) Lost(c *pool.Claim)     { h.on(c, (*lane).lose) }

// on has a claim's lane do something, with its app's lock held. The app may have
// been given up, or come back with fewer shards, while the claim was on its way:
// without a lane it is given back, or the pool would hold it for nobody.
func (h claims) on(c *pool.Claim, f func(*lane, *pool.Claim)) {
	a := find(h.w.current(), c.App)
	if a == nil || c.Shard >= len(a.lanes)-1 { // the last one is bulk
		c.Released()
		return
	}
	a.mu.Lock()
	f(a.lanes[c.Shard], c)
	a.pump()
	a.mu.Unlock()
}

// serve tells the pool whose live shards this worker can read.
func (w *Worker) serve() {
	shards := make(map[string]int)
	for _, a := range w.current() {
		if !a.leaving() {
			shards[a.cfg().ID] = len(a.lanes) - 1
		}
	}
	w.pool.Report(w.status)
	w.pool.Serve(claims{w}, shards)
}

// mine says whether a call of this lane may be started at now.
func (l *lane) mine(now time.Time) bool {
	if l.kind == schema.LaneBulk {
		return true
	}
	c := l.claim.Load()
	return c != nil && c.Valid(now)
}

// reads says whether the lane is pulled from. app.mu is held.
func (l *lane) reads() bool {
	return l.kind == schema.LaneBulk || l.claim.Load() != nil && l.fresh && !l.stale() && !l.leaving
}

// acquire begins to read the shard. app.mu is held.
func (l *lane) acquire(c *pool.Claim) {
	l.claim.Store(c)
	l.fresh, l.remade, l.leaving = false, l.dropped, false
	l.puller = l.newPuller(c)
	if !l.app.stopping {
		l.mender.mend(l.app.w, l.ensure, l.app.poke)
	}
}

// giveUp begins to drain the shard. app.mu is held.
func (l *lane) giveUp(c *pool.Claim) {
	if l.claim.Load() != c || l.leaving {
		return
	}
	l.leaving = true
	if l.app.stopping { // its pullers pause as it is
		return
	}
	l.draining++
	puller := l.puller
	l.app.w.running.Go(func() { puller.Pause(l.drained) }) // drained takes the app's lock
}

// drained is called when the lane's puller can deliver nothing more.
func (l *lane) drained() {
	l.app.mu.Lock()
	l.draining--
	l.app.pump()
	l.app.mu.Unlock()
}

// lose lets go of the shard at once. app.mu is held.
func (l *lane) lose(c *pool.Claim) {
	if l.claim.Load() != c {
		return
	}
	l.claim.Store(nil)
	l.leaving = false
	if puller := l.puller; !l.app.stopping {
		l.app.w.running.Go(func() { puller.Pause(func() {}) }) // what it still delivers is left alone
	}
	l.app.w.log.Warn("a live shard was lost to the pool", "app", l.app.cfg().ID, "lane", l.name)
	for _, d := range l.app.unstarted(l) {
		l.app.discard(d)
	}
	l.forget()
}

// discard drops a delivery that somebody else has by now. app.mu is held.
func (a *app) discard(d *delivery) {
	a.engine.acquit(d)
	a.drop(d)
}

// turn lets go of a shard that was asked back when nothing of it is in hand any
// more. app.mu is held.
func (l *lane) turn() {
	if !l.leaving || l.draining > 0 || l.running > 0 || l.app.draining > 0 {
		return
	}
	l.app.returnAll(l.app.unstarted(l))
	l.forget()
	if l.held > 0 { // what is being settled
		return
	}
	c := l.claim.Swap(nil)
	l.leaving = false
	c.Released()
}

// forget clears what waits in a lane of which nothing is left but what is under
// way or being settled. app.mu is held.
func (l *lane) forget() {
	l.ready = queue{}
	underWay := make(map[string]bool)
	for _, d := range l.app.inflight {
		if d.lane == l && d.place != settling {
			underWay[d.subject.Key] = true
		}
	}
	for key, r := range l.app.recipients {
		switch {
		case r.lane != l:
		case underWay[key]:
			r.later = nil
		default:
			delete(l.app.recipients, key)
		}
	}
}

// status is how this worker is doing, since it was asked last.
func (w *Worker) status() pool.Status {
	now := time.Now()
	since := max(now.Sub(w.told).Seconds(), 0.001)
	w.told = now
	s := pool.Status{Apps: make(map[string]pool.Activity)}
	for _, a := range w.current() {
		sent := a.engine.sent.Load()
		does := pool.Activity{PerSecond: float64(sent-a.told) / since}
		a.told = sent
		a.mu.Lock()
		does.InFlight = a.running
		a.mu.Unlock()
		if does != (pool.Activity{}) {
			s.Apps[a.cfg().ID] = does
			s.Add(does)
		}
	}
	return s
}

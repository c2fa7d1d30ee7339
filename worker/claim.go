package worker

import (
	"time"

	"github.com/kefuhq/kefu/internal/pool"
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
	if !l.live() {
		return true
	}
	c := l.claim.Load()
	return c != nil && c.Valid(now)
}

// reads says whether the lane is pulled from. app.mu is held.
func (l *lane) reads() bool {
	return !l.live() || l.claim.Load() != nil && l.fresh && !l.stale() && !l.line.leaving
}

// acquire begins to read the shard. app.mu is held.
func (l *lane) acquire(c *pool.Claim) {
	l.claim.Store(c)
	l.fresh, l.remade = false, l.dropped
	l.puller = l.newPuller(c)
	l.app.scheduler.claim(l.line)
	if !l.app.scheduler.stopping {
		l.mender.mend(l.app.w, l.ensure, l.app.poke)
	}
}

// giveUp begins to drain the shard. app.mu is held.
func (l *lane) giveUp(c *pool.Claim) {
	if l.claim.Load() == c {
		l.app.scheduler.leave(l.line)
	}
}

// lose lets go of the shard at once. app.mu is held.
func (l *lane) lose(c *pool.Claim) {
	if l.claim.Load() != c {
		return
	}
	l.claim.Store(nil)
	if puller := l.puller; !l.app.scheduler.stopping {
		l.app.w.running.Go(func() { puller.Pause(func() {}) }) // what it still delivers is left alone
	}
	l.app.w.log.Warn("a live shard was lost to the pool", "app", l.app.cfg().ID, "lane", l.name)
	l.app.scheduler.lose(l.line)
}

// startable says whether an intent of the lane may be started at now. While others
// may take this worker for dead a start would only be taken back.
func (l *lane) startable(now time.Time) bool {
	if !l.live() {
		_, ok := l.app.w.pool.Term(now)
		return ok
	}
	return l.mine(now)
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
		does.InFlight = a.scheduler.running
		a.mu.Unlock()
		if does != (pool.Activity{}) {
			s.Apps[a.cfg().ID] = does
			s.Add(does)
		}
	}
	return s
}

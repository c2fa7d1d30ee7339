package worker

import (
	"slices"
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
type claims struct {
	*services
	apps       func() []*app
	reportedAt time.Time // when the pool asked last how things stand; status's
}

func (h *claims) Acquired(c *pool.Claim) { h.withLane(c, (*lane).useClaim) }
func (h *claims) Release(c *pool.Claim)  { h.withLane(c, (*lane).drainClaim) }
func (h *claims) Lost(c *pool.Claim)     { h.withLane(c, (*lane).loseClaim) }

// withLane has a claim's lane do something, with its app's lock held. The app may have
// been given up, or come back with fewer shards, while the claim was on its way:
// without a lane it is given back, or the pool would hold it for nobody.
func (h *claims) withLane(c *pool.Claim, f func(*lane, *pool.Claim)) {
	a := findApp(h.apps(), c.App)
	if a == nil || c.Shard >= len(a.lanes)-1 { // the last one is bulk
		c.Released()
		return
	}
	a.mu.Lock()
	f(a.lanes[c.Shard], c)
	a.schedule()
	a.mu.Unlock()
}

// serve tells the pool whose live shards this worker can read.
func (h *claims) serve() {
	shards := make(map[string]int)
	for _, a := range h.apps() {
		if !a.isStopping() {
			shards[a.cfg().ID] = len(a.lanes) - 1
		}
	}
	h.pool.Report(h.status)
	h.pool.Serve(h, shards)
}

// status is how this worker is doing, since it was asked last.
func (h *claims) status() pool.Status {
	now := time.Now()
	since := max(now.Sub(h.reportedAt).Seconds(), 0.001)
	h.reportedAt = now
	s := pool.Status{Apps: make(map[string]pool.Activity)}
	for _, a := range h.apps() {
		sent := a.engine.sent.Load()
		does := pool.Activity{PerSecond: float64(sent-a.reported) / since}
		a.reported = sent
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

// findApp returns the app with an id; nil if there is none.
func findApp(apps []*app, appID string) *app {
	i := slices.IndexFunc(apps, func(a *app) bool { return a.cfg().ID == appID })
	if i < 0 {
		return nil
	}
	return apps[i]
}

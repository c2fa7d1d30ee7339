package pool

import (
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// member is what the log says of a worker.
type member struct {
	lease      uint64
	alive      bool
	left       bool // and said so
	leaving    bool
	frees      bool
	counts     bool
	jobs       bool
	aliveUntil time.Time // it may act on its lease that long, whatever the broker says: learnWorker
	ended      time.Time // when it was learned that it is not alive
	apps       map[string]bool
	activity   map[string]Activity // by app, as it said last
}

// learnWorker takes over a sign of life or its end. p.mu is held.
//
// The broker ends a key by the wall clock of the node that leads just then, which may be ahead of
// the one that stored it. So a worker may act on its lease until Lease after its last sign of life
// was read here: it asked for that before. Where one may have gone unseen, that is Lease after the
// end was read. Only of what stood when this worker joined is the broker's word all there is.
func (p *Pool) learnWorker(name string, e broker.StateEntry) {
	m := p.members[name]
	before, now := m, time.Now()
	switch {
	case e.Expired:
		if m.alive && e.Unseen {
			m.aliveUntil = now.Add(Lease)
		}
		m.alive, m.left, m.ended = false, false, now
	case e.Deleted:
		m.alive, m.left, m.ended = false, true, now
	default:
		var w Worker
		if err := json.Unmarshal(e.Value, &w); err != nil {
			p.log.Error("a heartbeat cannot be read", "key", e.Key, "error", err)
		}
		apps := m.apps
		if len(apps) != len(w.Apps) ||
			slices.ContainsFunc(w.Apps, func(a string) bool { return !apps[a] }) {
			apps = make(map[string]bool, len(w.Apps))
			for _, a := range w.Apps {
				apps[a] = true
			}
		}
		m = member{lease: w.Lease, alive: true, leaving: w.Leaving, frees: w.Frees,
			counts: w.Counts, jobs: w.Jobs, apps: apps, activity: w.Status.Apps}
		if p.claims.joined {
			m.aliveUntil = now.Add(Lease)
		}
	}
	p.members[name] = m
	if name == p.self.Name && !m.alive {
		p.beatNow.Store(true) // our lease is over: the sooner we know the better
	}
	if m.alive != before.alive || m.leaving != before.leaving || !maps.Equal(m.apps, before.apps) {
		p.claims.membersChanged = now
	}
}

// carriesOut says whether a worker may be the one that carries out the jobs of an app.
func (m member) carriesOut(appID string) bool {
	return m.alive && m.jobs && !m.leaving && m.apps[appID]
}

// memberKept is for how long a worker that is gone is remembered, unless a claim names it: its
// lease is over by then, and so is any doubt about it.
const memberKept = time.Minute

// forget drops the workers that are gone. p.mu is held.
func (p *Pool) forget(now time.Time) {
	var named map[string]bool
	for name, m := range p.members {
		if m.alive || now.Sub(m.ended) < memberKept {
			continue
		}
		if named == nil {
			named = make(map[string]bool)
			for _, e := range p.claims.entries {
				named[e.Worker] = true
			}
		}
		if !named[name] {
			delete(p.members, name)
		}
	}
}

package pool

import (
	"context"
	"errors"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// claim does all that there is to do about claims at now, and returns after which time to look
// again at the latest.
func (p *Pool) claim(now time.Time) time.Duration {
	p.mu.Lock()
	r := review{p: p, c: &p.claims, now: now, next: time.Hour}
	r.run()
	p.mu.Unlock()
	for _, f := range r.calls {
		f()
	}
	p.readUnclear(r.unclear)
	return r.next
}

// review is one look at the claims. It holds the pool's lock, and calls nobody.
type review struct {
	p     *Pool
	c     *claims
	now   time.Time
	next  time.Duration
	calls []func() // of the holder, in order, then what is published; without the lock

	unclear []Shard // refused, and nothing that was read says why
}

// recheck has the next review come after a time at the latest.
func (r *review) recheck(after time.Duration) { r.next = min(r.next, max(after, 0)) }

// run ends the claims that are lost, begins those that were read back, asks for what others should
// have, and claims what is free.
func (r *review) run() {
	r.p.forget(r.now)
	left, h := r.p.left(r.now), r.c.holder
	for shard, c := range r.c.held {
		if left <= 0 || !r.mine(r.c.entries[shard]) || r.c.entries[shard].seq != c.Revision {
			c.over.Store(true)
			delete(r.c.held, shard)
			r.calls = append(r.calls, func() { h.Lost(c) })
		}
	}
	if left <= 0 {
		return // the next heartbeat begins another
	}
	r.recheck(left)
	if h == nil {
		return
	}
	r.acquire()
	if !r.p.conn.Connected() && !r.p.self.Leaving {
		return // what is known may be out of date
	}
	target := r.plan()
	r.askBack(target)
	r.retryRelease()
	r.claimFree(target)
}

// mine says whether a claim is of this worker's lease.
func (r *review) mine(e entry) bool {
	return e.Worker == r.p.self.Name && e.Lease == r.p.self.Lease
}

// acquire begins what was claimed and has been read back.
func (r *review) acquire() {
	h := r.c.holder
	for shard, e := range r.c.entries {
		if _, unread := r.c.pending[shard]; unread || !r.mine(e) || r.c.held[shard] != nil ||
			e.seq <= r.c.released[shard] {
			continue
		}
		c := &Claim{App: shard.App, Shard: shard.N, Revision: e.seq, pool: r.p}
		r.c.held[shard] = c
		r.calls = append(r.calls, func() { h.Acquired(c) })
	}
}

// plan returns who should have which shard.
func (r *review) plan() map[Shard]string {
	serves := make(map[string]map[string]bool)
	for name, m := range r.p.members {
		if m.alive && !m.leaving && name != r.p.self.Name {
			serves[name] = m.apps
		}
	}
	own := make(map[string]bool)
	var shards []Shard
	for app, n := range r.c.serves {
		own[app] = true
		for i := range n {
			shards = append(shards, Shard{app, i})
		}
	}
	if !r.p.self.Leaving {
		serves[r.p.self.Name] = own
	}
	holder := make(map[Shard]string)
	load := make(map[string]int)
	for shard, e := range r.c.entries {
		c := r.c.held[shard]
		switch {
		case e.Worker == "" || r.leaseOver(e) || c != nil && c.asked:
		case own[shard.App]:
			holder[shard] = e.Worker
		default:
			load[e.Worker]++
		}
	}
	return spread(serves, shards, holder, load)
}

// askBack asks for what others should have.
func (r *review) askBack(target map[Shard]string) {
	h := r.c.holder
	for shard, c := range r.c.held {
		if c.asked || target[shard] == r.p.self.Name {
			continue
		}
		still := quiet - r.now.Sub(r.c.membersChanged)
		if still > 0 && r.c.serves[shard.App] > shard.N && !r.p.self.Leaving {
			r.recheck(still)
			continue
		}
		c.asked = true
		r.calls = append(r.calls, func() { h.Release(c) })
	}
}

// retryRelease frees again what was given back and still stands as this worker's: the write was
// refused, or lost with the broker's memory. While the lease lives nobody else may take it.
func (r *review) retryRelease() {
	for shard, seq := range r.c.released {
		e := r.c.entries[shard]
		if _, unread := r.c.pending[shard]; unread || !r.mine(e) || e.seq > seq {
			continue
		}
		if still := claimAgain - r.now.Sub(r.c.refused[shard]); still > 0 {
			r.recheck(still)
			continue
		}
		delete(r.c.refused, shard)
		r.calls = append(r.calls, r.p.write(shard, stored{}, e.seq))
	}
}

// claimFree claims what this worker should have and nobody has.
func (r *review) claimFree(target map[Shard]string) {
	for shard, name := range target {
		if name != r.p.self.Name || r.c.held[shard] != nil {
			continue
		}
		if _, unread := r.c.pending[shard]; unread || !r.free(shard) {
			continue
		}
		if at, ok := r.c.refused[shard]; ok {
			if still := claimAgain - r.now.Sub(at); still > 0 {
				r.recheck(still)
				continue
			}
			delete(r.c.refused, shard)
			r.unclear = append(r.unclear, shard)
			continue
		}
		r.calls = append(r.calls,
			r.p.write(shard, stored{r.p.self.Name, r.p.self.Lease}, r.c.entries[shard].seq))
	}
}

// readUnclear reads what stands in some claims' places: a key may have been deleted by hand before
// this worker came. All of them together have the time of one heartbeat, since the next one waits
// for it; the rest are tried unseen.
func (p *Pool) readUnclear(shards []Shard) {
	if len(shards) == 0 {
		return
	}
	defer p.wakeUp(false)
	ctx, cancel := context.WithTimeout(context.Background(), beatTimeout)
	defer cancel()
	for _, shard := range shards {
		e, err := p.conn.LastState(ctx, claimKey(shard))
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		switch c := &p.claims; {
		case err == nil && e.Seq > c.entries[shard].seq:
			p.learnClaim(shard, e)
		case errors.Is(err, broker.ErrNoMessage) && c.entries[shard].Worker == "":
			delete(c.entries, shard)
		}
		p.mu.Unlock()
	}
}

// free says whether a shard may be claimed now.
func (r *review) free(shard Shard) bool {
	e := r.c.entries[shard]
	switch {
	case e.Worker == "":
		if still := r.c.reset.Add(Lease).Sub(r.now); still > 0 && !r.c.heldBefore[shard] {
			r.recheck(still)
			return false
		}
		return true
	case !r.leaseOver(e):
		return false
	case e.Worker == r.p.self.Name || r.p.members[e.Worker].left:
		return true
	}
	// After an interruption all leases may have ended though their workers live; each is to find
	// its own shards again.
	if still := r.c.reconnected.Add(settle).Sub(r.now); still > 0 {
		r.recheck(still)
		return false
	}
	return true
}

// leaseOver says whether the lease that a claim names is over. The end of a key is not enough, as
// its worker may act on the lease a little longer by its own clocks:
//
//	B reads A's heartbeat at 0 s · the key ends at 10 s by a fast clock · A may act until 11 s
//	B takes over at 12 s: Lease after it read the heartbeat, which A had asked for before
func (r *review) leaseOver(e entry) bool {
	if e.Worker == r.p.self.Name {
		return e.Lease != r.p.self.Lease
	}
	m, known := r.p.members[e.Worker]
	switch {
	case known && m.alive:
		return e.Lease < m.lease
	case known && e.Lease <= m.lease:
		still := m.aliveUntil.Sub(r.now)
		if m.left || still <= 0 {
			return true
		}
		r.recheck(still)
		return false
	}
	// Its heartbeat was not seen yet. One that lives gives another in a moment.
	still := e.seen.Add(Lease).Sub(r.now)
	if still > 0 {
		r.recheck(still)
	}
	return still <= 0
}

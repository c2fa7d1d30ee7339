package pool

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	// claimPause is between two looks at the claims, at least: at a start a thousand are read back
	// one by one.
	claimPause = 5 * time.Millisecond
	// calm is how long nobody must have come or gone before a shard is moved for evenness' sake:
	// workers come and go in groups.
	calm = time.Second
	// claimAgain is after a claim that somebody else was first with, or so it seems.
	claimAgain = 250 * time.Millisecond
)

// Holder is what a worker does with its shards. The pool calls its functions from one goroutine,
// one at a time; they must not block.
//
// For each claim Acquired is called first. It ends once: by Lost, or by the worker's own
// Claim.Released. Release may be called in between, at most once. The next claim of the same shard
// is another one, and comes after the end of the one before.
type Holder interface {
	// Acquired: the shard is this worker's from now on. Whoever read it before has stopped to start
	// calls, but may not know that its consumer is another's: that is to be deleted and made anew.
	Acquired(c *Claim)
	// Release: the shard is wanted elsewhere. The worker stops to pull, ends what is under way,
	// gives back the rest in order, and calls Released. The claim is valid until then.
	Release(c *Claim)
	// Lost: the shard is not this worker's any more, or may not be. Nothing of it may be started,
	// and nothing given back: it has been handed out anew.
	Lost(c *Claim)
}

// Claim is a worker's right to read a live shard.
type Claim struct {
	App      string
	Shard    int
	Revision uint64 // rises with each claim of this shard

	pool  *Pool
	over  atomic.Bool
	asked bool // to release it; guarded by pool.mu
}

// Valid says whether a call may be started for this shard at now, which must come from time.Now. It
// is cheap enough to be asked right before each call.
func (c *Claim) Valid(now time.Time) bool { return !c.over.Load() && c.pool.left(now) > 0 }

// Released gives the shard to whoever needs it. A claim that was lost is not touched.
func (c *Claim) Released() {
	p := c.pool
	shard := Shard{c.App, c.Shard}
	p.mu.Lock()
	publish := func() {}
	if p.claims.held[shard] == c {
		c.over.Store(true)
		delete(p.claims.held, shard)
		p.claims.released[shard] = c.Revision
		publish = p.write(shard, stored{}, c.Revision)
	}
	p.mu.Unlock()
	publish()
}

// claims is what a pool knows of shards. All of it is guarded by the pool's mu.
type claims struct {
	holder Holder
	serves map[string]int // shards of each app

	entries  map[Shard]entry  // as the log has them
	held     map[Shard]*Claim // this worker's
	released map[Shard]uint64 // newest revision that was given back
	pending  map[Shard]uint64 // written: its sequence until it is read back, 0 until that is known
	refused  map[Shard]time.Time

	joined bool           // everything that stood at the beginning has been read
	moved  time.Time      // when somebody came or went
	back   time.Time      // last reconnect; zero for none
	fresh  time.Time      // when KEFU_STATE was made anew; zero for never
	before map[Shard]bool // what this worker had then
}

func newClaims() claims {
	return claims{
		entries: make(map[Shard]entry), held: make(map[Shard]*Claim),
		released: make(map[Shard]uint64),
		pending:  make(map[Shard]uint64), refused: make(map[Shard]time.Time),
	}
}

// stored is a claim as KEFU_STATE has it; without a worker the shard is free.
type stored struct {
	Worker string `json:"worker"`
	Lease  uint64 `json:"lease,omitempty"`
}

type entry struct {
	stored
	seq  uint64
	seen time.Time // when it was read; zero for what stood at the beginning
}

func claimKey(s Shard) string { return claimsKeys + s.App + "." + strconv.Itoa(s.N) }

func isWorkerKey(key string) bool { return strings.HasPrefix(key, workersKeys) }

func parseClaimKey(key string) (Shard, bool) {
	rest, found := strings.CutPrefix(key, claimsKeys)
	if !found {
		return Shard{}, false
	}
	app, number, found := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	return Shard{app, n}, found && app != "" && err == nil && n >= 0
}

// Serve says which apps' live shards this worker can take, and how many shards each has. It may be
// called again with other apps; what is left out is then asked back.
func (p *Pool) Serve(h Holder, apps map[string]int) {
	p.mu.Lock()
	p.claims.holder, p.claims.serves = h, maps.Clone(apps)
	names := make([]string, 0, len(apps))
	for app := range apps {
		names = append(names, app)
	}
	slices.Sort(names)
	p.self.Apps = names
	p.mu.Unlock()
	p.poke(true)
}

// Retire has all shards of this worker asked back; it takes no more. To be called before Leave,
// when the worker stops in order.
func (p *Pool) Retire() {
	p.mu.Lock()
	p.self.Leaving = true
	p.mu.Unlock()
	p.poke(true)
}

// Claims are those this worker has.
func (p *Pool) Claims() []*Claim {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := make([]*Claim, 0, len(p.claims.held))
	for _, c := range p.claims.held {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b *Claim) int {
		return compareShards(Shard{a.App, a.Shard}, Shard{b.App, b.Shard})
	})
	return out
}

func (p *Pool) heartbeat() *nats.Msg {
	p.mu.RLock()
	self, status := p.self, p.status
	p.mu.RUnlock()
	self.Status = status()
	body, err := json.Marshal(self)
	if err != nil { // a rate that is no number, or a time beyond the year 9999
		p.log.Error("heartbeat", "error", err)
	}
	return broker.PutState(workersKeys+self.Name, body, Lease)
}

// learnClaim takes over what was written of a shard. p.mu is held.
func (p *Pool) learnClaim(shard Shard, e broker.StateEntry) {
	c := &p.claims
	next := entry{seq: e.Seq}
	if c.joined {
		next.seen = time.Now()
	}
	if !e.Deleted {
		if err := json.Unmarshal(e.Value, &next.stored); err != nil {
			p.log.Error("a claim cannot be read, and counts for nobody", "key", e.Key, "error", err)
		}
	}
	c.entries[shard] = next
	if seq, ok := c.pending[shard]; ok && seq > 0 && e.Seq >= seq {
		delete(c.pending, shard)
	}
}

// anew forgets a bucket that is gone. What this worker had it may claim at once; for the rest it
// waits until whoever had it must know as well.
func (p *Pool) anew() {
	p.log.Warn("the shared state was lost: shards are claimed anew")
	p.mu.Lock()
	c := &p.claims
	before := make(map[Shard]bool, len(c.held))
	for shard := range c.held {
		before[shard] = true
	}
	kept := newClaims()
	kept.holder, kept.serves, kept.held, kept.joined = c.holder, c.serves, c.held, true
	kept.fresh, kept.before, kept.back = time.Now(), before, c.back
	p.claims = kept
	p.mu.Unlock()
	p.poke(true)
}

// write returns what has a claim stored if nobody wrote since seq. It is to be called without p.mu,
// which is held here: a broker that does not read must not hold up who asks how the pool is doing.
func (p *Pool) write(shard Shard, s stored, seq uint64) (publish func()) {
	body, err := json.Marshal(s)
	if err != nil {
		p.log.Error("claim", "error", err)
		return func() {}
	}
	p.claims.pending[shard] = 0
	fresh := p.claims.fresh
	m := broker.OnlyAfter(broker.PutState(claimKey(shard), body, 0), seq)
	return func() { p.conn.Outbox.Publish(m, p.written(shard, seq, fresh)) }
}

// written takes the answer to a claim that was written after seq, in the bucket that was made at
// fresh.
func (p *Pool) written(shard Shard, seq uint64, fresh time.Time) func(broker.Ack, error) {
	return func(a broker.Ack, err error) {
		p.mu.Lock()
		c := &p.claims
		switch {
		case !c.fresh.Equal(fresh): // it was stored in a bucket that is gone
		// the log says who was first: somebody else, or a write of ours whose answer was lost
		case err != nil:
			delete(c.pending, shard)
			c.refused[shard] = time.Now()
		default:
			// the log was cut back, and counts once more what it has lost
			if a.Seq <= c.released[shard] {
				c.released[shard] = seq
			}
			c.pending[shard] = a.Seq
			if c.entries[shard].seq >= a.Seq {
				delete(c.pending, shard)
			}
		}
		p.mu.Unlock()
		p.poke(false)
	}
}

// claim looks at everything that may have to be done at now, does it, and says after which time to
// look again at the latest.
func (p *Pool) claim(now time.Time) time.Duration {
	p.mu.Lock()
	l := look{p: p, c: &p.claims, now: now, next: time.Hour}
	l.all()
	p.mu.Unlock()
	for _, f := range l.calls {
		f()
	}
	p.lookUp(l.unclear)
	return l.next
}

// look is one look at the claims.
type look struct {
	p     *Pool
	c     *claims
	now   time.Time
	next  time.Duration
	calls []func() // of the holder, in order, then what is published; without the lock

	unclear []Shard // refused, and nothing that was read says why
}

func (l *look) again(after time.Duration) { l.next = min(l.next, max(after, 0)) }

func (l *look) all() {
	l.p.forget(l.now)
	left, h := l.p.left(l.now), l.c.holder
	for shard, c := range l.c.held {
		if left <= 0 || !l.mine(l.c.entries[shard]) || l.c.entries[shard].seq != c.Revision {
			c.over.Store(true)
			delete(l.c.held, shard)
			l.calls = append(l.calls, func() { h.Lost(c) })
		}
	}
	if left <= 0 {
		return // the next heartbeat begins another
	}
	l.again(left)
	if h == nil {
		return
	}
	l.adopt()
	if !l.p.conn.Connected() && !l.p.self.Leaving {
		return // what is known may be out of date
	}
	target := l.plan()
	l.giveUp(target)
	l.giveBack()
	l.take(target)
}

func (l *look) mine(e entry) bool {
	return e.Worker == l.p.self.Name && e.Lease == l.p.self.Lease
}

// adopt begins what was claimed and has been read back.
func (l *look) adopt() {
	h := l.c.holder
	for shard, e := range l.c.entries {
		if _, flying := l.c.pending[shard]; flying || !l.mine(e) || l.c.held[shard] != nil ||
			e.seq <= l.c.released[shard] {
			continue
		}
		c := &Claim{App: shard.App, Shard: shard.N, Revision: e.seq, pool: l.p}
		l.c.held[shard] = c
		l.calls = append(l.calls, func() { h.Acquired(c) })
	}
}

// plan is who should have which shard.
func (l *look) plan() map[Shard]string {
	serves := make(map[string]map[string]bool)
	for name, m := range l.p.members {
		if m.alive && !m.leaving && name != l.p.self.Name {
			serves[name] = m.apps
		}
	}
	own := make(map[string]bool)
	var shards []Shard
	for app, n := range l.c.serves {
		own[app] = true
		for i := range n {
			shards = append(shards, Shard{app, i})
		}
	}
	if !l.p.self.Leaving {
		serves[l.p.self.Name] = own
	}
	holder := make(map[Shard]string)
	load := make(map[string]int)
	for shard, e := range l.c.entries {
		c := l.c.held[shard]
		switch {
		case e.Worker == "" || l.void(e) || c != nil && c.asked:
		case own[shard.App]:
			holder[shard] = e.Worker
		default:
			load[e.Worker]++
		}
	}
	return spread(serves, shards, holder, load)
}

// giveUp asks for what others should have.
func (l *look) giveUp(target map[Shard]string) {
	h := l.c.holder
	for shard, c := range l.c.held {
		if c.asked || target[shard] == l.p.self.Name {
			continue
		}
		if still := calm - l.now.Sub(l.c.moved); still > 0 && l.c.serves[shard.App] > shard.N &&
			!l.p.self.Leaving {
			l.again(still)
			continue
		}
		c.asked = true
		l.calls = append(l.calls, func() { h.Release(c) })
	}
}

// giveBack frees again what was given back and still stands as this worker's: the write was
// refused, or lost with the broker's memory. While the lease lives nobody else may take it.
func (l *look) giveBack() {
	for shard, seq := range l.c.released {
		e := l.c.entries[shard]
		if _, flying := l.c.pending[shard]; flying || !l.mine(e) || e.seq > seq {
			continue
		}
		if still := claimAgain - l.now.Sub(l.c.refused[shard]); still > 0 {
			l.again(still)
			continue
		}
		delete(l.c.refused, shard)
		l.calls = append(l.calls, l.p.write(shard, stored{}, e.seq))
	}
}

// take claims what this worker should have and nobody has.
func (l *look) take(target map[Shard]string) {
	for shard, name := range target {
		if name != l.p.self.Name || l.c.held[shard] != nil {
			continue
		}
		if _, flying := l.c.pending[shard]; flying || !l.free(shard) {
			continue
		}
		if at, ok := l.c.refused[shard]; ok {
			if still := claimAgain - l.now.Sub(at); still > 0 {
				l.again(still)
				continue
			}
			delete(l.c.refused, shard)
			l.unclear = append(l.unclear, shard)
			continue
		}
		l.calls = append(l.calls,
			l.p.write(shard, stored{l.p.self.Name, l.p.self.Lease}, l.c.entries[shard].seq))
	}
}

// lookUp reads what stands in some claims' places: a key may have been deleted by hand before this
// worker came. All of them together have the time of one heartbeat, since the next one waits for
// it; the rest are tried unseen.
func (p *Pool) lookUp(shards []Shard) {
	if len(shards) == 0 {
		return
	}
	defer p.poke(false)
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
func (l *look) free(shard Shard) bool {
	e := l.c.entries[shard]
	switch {
	case e.Worker == "":
		if still := l.c.fresh.Add(Lease).Sub(l.now); still > 0 && !l.c.before[shard] {
			l.again(still)
			return false
		}
		return true
	case !l.void(e):
		return false
	case e.Worker == l.p.self.Name || l.p.members[e.Worker].left:
		return true
	}
	// After an interruption all leases may have ended though their workers live; each is to find
	// its own shards again.
	if still := l.c.back.Add(settle).Sub(l.now); still > 0 {
		l.again(still)
		return false
	}
	return true
}

// void says whether the lease that a claim names is over.
func (l *look) void(e entry) bool {
	if e.Worker == l.p.self.Name {
		return e.Lease != l.p.self.Lease
	}
	m, known := l.p.members[e.Worker]
	switch {
	case known && m.alive:
		return e.Lease < m.lease
	case known && e.Lease <= m.lease:
		still := m.until.Sub(l.now)
		if m.left || still <= 0 {
			return true
		}
		l.again(still)
		return false
	}
	// Its heartbeat was not seen yet. One that lives gives another in a moment.
	still := e.seen.Add(Lease).Sub(l.now)
	if still > 0 {
		l.again(still)
	}
	return still <= 0
}

package pool

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	// claimPause is between two looks at the claims, at least: at a start a thousand are read back
	// one by one.
	claimPause = 5 * time.Millisecond
	// quiet is how long nobody must have come or gone before a shard is moved for evenness' sake:
	// workers come and go in groups.
	quiet = time.Second
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

	joined         bool           // everything that stood at the beginning has been read
	membersChanged time.Time      // when somebody came or went
	reconnected    time.Time      // last reconnect; zero for none
	reset          time.Time      // when KEFU_STATE was made anew; zero for never
	heldBefore     map[Shard]bool // what this worker had then
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
	p.wakeUp(true)
}

// Retire has all shards of this worker asked back; it takes no more. To be called before Leave,
// when the worker stops in order.
func (p *Pool) Retire() {
	p.mu.Lock()
	p.self.Leaving = true
	p.mu.Unlock()
	p.wakeUp(true)
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

// bucketReset forgets a bucket that is gone. What this worker had it may claim at once; for the
// rest it waits until whoever had it must know as well.
func (p *Pool) bucketReset() {
	p.log.Warn("the shared state was lost: shards are claimed anew")
	p.mu.Lock()
	c := &p.claims
	before := make(map[Shard]bool, len(c.held))
	for shard := range c.held {
		before[shard] = true
	}
	kept := newClaims()
	kept.holder, kept.serves, kept.held, kept.joined = c.holder, c.serves, c.held, true
	kept.reset, kept.heldBefore, kept.reconnected = time.Now(), before, c.reconnected
	p.claims = kept
	p.mu.Unlock()
	p.wakeUp(true)
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
	reset := p.claims.reset
	m := broker.OnlyAfter(broker.PutState(claimKey(shard), body, 0), seq)
	return func() { p.conn.Outbox.Publish(m, p.written(shard, seq, reset)) }
}

// written takes the answer to a claim that was written after seq, in the bucket that was made at
// fresh.
func (p *Pool) written(shard Shard, seq uint64, reset time.Time) func(broker.Ack, error) {
	return func(a broker.Ack, err error) {
		p.mu.Lock()
		c := &p.claims
		switch {
		case !c.reset.Equal(reset): // it was stored in a bucket that is gone
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
		p.wakeUp(false)
	}
}

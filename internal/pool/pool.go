// Package pool knows which workers are alive and who of them reads which live shard.
//
// A worker's lease is its heartbeat: a key with a life time in KEFU_STATE, renewed while the worker
// lives. The key names one process, not a machine: a worker that was killed and started again is
// another one, and what the old one had started counts as abandoned when its key ends.
//
// A claim is a key for each shard that names a worker and its lease. It is valid while that lease
// is, so that a worker with a thousand shards renews one key and not a thousand, and a stop or a
// crash frees all of them by one change. A claim is written when a shard changes hands, and only
// then.
//
// What keeps two workers from sending for one shard at once:
//
//   - A claim is written over the one before by compare-and-set, and counts for
//     a worker when it has read it back from the log.
//   - A lease is renewed by compare-and-set as well: one that has run out at the
//     broker cannot be brought back, whatever was still on its way. The worker
//     begins another, with a higher number, and the claims of the old one are void.
//   - The holder counts its lease from before it asked for it, on its own
//     clocks (span), and a second shorter. A call is started only with a valid
//     claim (Claim.Valid), so it has stopped before anybody else may begin.
//   - Others wait for the end of the key, and until as long after the last sign of
//     life that they read as the lease lasts, on their own monotonic clocks: the
//     broker's nodes need not agree about the time. A worker that has just joined
//     has the end of the key only, until it has read a heartbeat of each.
//
// The shards are spread by a pure function (spread.go). Who has more than its share is asked to
// drain a shard and gives it back then; who has less takes what is free.
//
//	p, err := pool.Join(ctx, conn, pool.Worker{Name: pool.NewName("host-1")}, log)
//	defer p.Leave(ctx)
//	p.Serve(holder, map[string]int{"wx…": 4})
//	p.Alive("host-1-9f2c…")
package pool

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	// Lease is how long a worker counts as alive after its last sign of life.
	Lease = 12 * time.Second
	// renew leaves room for two lost heartbeats.
	renew = 4 * time.Second
	// margin is by how much the holder's own lease is shorter than the broker's: more than two
	// clocks can run apart in that time.
	margin = time.Second
	// settle is how long after this worker came or came back nobody is taken for dead. When the
	// broker was away for longer than Lease, the keys of all workers have ended though all live,
	// and each needs a moment to renew its own.
	settle = renew

	beatTimeout = time.Second            // of one heartbeat
	beatAgain   = 500 * time.Millisecond // after one that failed

	prefix      = "pool."
	workersKeys = prefix + "worker."
	claimsKeys  = prefix + "claim."
)

// Worker is what a worker says of itself.
type Worker struct {
	Name    string    `json:"name"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Seen    time.Time `json:"-"`

	Lease   uint64 `json:"lease"`             // counts the leases of this process, from 1
	Leaving bool   `json:"leaving,omitempty"` // takes no shards any more
	// every letter that it buries; older versions do not
	Indexes bool `json:"indexes,omitempty"`
	// knows the ledger's Gone mark; older versions do not
	Frees  bool     `json:"frees,omitempty"`
	Counts bool     `json:"counts,omitempty"` // names each end's campaign; older versions do not
	Apps   []string `json:"apps,omitempty"`   // whose shards it may take
	Status Status   `json:"status"`
}

// Status is how a worker is doing, for people.
type Status struct {
	Activity
	Apps map[string]Activity `json:"apps,omitempty"` // that are not idle
}

// Activity is how much is being done.
type Activity struct {
	InFlight  int     `json:"in_flight"`  // calls of the API
	PerSecond float64 `json:"per_second"` // sends, lately
}

// Add adds what another does.
func (a *Activity) Add(b Activity) {
	a.InFlight += b.InFlight
	a.PerSecond += b.PerSecond
}

// Pool is one worker's view of all workers, and its own claims.
type Pool struct {
	conn   *broker.Conn
	log    *slog.Logger
	reader *broker.Follower
	unhook func()

	lease   atomic.Pointer[span] // this worker's; nil for none
	tenure  atomic.Pointer[tenure]
	seq     uint64 // of the newest heartbeat; the keeping goroutine's
	missing bool   // there was no KEFU_STATE when it was looked for; the keeping goroutine's

	mu      sync.RWMutex
	self    Worker
	status  func() Status
	members map[string]member
	since   time.Time // when this worker came or came back
	claims  claims

	kick chan struct{} // there may be something to do
	beat atomic.Bool   // give a sign of life at once
	stop context.CancelFunc
	done chan struct{}
}

// member is what the log says of a worker.
type member struct {
	lease   uint64
	alive   bool
	left    bool // and said so
	leaving bool
	frees   bool
	counts  bool
	until   time.Time // it may act on its lease that long, whatever the broker says: learnWorker
	ended   time.Time // when it was learned that it is not alive
	apps    map[string]bool
	does    map[string]Activity // by app, as it said last
}

// NewName makes a name that no other process has had: a subject token.
func NewName(host string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' ||
			r == '-' || r == '_' {
			return r
		}
		return '-'
	}, host)
	if len(clean) > 60 {
		clean = clean[:60]
	}
	return clean + "-" + strings.ToLower(rand.Text()[:10])
}

// Join announces this worker and returns when it sees the others.
func Join(ctx context.Context, conn *broker.Conn, self Worker, log *slog.Logger) (*Pool, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	now := time.Now()
	p := &Pool{
		conn: conn, self: self, log: log, members: make(map[string]member), since: now,
		status: func() Status { return Status{} }, claims: newClaims(),
		kick: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
	}
	p.tenure.Store(new(tenure))
	if err := p.begin(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("join the pool: %w", err)
	}
	var err error
	if p.reader, err = conn.WatchState(ctx, prefix, broker.FollowOptions{Log: log, Anew: p.anew},
		p.learn); err != nil {
		stop()
		return nil, fmt.Errorf("join the pool: %w", err)
	}
	p.mu.Lock()
	p.claims.joined = true
	p.mu.Unlock()
	p.unhook = conn.OnReconnect(p.back)
	go p.keep(run)
	return p, nil
}

// Alive says whether a worker has given a sign of life within Lease, by the broker's clock or by
// this worker's, or may have been kept from it by the broker.
func (p *Pool) Alive(worker string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	m, now := p.members[worker], time.Now()
	return m.alive || !m.left && (now.Sub(p.since) < settle || now.Before(m.until))
}

// Others says how many other workers serve an app, and how much they do for it as they said at
// their last heartbeats. It waits for no broker.
func (p *Pool) Others(appID string) (workers int, does Activity) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for name, m := range p.members {
		if name != p.self.Name && m.alive && m.apps[appID] {
			workers++
			does.Add(m.does[appID])
		}
	}
	return workers, does
}

// AllFree says whether every other worker that may be alive knows the ledger's Gone mark: one that
// does not would go on as if it were not there.
func (p *Pool) AllFree() bool {
	return p.every(func(m member) bool { return m.frees })
}

// AllCount says whether every other worker that may be alive says which campaign each end belongs
// to.
func (p *Pool) AllCount() bool {
	return p.every(func(m member) bool { return m.counts })
}

// WritesCounts says whether this worker is the one that stores for all of them what campaigns
// count: of those alive that could, the first by name.
func (p *Pool) WritesCounts() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for name, m := range p.members {
		if m.alive && m.counts && name < p.self.Name {
			return false
		}
	}
	return p.self.Counts
}

// every says whether f holds for each other worker that may be alive.
func (p *Pool) every(f func(member) bool) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	now := time.Now()
	for name, m := range p.members {
		if name != p.self.Name && !f(m) && (m.alive || !m.left && now.Before(m.until)) {
			return false
		}
	}
	return true
}

// Lapsed says whether this worker's lease has run out: it can claim no shard, and others may take
// over what it had.
func (p *Pool) Lapsed() bool { return p.left(time.Now()) <= 0 }

// Report has f asked at each heartbeat how this worker is doing. f must not block.
func (p *Pool) Report(f func() Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = f
}

// Leave takes this worker out of the pool: nobody waits for its lease, and what it still has
// claimed is free. No function of a Holder is called any more when it returns.
func (p *Pool) Leave(ctx context.Context) {
	p.unhook()
	p.stop()
	<-p.done
	p.reader.Stop()
	p.lapse()
	// A failure costs the others the rest of the lease, no more.
	_ = p.conn.SaveState(ctx, broker.DeleteState(workersKeys+p.self.Name))
}

// back is called after each reconnect.
func (p *Pool) back() {
	p.mu.Lock()
	p.since = time.Now()
	p.claims.back = p.since
	for shard, seq := range p.claims.pending {
		if seq > 0 { // what stands is read again, and may be less than was acknowledged
			delete(p.claims.pending, shard)
		}
	}
	p.mu.Unlock()
	p.poke(true)
}

// poke has the keeping goroutine look at everything.
func (p *Pool) poke(beat bool) {
	if beat {
		p.beat.Store(true)
	}
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *Pool) learn(e broker.StateEntry) {
	p.mu.Lock()
	if name, ok := strings.CutPrefix(e.Key, workersKeys); ok {
		p.learnWorker(name, e)
	} else if shard, ok := parseClaimKey(e.Key); ok {
		p.learnClaim(shard, e)
	}
	p.mu.Unlock()
	p.poke(false)
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
			m.until = now.Add(Lease)
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
			counts: w.Counts, apps: apps, does: w.Status.Apps}
		if p.claims.joined {
			m.until = now.Add(Lease)
		}
	}
	p.members[name] = m
	if name == p.self.Name && !m.alive {
		p.beat.Store(true) // our lease is over: the sooner we know the better
	}
	if m.alive != before.alive || m.leaving != before.leaving || !maps.Equal(m.apps, before.apps) {
		p.claims.moved = now
	}
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

// keep gives signs of life and sees to the claims, until ctx ends.
func (p *Pool) keep(ctx context.Context) {
	defer close(p.done)
	due := time.Now().Add(renew)
	for {
		begun := time.Now()
		next := p.claim(begun)
		// With a thousand shards a look takes milliseconds; one that took seconds, because the
		// machine stood still, must not cost the lease as well.
		rest := min(max(claimPause, 4*time.Since(begun)), beatAgain)
		if now := time.Now(); p.beat.Swap(false) || !now.Before(due) {
			due = now.Add(renew)
			if err := p.renew(ctx); err != nil {
				due = now.Add(beatAgain)
				if ctx.Err() == nil && !errors.Is(err, broker.ErrAway) {
					p.log.Debug("heartbeat", "error", err)
					if p.Lapsed() && !p.missing {
						p.conn.Elsewhere()
					}
				}
			}
			next = min(next, 0) // what it changed
		}
		wait := min(next, time.Until(due)) - rest
		if !pause(ctx, rest, nil) || wait > 0 && !pause(ctx, wait, p.kick) {
			return
		}
	}
}

// pause waits, or until kick; false when ctx has ended.
func pause(ctx context.Context, d time.Duration, kick <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-kick:
	}
	return true
}

// left is how much of the lease is left at now; not above zero when it is over.
func (p *Pool) left(now time.Time) time.Duration {
	if lease := p.lease.Load(); lease != nil {
		return lease.left(now)
	}
	return 0
}

// extend lets the lease run from the moment at which it was asked for.
func (p *Pool) extend(asked time.Time, seq uint64) {
	p.seq = seq
	lease := newSpan(asked, Lease-margin)
	p.stay(asked, lease.lasts) // first: what a claim allows is started in a tenure
	p.lease.Store(&lease)
}

// lapse ends the lease at once, and the tenure with it.
func (p *Pool) lapse() {
	p.lease.Store(nil)
	p.tenure.Store(&tenure{number: p.tenure.Load().number})
}

// renew gives a sign of life.
func (p *Pool) renew(ctx context.Context) error {
	if !p.conn.Connected() {
		return broker.ErrAway
	}
	if (p.missing || p.Lapsed()) && p.stateless(ctx) {
		return broker.ErrNoStream
	}
	ctx, cancel := context.WithTimeout(ctx, beatTimeout)
	defer cancel()
	asked := time.Now()
	if p.left(asked) <= 0 {
		return p.begin(ctx)
	}
	m := p.heartbeat()
	seq, err := p.conn.Swap(ctx, m, p.seq)
	if errors.Is(err, broker.ErrOvertaken) {
		// By a heartbeat of ours whose answer was lost, or by the end of the lease.
		e, look := p.conn.LastState(ctx, workersKeys+p.self.Name)
		var last Worker
		if look == nil && !e.Deleted && json.Unmarshal(e.Value, &last) == nil &&
			last.Lease == p.self.Lease {
			p.seq = e.Seq
			seq, err = p.conn.Swap(ctx, m, p.seq)
		} else if look == nil || errors.Is(look, broker.ErrNoMessage) {
			p.lapse()
			p.poke(true)
		}
	}
	if err != nil {
		if errors.Is(err, broker.ErrNoStream) {
			p.stateless(ctx)
		}
		return err
	}
	p.extend(asked, seq)
	return nil
}

// begin starts a new lease. It needs no condition: nobody else writes this key, and nothing rests
// on the lease before.
func (p *Pool) begin(ctx context.Context) error {
	p.mu.Lock()
	p.self.Lease++
	for _, c := range p.claims.held { // of the lease before
		c.over.Store(true)
	}
	clear(p.claims.released)
	p.mu.Unlock()
	asked := time.Now()
	m := p.heartbeat()
	ack, err := p.conn.Outbox.PublishWait(ctx, m)
	if err != nil {
		return fmt.Errorf("write %s: %w", workersKeys+p.self.Name, err)
	}
	p.extend(asked, ack.Seq)
	p.poke(false)
	return nil
}

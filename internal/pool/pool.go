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
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
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
	Frees  bool `json:"frees,omitempty"`
	Counts bool `json:"counts,omitempty"` // names each end's campaign; older versions do not
	Jobs   bool `json:"jobs,omitempty"`   // carries them out; older versions do not
	// obeys orders to send a person nothing of before; older versions do not
	Forgets bool `json:"forgets,omitempty"`
	// obeys orders to send nothing more of a campaign; older versions do not
	Recalls bool     `json:"recalls,omitempty"`
	Apps    []string `json:"apps,omitempty"` // whose shards it may take, whose jobs carry out
	Status  Status   `json:"status"`

	Receipts Receipts `json:"receipts,omitempty"` // that it writes; older versions do not say
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

	mu       sync.RWMutex
	self     Worker
	status   func() Status
	members  map[string]member
	joinedAt time.Time // when this worker came or came back
	claims   claims

	wake    chan struct{} // there may be something to do
	beatNow atomic.Bool   // give a sign of life at once
	stop    context.CancelFunc
	done    chan struct{}
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
		conn: conn, self: self, log: log, members: make(map[string]member), joinedAt: now,
		status: func() Status { return Status{} }, claims: newClaims(),
		wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
	}
	p.tenure.Store(new(tenure))
	if err := p.begin(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("join the pool: %w", err)
	}
	var err error
	p.reader, err = conn.WatchState(ctx, prefix,
		broker.FollowOptions{Log: log, Anew: p.bucketReset}, p.apply)
	if err != nil {
		stop()
		return nil, fmt.Errorf("join the pool: %w", err)
	}
	p.mu.Lock()
	p.claims.joined = true
	p.mu.Unlock()
	p.unhook = conn.OnReconnect(p.reconnected)
	go p.keep(run)
	return p, nil
}

// Alive says whether a worker has given a sign of life within Lease, by the broker's clock or by
// this worker's, or may have been kept from it by the broker.
func (p *Pool) Alive(worker string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	m, now := p.members[worker], time.Now()
	return m.alive || !m.left && (now.Sub(p.joinedAt) < settle || now.Before(m.aliveUntil))
}

// Others says how many other workers serve an app, and how much they do for it as they said at
// their last heartbeats. It waits for no broker.
func (p *Pool) Others(appID string) (workers int, does Activity) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for name, m := range p.members {
		if name != p.self.Name && m.alive && m.apps[appID] {
			workers++
			does.Add(m.activity[appID])
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

// First says whether this worker is the one that carries out the jobs of an app: of those alive
// that could and do not leave, the first in an order that differs from app to app.
func (p *Pool) First(appID string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	self, ok := p.members[p.self.Name]
	if !ok || !self.carriesOut(appID) {
		return false
	}
	own := rank(Shard{App: appID}, p.self.Name)
	for name, m := range p.members {
		if !m.carriesOut(appID) || name == p.self.Name {
			continue
		}
		if other := rank(Shard{App: appID}, name); other < own ||
			other == own && name < p.self.Name {
			return false
		}
	}
	return true
}

// every says whether f holds for each other worker that may be alive.
func (p *Pool) every(f func(member) bool) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	now := time.Now()
	for name, m := range p.members {
		if name != p.self.Name && !f(m) && (m.alive || !m.left && now.Before(m.aliveUntil)) {
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
	p.endLease()
	// A failure costs the others the rest of the lease, no more.
	_ = p.conn.SaveState(ctx, broker.DeleteState(workersKeys+p.self.Name))
}

// reconnected is called after each reconnect.
func (p *Pool) reconnected() {
	p.mu.Lock()
	p.joinedAt = time.Now()
	p.claims.reconnected = p.joinedAt
	for shard, seq := range p.claims.pending {
		if seq > 0 { // what stands is read again, and may be less than was acknowledged
			delete(p.claims.pending, shard)
		}
	}
	p.mu.Unlock()
	p.wakeUp(true)
}

// wakeUp has the keeping goroutine look at everything.
func (p *Pool) wakeUp(beat bool) {
	if beat {
		p.beatNow.Store(true)
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// apply takes over what was written of a worker or a shard.
func (p *Pool) apply(e broker.StateEntry) {
	p.mu.Lock()
	if name, ok := strings.CutPrefix(e.Key, workersKeys); ok {
		p.learnWorker(name, e)
	} else if shard, ok := parseClaimKey(e.Key); ok {
		p.learnClaim(shard, e)
	}
	p.mu.Unlock()
	p.wakeUp(false)
}

// Package pool knows which workers are alive.
//
// Each worker renews a key with a life time in KEFU_STATE. The key names one
// process, not a machine: a worker that was killed and started again is another
// one, and what the old one had started counts as abandoned when its key ends.
//
//	p, err := pool.Join(ctx, conn, pool.NewName("host-1"), log)
//	defer p.Leave(ctx)
//	p.Alive("host-1-9f2c…")
package pool

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	// Lease is how long a worker counts as alive after its last sign of life.
	Lease = 12 * time.Second
	// renew leaves room for two lost heartbeats.
	renew = 4 * time.Second
	// settle is how long after this worker came or came back nobody is taken for
	// dead. When the broker was away for longer than Lease, the keys of all
	// workers have ended though all live, and each needs a moment to renew its own.
	settle = renew
	prefix = "worker."
)

// Worker is what a worker says of itself.
type Worker struct {
	Name    string    `json:"name"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	Seen    time.Time `json:"-"`
}

// Pool is one worker's view of all workers.
type Pool struct {
	conn   *broker.Conn
	self   Worker
	log    *slog.Logger
	reader *broker.Follower
	unhook func()

	mu    sync.RWMutex
	alive map[string]bool // false: left, and said so
	since time.Time       // when this worker came or came back

	now  chan struct{} // renew at once
	stop context.CancelFunc
	done chan struct{}
}

// NewName makes a name that no other process has had: a subject token.
func NewName(host string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
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
	p := &Pool{
		conn: conn, self: self, log: log, alive: make(map[string]bool), since: time.Now(),
		now: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
	}
	if err := p.beat(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("join the pool: %w", err)
	}
	var err error
	if p.reader, err = conn.WatchState(ctx, prefix, broker.FollowOptions{Log: log}, p.learn); err != nil {
		stop()
		return nil, fmt.Errorf("join the pool: %w", err)
	}
	p.unhook = conn.OnReconnect(p.back)
	go p.keep(run)
	return p, nil
}

// Alive says whether a worker has given a sign of life within Lease, or may
// have been kept from it by the broker.
func (p *Pool) Alive(worker string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	alive, known := p.alive[worker]
	return alive || !known && time.Since(p.since) < settle
}

// Leave takes this worker out of the pool, so that nobody waits for its lease.
func (p *Pool) Leave(ctx context.Context) {
	p.unhook()
	p.stop()
	<-p.done
	p.reader.Stop()
	// A failure costs the others the rest of the lease, no more.
	_ = p.conn.SaveState(ctx, broker.DeleteState(prefix+p.self.Name))
}

// back is called after each reconnect.
func (p *Pool) back() {
	p.mu.Lock()
	p.since = time.Now()
	p.mu.Unlock()
	select {
	case p.now <- struct{}{}:
	default:
	}
}

func (p *Pool) learn(e broker.StateEntry) {
	name := strings.TrimPrefix(e.Key, prefix)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !e.Deleted:
		p.alive[name] = true
	case e.Expired:
		delete(p.alive, name)
	default:
		p.alive[name] = false
	}
}

func (p *Pool) beat(ctx context.Context) error {
	body, err := json.Marshal(p.self)
	if err != nil {
		return err
	}
	return p.conn.SaveState(ctx, broker.PutState(prefix+p.self.Name, body, Lease))
}

func (p *Pool) keep(ctx context.Context) {
	defer close(p.done)
	t := time.NewTicker(renew)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-p.now:
		}
		wait, cancel := context.WithTimeout(ctx, renew)
		if err := p.beat(wait); err != nil && ctx.Err() == nil {
			p.log.Debug("heartbeat", "error", err)
		}
		cancel()
	}
}

// Workers reads who is alive, for people.
func Workers(ctx context.Context, conn *broker.Conn) ([]Worker, error) {
	entries, err := conn.ReadState(ctx, prefix)
	if err != nil {
		return nil, err
	}
	out := make([]Worker, 0, len(entries))
	for _, e := range entries {
		var w Worker
		if err := json.Unmarshal(e.Value, &w); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Key, err)
		}
		w.Seen = e.Time
		out = append(out, w)
	}
	return out, nil
}

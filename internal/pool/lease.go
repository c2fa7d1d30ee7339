package pool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

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
)

// keep gives signs of life and sees to the claims, until ctx ends.
func (p *Pool) keep(ctx context.Context) {
	defer close(p.done)
	due := time.Now().Add(renew)
	for {
		begun := time.Now()
		next := p.claim(begun)
		// With a thousand shards a review takes milliseconds; one that took seconds, because the
		// machine stood still, must not cost the lease as well.
		rest := min(max(claimPause, 4*time.Since(begun)), beatAgain)
		if now := time.Now(); p.beatNow.Swap(false) || !now.Before(due) {
			due = now.Add(renew)
			if err := p.renew(ctx); err != nil {
				due = now.Add(beatAgain)
				if ctx.Err() == nil && !errors.Is(err, broker.ErrAway) {
					p.log.Debug("heartbeat", "error", err)
					if p.Lapsed() && !p.missing {
						p.conn.LeaveServer()
					}
				}
			}
			next = min(next, 0) // what it changed
		}
		wait := min(next, time.Until(due)) - rest
		if !pause(ctx, rest, nil) || wait > 0 && !pause(ctx, wait, p.wake) {
			return
		}
	}
}

// pause waits for d, or until wake; it returns false when ctx has ended.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-wake:
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

// endLease ends the lease at once, and the tenure with it.
func (p *Pool) endLease() {
	p.lease.Store(nil)
	p.tenure.Store(&tenure{number: p.tenure.Load().number})
}

// renew gives a sign of life by compare-and-set. A lease that has run out at the broker is not
// brought back by a heartbeat that was on its way:
//
//	heartbeat 7 · the key expires (8) · heartbeat over 7: overtaken, the lease is over → begin
//	heartbeat 7 · heartbeat over 7: stored (8), its answer is lost → over 7: overtaken → over 8
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
		e, readErr := p.conn.LastState(ctx, workersKeys+p.self.Name)
		var last Worker
		if readErr == nil && !e.Deleted && json.Unmarshal(e.Value, &last) == nil &&
			last.Lease == p.self.Lease {
			p.seq = e.Seq
			seq, err = p.conn.Swap(ctx, m, p.seq)
		} else if readErr == nil || errors.Is(readErr, broker.ErrNoMessage) {
			p.endLease()
			p.wakeUp(true)
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
	p.wakeUp(false)
	return nil
}

// heartbeat is the message by which this worker says that it lives, and how it is doing.
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

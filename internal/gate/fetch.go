package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

const (
	askPause  = 250 * time.Millisecond // after a question that failed
	askJitter = 2 * time.Millisecond   // spreads workers that want the same slots
)

// fetched is what the fetching goroutine knows of the account.
type fetched struct {
	account account
	seq     uint64 // of the account, in its stream
	known   bool
	failing bool
}

// fetch asks until slots have come. Nothing is taken while the broker is away: what is in hand is
// used up, then nothing is sent.
func (b *budget) fetch() {
	for {
		wait, err := b.fetchOnce()
		wake := b.wake
		switch {
		case err != nil:
			b.report(err)
			wait, wake = askPause, nil
		case wait == 0:
			return
		}
		select {
		case <-b.common.ctx.Done():
			return
		case <-wake:
		case <-time.After(wait):
		}
	}
}

// fetchOnce makes one attempt to take slots, and returns how long to wait before the next; 0 when
// it succeeded. Two workers that want the same slots:
//
//	A reads seq 7          B reads seq 7
//	A writes over 7: 8     B writes over 7: refused, reads 8, writes over 8: 9
func (b *budget) fetchOnce() (wait time.Duration, err error) {
	if !b.common.conn.Connected() {
		b.known = false
		b.common.clock.distrust()
		return 0, broker.ErrAway
	}
	ctx := b.common.ctx
	if err := b.common.clock.sync(ctx); err != nil {
		return 0, err
	}
	if !b.known {
		if err := b.common.trips.ask(ctx, b.read); err != nil {
			return 0, err
		}
	}
	trip := b.common.trips.usual()
	t, _ := b.common.clock.broker(b.common.clock.now())
	p, n, live := b.next(trip)
	next, granted, wait := p.grant(b.account, t, trip, b.lead(), n, live)
	if granted == nil {
		return wait + b.common.jitter(), nil
	}
	next.By = b.common.worker
	err = b.common.trips.ask(ctx, func(ctx context.Context) error { return b.write(ctx, next) })
	switch {
	case err == nil:
		b.report(nil)
		b.receive(p, granted) // from here on another goroutine may fetch
		return 0, nil
	case errors.Is(err, broker.ErrOvertaken):
		b.known = false
		return b.common.jitter(), nil
	case errors.Is(err, broker.ErrNoStream):
		b.common.clock.distrust()
	}
	// It may have been stored; then its slots are lost. That is dearer than a look at what is
	// there, and rare.
	b.known = false
	return 0, err
}

// jitter spreads workers that want the same slots; it is never 0.
func jitter() time.Duration { return 1 + rand.N(askJitter) }

// read reads the account.
func (b *budget) read(ctx context.Context) error {
	stored, err := b.common.conn.Last(ctx, wire.StreamRate, b.subject)
	if errors.Is(err, broker.ErrNoMessage) {
		b.account, b.seq, b.known = account{TAT: b.common.clock.unknown.Load()}, 0, true
		return nil
	}
	if err != nil {
		return err
	}
	var a account
	if err := json.Unmarshal(stored.Data, &a); err != nil {
		return fmt.Errorf("unreadable account %s: %w", b.subject, err)
	}
	if a.By != b.common.worker {
		if t, _ := b.common.clock.broker(b.common.clock.now()); a.TAT > t-int64(time.Second) {
			b.metAnother()
		}
	}
	b.account, b.seq, b.known = a, stored.Seq, true
	return nil
}

// write stores an account over the one that was read.
func (b *budget) write(ctx context.Context, a account) error {
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	seq, err := b.common.conn.Swap(ctx, &nats.Msg{Subject: b.subject, Data: data}, b.seq)
	if err == nil {
		b.account, b.seq = a, seq
	}
	return err
}

// next is how many slots to ask for, at which pace, and whether live waits for them. Who is far
// from the broker would get nothing where others write all the time; so chunks are as large as the
// farthest worker's have to be.
func (b *budget) next(trip time.Duration) (p pace, n int, live bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n = b.sizing.next(b.pace.chunk(max(trip, time.Duration(b.account.Trip))))
	return b.pace, n, b.liveWaiting
}

// metAnother notes that another worker takes slots of this app.
func (b *budget) metAnother() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sizing.met()
}

// receive takes slots in hand.
func (b *budget) receive(p pace, granted []slots) {
	b.mu.Lock()
	if p == b.pace { // else the rate was changed meanwhile
		b.hand = append(b.hand, granted...)
	}
	b.readClocks() // drops what came too late; it does not count as expired: there was demand
	b.sizing.received()
	b.fetching = false
	b.earliest = b.account.Early - b.pace.earlyIdle + b.pace.earlyStep
	tell := b.waiting || b.liveWaiting
	b.waiting, b.liveWaiting = false, false
	b.serve()
	b.mu.Unlock()
	if tell {
		b.onArrival()
	}
}

// report says once when the broker begins to keep slots from us, and once when that ends.
func (b *budget) report(err error) {
	away := errors.Is(err, broker.ErrAway) || b.common.ctx.Err() != nil
	switch {
	case err != nil && !b.failing && !away:
		b.failing = true
		b.log.Warn("nothing is sent: the rate budget cannot be reached", "error", err)
	case err == nil && b.failing:
		b.failing = false
		b.log.Info("the rate budget can be reached again")
	}
}

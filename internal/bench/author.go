package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// author publishes a load, as a producer does.
type author struct {
	load   *Load
	pub    *publisher.Publisher
	random *rand.Rand
	n      int // intents written so far
	ended  time.Time

	mu       sync.Mutex
	accepted map[kind]int
	refused  int
	why      error // the first one's
}

// campaign is that of all bulk intents.
const campaign = "bench"

func newAuthor(l *Load, conn *broker.Conn) (*author, error) {
	p, err := publisher.New(conn.JS)
	if err != nil {
		return nil, err
	}
	// Every run of a load offers the same: the order of apps, lanes and recipients does not depend
	// on chance.
	random := rand.New(rand.NewPCG(1, 2))
	return &author{load: l, pub: p, random: random, accepted: make(map[kind]int)}, nil
}

func (a *author) recipient() string {
	return fmt.Sprintf("oBench%022d", a.random.IntN(a.load.Recipients))
}

func (a *author) mark(k kind, lane schema.Lane) mark {
	m := mark{kind: k, lane: lane, n: a.n}
	a.n++
	return m
}

// fill publishes the backlog.
func (a *author) fill(ctx context.Context) error {
	healthy := a.load.Apps - a.load.troubled()
	for _, part := range []struct {
		lane schema.Lane
		n    int
	}{{schema.LaneLive, a.load.LiveBacklog}, {schema.LaneBulk, a.load.Backlog}} {
		for i := range healthy {
			share := part.n / healthy
			if i < part.n%healthy {
				share++
			}
			if err := a.fillApp(ctx, a.load.app(a.load.troubled()+i), part.lane,
				share); err != nil {
				return fmt.Errorf("publish the backlog: %w", err)
			}
		}
	}
	return nil
}

// warm publishes an intent of each lane to every healthy app: the first one ever
// has a token fetched, a connection opened and a budget begun.
func (a *author) warm(ctx context.Context) error {
	for _, appID := range a.load.healthy() {
		for _, lane := range []schema.Lane{schema.LaneLive, schema.LaneBulk} {
			a.publish(ctx, appID, a.mark(warmup, lane), a.recipient())
		}
	}
	return a.why
}

// fillAtOnce bounds what is in memory of a backlog that is being published.
const fillAtOnce = 10_000

func (a *author) fillApp(ctx context.Context, appID string, lane schema.Lane, n int) error {
	for n > 0 {
		intents := make([]publisher.Intent, min(n, fillAtOnce))
		for i := range intents {
			m := a.mark(backlog, lane)
			m.at = time.Now().UnixNano()
			intents[i].Packet = json.RawMessage(m.packet(a.recipient()))
		}
		if _, err := a.pub.PublishBatch(ctx, appID, intents, laneOptions(lane)...); err != nil {
			return err
		}
		a.accepted[backlog] += len(intents)
		n -= len(intents)
	}
	return nil
}

func laneOptions(lane schema.Lane) []publisher.PublishOption {
	if lane == schema.LaneBulk {
		return []publisher.PublishOption{publisher.WithBulk(campaign)}
	}
	return nil
}

// offer publishes at the rate until the duration is over, whatever becomes of
// what was published before: a contender that falls behind is not spared.
func (a *author) offer(ctx context.Context) error {
	var publishing sync.WaitGroup
	defer publishing.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for i := 0; ; i++ {
		due := time.Duration(float64(i) / a.load.Rate * float64(time.Second))
		if due >= a.load.Duration {
			break
		}
		timer.Reset(time.Until(start.Add(due)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		app, lane, k := i%a.load.Apps, schema.LaneBulk, offered
		if a.random.Float64() < a.load.LiveShare {
			lane = schema.LaneLive
		}
		if app < a.load.troubled() {
			k = troubled
		}
		m, toUser := a.mark(k, lane), a.recipient()
		publishing.Go(func() { a.publish(ctx, a.load.app(app), m, toUser) })
	}
	publishing.Wait()
	a.ended = time.Now()
	return a.why
}

func (a *author) publish(ctx context.Context, appID string, m mark, toUser string) {
	m.at = time.Now().UnixNano()
	_, err := a.pub.Publish(ctx, appID, json.RawMessage(m.packet(toUser)), laneOptions(m.lane)...)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil {
		a.accepted[m.kind]++
		return
	}
	if a.refused++; a.why == nil {
		a.why = fmt.Errorf("publish an intent: %w", err)
	}
}

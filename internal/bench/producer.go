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

// producer publishes a load through package publisher.
type producer struct {
	load    *Load
	pub     *publisher.Publisher
	random  *rand.Rand
	n       int // intents written so far
	endedAt time.Time

	mu       sync.Mutex
	accepted map[kind]int
	refused  int
	firstErr error // the first one's
}

// campaign is that of all bulk intents.
const campaign = "bench"

func newProducer(l *Load, conn *broker.Conn) (*producer, error) {
	p, err := publisher.New(conn.JS)
	if err != nil {
		return nil, err
	}
	// Every run of a load offers the same: the order of apps, lanes and recipients does not depend
	// on chance.
	random := rand.New(rand.NewPCG(1, 2))
	return &producer{load: l, pub: p, random: random, accepted: make(map[kind]int)}, nil
}

func (p *producer) recipient() string {
	return fmt.Sprintf("oBench%022d", p.random.IntN(p.load.Recipients))
}

func (p *producer) mark(k kind, lane schema.Lane) mark {
	m := mark{kind: k, lane: lane, n: p.n}
	p.n++
	return m
}

// publishBacklog publishes the backlog.
func (p *producer) publishBacklog(ctx context.Context) error {
	healthy := p.load.Apps - p.load.troubled()
	for _, part := range []struct {
		lane schema.Lane
		n    int
	}{{schema.LaneLive, p.load.LiveBacklog}, {schema.LaneBulk, p.load.Backlog}} {
		for i := range healthy {
			share := part.n / healthy
			if i < part.n%healthy {
				share++
			}
			if err := p.publishBacklogOf(ctx, p.load.app(p.load.troubled()+i), part.lane,
				share); err != nil {
				return fmt.Errorf("publish the backlog: %w", err)
			}
		}
	}
	return nil
}

// warmUp publishes an intent of each lane to every healthy app: the first one ever has a token
// fetched, a connection opened and a budget begun.
func (p *producer) warmUp(ctx context.Context) error {
	for _, appID := range p.load.healthy() {
		for _, lane := range []schema.Lane{schema.LaneLive, schema.LaneBulk} {
			p.publish(ctx, appID, p.mark(warmup, lane), p.recipient())
		}
	}
	return p.firstErr
}

// publishBatchSize bounds what is in memory of a backlog that is being published.
const publishBatchSize = 10_000

func (p *producer) publishBacklogOf(
	ctx context.Context, appID string, lane schema.Lane, n int,
) error {
	for n > 0 {
		intents := make([]publisher.Intent, min(n, publishBatchSize))
		for i := range intents {
			m := p.mark(backlog, lane)
			m.at = time.Now().UnixNano()
			intents[i].Packet = json.RawMessage(m.packet(p.recipient()))
		}
		if _, err := p.pub.PublishBatch(ctx, appID, intents, laneOptions(lane)...); err != nil {
			return err
		}
		p.accepted[backlog] += len(intents)
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

// publishAtRate publishes at the rate until the duration is over, whatever becomes of what was
// published before: a contender that falls behind is not spared.
func (p *producer) publishAtRate(ctx context.Context) error {
	var publishing sync.WaitGroup
	defer publishing.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	start := time.Now()
	for i := 0; ; i++ {
		due := time.Duration(float64(i) / p.load.Rate * float64(time.Second))
		if due >= p.load.Duration {
			break
		}
		timer.Reset(time.Until(start.Add(due)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		app, lane, k := i%p.load.Apps, schema.LaneBulk, offered
		if p.random.Float64() < p.load.LiveShare {
			lane = schema.LaneLive
		}
		if app < p.load.troubled() {
			k = troubled
		}
		m, toUser := p.mark(k, lane), p.recipient()
		publishing.Go(func() { p.publish(ctx, p.load.app(app), m, toUser) })
	}
	publishing.Wait()
	p.endedAt = time.Now()
	return p.firstErr
}

func (p *producer) publish(ctx context.Context, appID string, m mark, toUser string) {
	m.at = time.Now().UnixNano()
	_, err := p.pub.Publish(ctx, appID, json.RawMessage(m.packet(toUser)), laneOptions(m.lane)...)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.accepted[m.kind]++
		return
	}
	if p.refused++; p.firstErr == nil {
		p.firstErr = fmt.Errorf("publish an intent: %w", err)
	}
}

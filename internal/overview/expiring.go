package overview

import (
	"context"
	"errors"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const (
	// lookedAt is how many intents of a queue are looked at.
	lookedAt = 200
	// waitsLong is for how long the first has waited before they are.
	waitsLong = time.Minute
	// soon is what an operator can still do something about.
	soon = time.Hour
)

// expiring looks at the first intents of an app's queue. It is nil when the queue is empty.
func expiring(
	ctx context.Context, conn *broker.Conn, app apps.App, queued uint64, until time.Time,
) (*Expiring, error) {
	e := &Expiring{Of: queued, Until: until}
	o := broker.ScanOptions{Most: lookedAt}
	err := conn.Scan(ctx, schema.SendStream(app.AppID), o, func(s broker.Stored) error {
		e.look(s, app.ExpireAfter)
		return nil
	})
	if errors.Is(err, broker.ErrNoStream) {
		err = nil // it was removed meanwhile
	}
	if err != nil || e.Looked == 0 {
		return nil, err
	}
	e.Of = max(e.Of, uint64(e.Looked))
	return e, nil
}

func (e *Expiring) look(s broker.Stored, expireAfter time.Duration) {
	e.Looked++
	env, err := wire.ParseEnvelope(s.Header, wire.IsAgain(s.Subject))
	if err != nil {
		return // it dies whatever anybody does
	}
	published := env.PublishedAt
	if published.IsZero() {
		published = s.Time
	}
	deadline := env.Deadline(published, expireAfter)
	if deadline.IsZero() {
		return
	}
	if deadline.Before(e.Until) {
		e.Soon++
	}
	if e.Earliest == nil || deadline.Before(*e.Earliest) {
		e.Earliest = &deadline
	}
}

// looksUntil is up to when what expires is counted.
func looksUntil(holds []gate.Hold, now time.Time) time.Time {
	until := now.Add(soon)
	for _, h := range holds {
		if next := apps.NextTry(h, now); next.After(until) {
			until = next
		}
	}
	return until
}

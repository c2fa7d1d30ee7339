// Package withdrawal keeps the orders not to send an intent any more, an operator's or
// its producer's, those not to send anything more of a campaign (campaign.go), and
// those not to send a person anything of what was published before (forgetting.go).
//
// An order about an intent is a key of KEFU_STATE, where [schema.CancelSubject] says. A
// worker that meets the intent carries the order out and deletes it. An order about a
// campaign or a person stands until its life time is over: nobody knows how much it is
// about.
//
//	err := withdrawal.Write(ctx, conn, "wx…", "order-4711", order, 30*24*time.Hour)
//	orders, err := withdrawal.Watch(ctx, conn, pseudonyms, log) // in each worker
//	orders.Has("wx…", "order-4711", 1, published)
//	orders.CampaignCancelled("wx…", "double-11")
//	orders.Forgotten("wx…", campaign, published, recipient)
package withdrawal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// prefix is what the keys begin with.
const prefix = "cancel."

// keyOf returns the key of an intent's order, made of the app and a hash of the id.
func keyOf(appID, id string) string {
	return strings.TrimPrefix(schema.CancelSubject(appID, id), wire.StateKeys)
}

// Order is that an intent shall not be sent.
type Order struct{ schema.Cancellation }

// Covers reports whether the order is about a life of the id that was published
// then. A producer's is about what was published before: a later life is not
// withdrawn, and nobody need know which life it is.
func (o Order) Covers(generation int, published time.Time) bool {
	if o.Generation > 0 {
		return generation <= o.Generation
	}
	return !published.After(o.At)
}

// Write stores an order. It is kept for keep, the time for which an intent can wait.
func Write(
	ctx context.Context, conn *broker.Conn, appID, id string, o Order, keep time.Duration,
) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return conn.SaveState(ctx, broker.PutState(keyOf(appID, id), body, keep))
}

// Read returns the order about an intent; ok says whether there is one that was not
// carried out. It serves people who look for an intent; workers have [Orders].
func Read(ctx context.Context, conn *broker.Conn, appID, id string) (o Order, ok bool, err error) {
	e, err := conn.LastState(ctx, keyOf(appID, id))
	if err != nil && !errors.Is(err, broker.ErrNoMessage) {
		return Order{}, false, fmt.Errorf("withdrawals: %w", err)
	}
	if err != nil || e.Deleted {
		return Order{}, false, nil
	}
	if err := json.Unmarshal(e.Value, &o); err != nil {
		return Order{}, false, fmt.Errorf("withdrawals: %s: %w", e.Key, err)
	}
	return o, true, nil
}

// Orders are all that stand, as a worker follows them.
type Orders struct {
	conn       *broker.Conn
	pseudonyms broker.Pseudonyms
	readers    []*broker.Follower

	mu      sync.RWMutex
	keys    map[string]stored       // about intents
	persons map[string]*forgettings // by app

	campaigns  atomic.Pointer[map[campaignOf]bool] // that are cancelled; nil for none
	onCampaign func(appID, campaign string)        // nil if nobody wants to know
}

type stored struct {
	Order
	seq uint64 // in KEFU_STATE
}

// Watch begins to follow the orders, and returns when all that stand are known. p are
// the pool's, by which orders about persons are found.
func Watch(
	ctx context.Context, conn *broker.Conn, p broker.Pseudonyms, log *slog.Logger,
) (*Orders, error) {
	o := &Orders{
		conn: conn, pseudonyms: p,
		keys: make(map[string]stored), persons: make(map[string]*forgettings),
	}
	for _, kind := range []struct {
		prefix string
		apply  func(broker.StateEntry)
	}{{prefix, o.apply}, {campaignPrefix, o.applyCampaign},
		{forgetPrefix, o.applyForgetting}} {
		r, err := conn.WatchState(ctx, kind.prefix, broker.FollowOptions{Log: log}, kind.apply)
		if err != nil {
			o.Close()
			return nil, fmt.Errorf("withdrawals: %w", err)
		}
		o.readers = append(o.readers, r)
	}
	return o, nil
}

// Close ends following.
func (o *Orders) Close() {
	for _, r := range o.readers {
		r.Stop()
	}
}

func (o *Orders) apply(e broker.StateEntry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := stored{seq: e.Seq}
	if e.Deleted || json.Unmarshal(e.Value, &s.Order) != nil {
		delete(o.keys, e.Key)
		return
	}
	o.keys[e.Key] = s
}

// Has reports whether a generation of an intent, published then, was withdrawn.
func (o *Orders) Has(appID, id string, generation int, published time.Time) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if len(o.keys) == 0 { // the usual case costs no hash
		return false
	}
	s, ok := o.keys[keyOf(appID, id)]
	return ok && s.Covers(generation, published)
}

// Done deletes an order that was carried out.
func (o *Orders) Done(appID, id string) {
	key := keyOf(appID, id)
	o.mu.RLock()
	s, ok := o.keys[key]
	o.mu.RUnlock()
	if !ok {
		return // deleted already
	}
	// A later life of the id may have been withdrawn meanwhile: that order stays.
	o.conn.Outbox.Publish(broker.OnlyAfter(broker.DeleteState(key), s.seq), nil)
}

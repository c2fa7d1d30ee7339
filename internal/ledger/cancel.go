package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

const cancelPrefix = "cancel."

// Withdrawal is an order not to send an intent any more, an operator's or its
// producer's.
type Withdrawal struct{ schema.Cancellation }

// Covers tells whether the order is about a life of the id that was published
// then. A producer's is about what was published before: a later life is not
// withdrawn, and nobody need know which life it is.
func (w Withdrawal) Covers(generation int, published time.Time) bool {
	if w.Generation > 0 {
		return generation <= w.Generation
	}
	return !published.After(w.At)
}

// Withdrawals are the ids that were withdrawn and not met yet.
type Withdrawals struct {
	conn   *broker.Conn
	reader *broker.Follower

	mu   sync.RWMutex
	keys map[string]order
}

type order struct {
	Withdrawal
	seq uint64 // in KEFU_STATE
}

// OpenWithdrawals begins to follow them.
func OpenWithdrawals(
	ctx context.Context, conn *broker.Conn, log *slog.Logger,
) (*Withdrawals, error) {
	w := &Withdrawals{conn: conn, keys: make(map[string]order)}
	var err error
	if w.reader, err = conn.WatchState(ctx, cancelPrefix, broker.FollowOptions{Log: log},
		w.learn); err != nil {
		return nil, fmt.Errorf("withdrawals: %w", err)
	}
	return w, nil
}

// Close ends following.
func (w *Withdrawals) Close() { w.reader.Stop() }

func (w *Withdrawals) learn(e broker.StateEntry) {
	name := strings.TrimPrefix(e.Key, cancelPrefix)
	w.mu.Lock()
	defer w.mu.Unlock()
	v := order{seq: e.Seq}
	if e.Deleted || json.Unmarshal(e.Value, &v.Withdrawal) != nil {
		delete(w.keys, name)
		return
	}
	w.keys[name] = v
}

// Has says whether a generation of an intent, published then, was withdrawn.
func (w *Withdrawals) Has(appID string, key Key, generation int, published time.Time) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if len(w.keys) == 0 { // the usual case costs no string
		return false
	}
	v, ok := w.keys[cancelName(appID, key)]
	return ok && v.Covers(generation, published)
}

// Met forgets a withdrawal that was carried out.
func (w *Withdrawals) Met(appID string, key Key) {
	name := cancelName(appID, key)
	w.mu.RLock()
	v, ok := w.keys[name]
	w.mu.RUnlock()
	if !ok {
		return // forgotten already
	}
	// A later life of the id may have been withdrawn meanwhile: that order stays.
	w.conn.Outbox.Publish(broker.OnlyAfter(broker.DeleteState(cancelPrefix+name), v.seq), nil)
}

// Withdraw orders that a generation of an intent shall not be sent. The order
// is kept for keep, the time an intent can be waiting.
func Withdraw(
	ctx context.Context, conn *broker.Conn, appID, id string, v Withdrawal, keep time.Duration,
) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return conn.SaveState(ctx,
		broker.PutState(cancelPrefix+cancelName(appID, KeyOf(appID, id)), body, keep))
}

func cancelName(appID string, key Key) string {
	return appID + "." + strconv.FormatUint(uint64(key), 16)
}

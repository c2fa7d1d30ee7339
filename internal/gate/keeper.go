package gate

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Keeper holds the gates of a worker's apps in step with KEFU_STATE.
type Keeper struct {
	conn   *broker.Conn
	log    *slog.Logger
	reader *broker.Follower

	mu    sync.Mutex
	gates map[string]*Gate
	holds map[string]stored // as KEFU_STATE has them
}

type stored struct{ hold, operator *Hold }

// Open begins to follow the holds of all apps.
func Open(ctx context.Context, conn *broker.Conn, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{conn: conn, log: log, gates: make(map[string]*Gate), holds: make(map[string]stored)}
	var err error
	if k.reader, err = conn.WatchState(ctx, "app.", broker.FollowOptions{Log: log}, k.learn); err != nil {
		return nil, fmt.Errorf("holds: %w", err)
	}
	return k, nil
}

// Close ends following.
func (k *Keeper) Close() { k.reader.Stop() }

// App makes the gate of an app; once for each.
func (k *Keeper) App(appID string, r Rate) *Gate {
	g := newGate(appID, r, k.share)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gates[appID] = g
	s := k.holds[appID]
	g.hold, g.operator = s.hold, s.operator
	return g
}

func (k *Keeper) learn(e broker.StateEntry) {
	appID, operator, ok := ParseAppKey(e.Key)
	if !ok {
		return
	}
	var h *Hold
	if !e.Deleted {
		parsed, err := ParseHold(e.Value)
		if err != nil {
			k.log.Error("holds", "app", appID, "error", err)
			return
		}
		h = &parsed
	}
	k.mu.Lock()
	s := k.holds[appID]
	if operator {
		s.operator = h
	} else {
		s.hold = h
	}
	k.holds[appID] = s
	g := k.gates[appID]
	k.mu.Unlock()
	if g != nil {
		g.learn(operator, h, time.Now())
	}
}

// share tells the pool. It need not be waited for: this worker acts on it
// already, and the outbox repeats it until the broker has it.
func (k *Keeper) share(appID string, operator bool, h *Hold) {
	kind := Quota
	if operator {
		kind = Operator
	}
	key := AppKey(appID, kind)
	if h == nil {
		k.conn.Outbox.Publish(broker.DeleteState(key), nil)
		return
	}
	body, err := json.Marshal(h)
	if err != nil {
		k.log.Error("holds", "app", appID, "error", err)
		return
	}
	k.conn.Outbox.Publish(broker.PutState(key, body, 0), nil)
}

// Holds reads what KEFU_STATE says of each app, for people.
func Holds(ctx context.Context, conn *broker.Conn) (map[string][]Hold, error) {
	entries, err := conn.ReadState(ctx, "app.")
	if err != nil {
		return nil, err
	}
	out := make(map[string][]Hold)
	for _, e := range entries {
		appID, _, ok := ParseAppKey(e.Key)
		if !ok {
			continue
		}
		h, err := ParseHold(e.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Key, err)
		}
		out[appID] = append(out[appID], h)
	}
	return out, nil
}

// Pause holds an app by an operator's word.
func Pause(ctx context.Context, conn *broker.Conn, appID, reason, by string) error {
	body, err := json.Marshal(Hold{Kind: Operator, Reason: reason, Since: time.Now().UTC(), By: by})
	if err != nil {
		return err
	}
	return conn.SaveState(ctx, broker.PutState(AppKey(appID, Operator), body, 0))
}

// Resume lifts every hold of an app. Workers then let one intent through
// before the rest if the hold was not an operator's.
func Resume(ctx context.Context, conn *broker.Conn, appID string) error {
	for _, kind := range []Kind{Operator, Quota} {
		if err := conn.SaveState(ctx, broker.DeleteState(AppKey(appID, kind))); err != nil {
			return err
		}
	}
	return nil
}

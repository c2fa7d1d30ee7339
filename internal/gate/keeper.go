package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Keeper holds the gates of a worker's apps in step with KEFU_STATE, and has them share their
// budgets with the pool.
type Keeper struct {
	conn   *broker.Conn
	log    *slog.Logger
	reader *broker.Follower
	pool   *common

	mu    sync.Mutex
	gates map[string]*Gate
	holds map[string]stored // as KEFU_STATE has them, this worker's own writes included
	own   map[string]*own   // what this worker wrote, by key
}

// own is this worker's side of one key.
type own struct {
	seq    uint64 // of the newest write; what stands before it in the log is out of date
	flying bool   // a write has no answer yet
	next   *Gate  // and this one has changed since: the app's gate, or the one that took its place
	missed *broker.StateEntry
}

type stored struct {
	hold, operator *Hold
	selective      *Selective
}

// Open begins to follow the holds of all apps. by is the worker's name, for those who are told of
// holds.
func Open(ctx context.Context, conn *broker.Conn, by string, log *slog.Logger) (*Keeper, error) {
	return open(ctx, conn, by, log, time.Now)
}

func open(
	ctx context.Context, conn *broker.Conn, by string, log *slog.Logger, now func() time.Time,
) (*Keeper, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	pool := newCommon(run, stop, conn, by, now)
	k := &Keeper{
		conn: conn, log: log, pool: pool, gates: make(map[string]*Gate),
		holds: make(map[string]stored), own: make(map[string]*own),
	}
	var err error
	k.reader, err = conn.WatchState(ctx, "app.",
		broker.FollowOptions{Log: log, Anew: k.anew}, k.apply)
	if err != nil {
		stop()
		return nil, fmt.Errorf("holds: %w", err)
	}
	return k, nil
}

// Close ends following, and returns what was taken of a day's budget and not used.
func (k *Keeper) Close() {
	k.reader.Stop()
	k.pool.close()
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	k.mu.Lock()
	gates := slices.Collect(maps.Values(k.gates))
	k.mu.Unlock()
	var all sync.WaitGroup
	for _, g := range gates {
		all.Go(func() { g.daily.giveBack(ctx) })
	}
	all.Wait()
}

// closePatience bounds what Close waits for. A block that cannot be returned is lost to the day, no
// more.
const closePatience = 2 * time.Second

// App makes the gate of an app; once for each.
func (k *Keeper) App(appID string, r Rate) *Gate {
	g := newGate(appID, r, k.share, k.pool, k.log)
	g.shareSelective = func(g *Gate) { k.tell(g, partSelective) }
	k.mu.Lock()
	k.gates[appID] = g
	s := k.holds[appID]
	k.mu.Unlock()
	if s.selective != nil {
		g.learnSelective(*s.selective)
	}
	g.mu.Lock()
	g.hold, g.operator = s.hold, s.operator
	if g.hold != nil && len(g.hold.Refusals) > 0 {
		g.anyRefusals.Store(true)
		g.refusals.merge(g.hold.Refusals, false)
	}
	lifted := g.liftIfRaised()
	g.mu.Unlock()
	if lifted {
		k.share(g, false)
	}
	return g
}

// anew forgets the sequences of a bucket that is gone.
func (k *Keeper) anew() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, mine := range k.own {
		mine.seq = 0
	}
}

func (k *Keeper) apply(e broker.StateEntry) {
	appID, p, ok := parseKey(e.Key)
	if !ok {
		return
	}
	h, s, err := parseState(p, e)
	if err != nil {
		k.log.Error("holds", "app", appID, "error", err)
		return
	}
	k.mu.Lock()
	if mine := k.own[e.Key]; mine != nil {
		if mine.flying { // before or after ours? its answer will tell
			mine.missed = &e
			k.mu.Unlock()
			return
		}
		if e.Seq > 0 && e.Seq <= mine.seq {
			k.mu.Unlock()
			return
		}
	}
	k.keep(appID, p, h, s)
	g := k.gates[appID]
	k.mu.Unlock()
	teach(g, p, h, s)
}

// teach has a gate, if there is one, learn what KEFU_STATE says.
func teach(g *Gate, p part, h *Hold, s *Selective) {
	switch {
	case g == nil:
	case p != partSelective:
		g.apply(p == partOperator, h, time.Now())
	case s != nil:
		g.learnSelective(*s)
	}
}

// parseState reads what a key says; neither a hold nor a Selective for one that was deleted.
func parseState(p part, e broker.StateEntry) (*Hold, *Selective, error) {
	if e.Deleted {
		return nil, nil, nil
	}
	if p == partSelective {
		var s Selective
		if err := json.Unmarshal(e.Value, &s); err != nil {
			return nil, nil, fmt.Errorf("unreadable word on selective answers: %w", err)
		}
		return nil, &s, nil
	}
	h, err := ParseHold(e.Value)
	if err != nil {
		return nil, nil, err
	}
	return &h, nil, nil
}

// keep notes what KEFU_STATE says of an app. k.mu is held.
func (k *Keeper) keep(appID string, p part, h *Hold, sel *Selective) {
	s := k.holds[appID]
	switch p {
	case partOperator:
		s.operator = h
	case partSelective:
		s.selective = sel
	default:
		s.hold = h
	}
	k.holds[appID] = s
}

// share tells the pool what a gate says now of its hold.
func (k *Keeper) share(g *Gate, operator bool) {
	if operator {
		k.tell(g, partOperator)
		return
	}
	k.tell(g, partHold)
}

// tell tells the pool what a gate says now. It need not be waited for: this worker acts on it
// already, and the outbox repeats it until the broker has it.
//
// One write of a key at a time, always of the newest state: two that are repeated could arrive in
// the wrong order, and a hold that was lifted would stand again.
func (k *Keeper) tell(g *Gate, p part) {
	key := p.key(g.appID)
	k.mu.Lock()
	mine := k.own[key]
	if mine == nil {
		mine = &own{}
		k.own[key] = mine
	}
	busy := mine.flying
	if mine.flying = true; busy {
		mine.next = g
	}
	k.mu.Unlock()
	if !busy {
		k.write(g, p)
	}
}

// write publishes what a gate says, and then what was to be told meanwhile.
func (k *Keeper) write(g *Gate, p part) {
	key := p.key(g.appID)
	msg := broker.DeleteState(key)
	h, sel := g.state(p)
	var value any = h
	if sel != nil {
		value = sel
	}
	if h != nil || sel != nil {
		body, err := json.Marshal(value)
		if err != nil { // a time beyond the year 9999: the others will find out by themselves
			k.log.Error("holds", "app", g.appID, "error", err)
		}
		msg = broker.PutState(key, body, 0)
	}
	k.conn.Outbox.Publish(msg, func(a broker.Ack, err error) {
		if err != nil && !errors.Is(err, broker.ErrClosed) {
			k.log.Error("a hold could not be shared with the pool", "app", g.appID, "error", err)
		}
		k.mu.Lock()
		if err == nil {
			k.keep(g.appID, p, h, sel) // what comes back of it is not looked at
		}
		mine := k.own[key]
		mine.seq = max(mine.seq, a.Seq)
		next := mine.next
		mine.flying, mine.next = next != nil, nil
		var missed *broker.StateEntry
		if next == nil {
			missed, mine.missed = mine.missed, nil
		}
		now := k.gates[g.appID]
		k.mu.Unlock()
		switch {
		case next != nil:
			k.write(next, p)
		case err == nil && now != g: // the app was taken up anew before this was known
			teach(now, p, h, sel)
		}
		if missed != nil {
			k.apply(*missed)
		}
	})
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

// Probe has the workers try a held app at once: a single intent, as at the time that was set for
// it. It returns the hold as it stands then; its Kind is empty when the app is not held, and an
// operator's hold is left as it is.
func Probe(ctx context.Context, conn *broker.Conn, appID string) (Hold, error) {
	all, err := Holds(ctx, conn)
	if err != nil {
		return Hold{}, err
	}
	var held Hold
	for _, h := range all[appID] {
		if h.Kind == Operator {
			return h, nil
		}
		held = h
	}
	if held.Kind == "" {
		return Hold{}, nil
	}
	held.atOnce(held.Since) // past, whatever this machine's clock says
	held.Asked = time.Now().UTC()
	body, err := json.Marshal(held)
	if err != nil {
		return Hold{}, err
	}
	return held, conn.SaveState(ctx, broker.PutState(AppKey(appID, held.Kind), body, 0))
}

// Resume lifts every hold of an app. Workers then let one intent through before the rest if the
// hold was not an operator's.
func Resume(ctx context.Context, conn *broker.Conn, appID string) error {
	for _, kind := range []Kind{Operator, Quota} {
		if err := conn.SaveState(ctx, broker.DeleteState(AppKey(appID, kind))); err != nil {
			return err
		}
	}
	return nil
}

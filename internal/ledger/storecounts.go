package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// What campaigns count is kept in KEFU_STATE, a key for each, so that who asks need
// not read the log, and gets an answer when it has forgotten them.
const (
	countPrefix = "count."

	// countsKeep is how long a key lives after its last change.
	countsKeep = 400 * 24 * time.Hour

	// countsSlack is for how much longer than the log goes back a campaign is kept in
	// memory: it is looked for by the time at which its key was stored.
	countsSlack = time.Hour
)

// keyed is what stands under a campaign's key.
type keyed struct {
	Counts
	Log position `json:"log"` // what it was read from, and how far

	rev uint64
}

func countKey(c Campaign) string { return countPrefix + fmt.Sprintf("%016x", uint64(c)) }

func readKeyed(e broker.StateEntry) (k keyed, err error) {
	k.rev = e.Seq
	if e.Deleted {
		return k, nil
	}
	if err := json.Unmarshal(e.Value, &k); err != nil {
		return k, fmt.Errorf("%s: %w", e.Key, err)
	}
	return k, nil
}

// lookUp reads a campaign's key; zero if there is none.
func lookUp(ctx context.Context, conn *broker.Conn, c Campaign) (keyed, error) {
	e, err := conn.LastState(ctx, countKey(c))
	if errors.Is(err, broker.ErrNoMessage) {
		return keyed{}, nil
	}
	if err != nil {
		return keyed{}, err
	}
	return readKeyed(e)
}

// ReadCounts reads how a campaign's intents ended, which may be a moment old.
func ReadCounts(ctx context.Context, conn *broker.Conn, c Campaign) (Counts, error) {
	k, err := lookUp(ctx, conn, c)
	if err != nil {
		return Counts{}, fmt.Errorf("counts of a campaign: %w", err)
	}
	if k.Dead == nil {
		k.Dead = make(map[schema.Reason]int)
	}
	return k.Counts, nil
}

// remembered reads the keys of all campaigns that may stand in the log.
func (l *Ledger) remembered(ctx context.Context) error {
	var since time.Time
	if l.index.keep > 0 {
		since = time.Now().Add(-l.index.keep - countsSlack)
	}
	entries, err := l.conn.ReadStateSince(ctx, countPrefix, since)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range entries {
		number, err := strconv.ParseUint(e.Key[len(countPrefix):], 16, 64)
		if err != nil {
			continue
		}
		k, err := readKeyed(e)
		if err != nil {
			return err
		}
		n := l.counters.campaigns[Campaign(number)]
		if n == nil {
			n = &counter{}
			l.counters.campaigns[Campaign(number)] = n
		}
		n.adopt(k)
	}
	return nil
}

// StoreCounts reads the keys of campaigns that are new to this worker and, in the
// worker that writes for the pool, stores what has changed. It is to be called
// again and again by one goroutine; nothing that sends waits for it.
func (l *Ledger) StoreCounts(ctx context.Context, writer bool) error {
	if writer && !l.writer {
		if err := l.remembered(ctx); err != nil { // what another has written before
			return err
		}
	}
	l.writer = writer
	for _, c := range l.campaigns(func(n *counter) bool { return !n.read }) {
		k, err := lookUp(ctx, l.conn, c)
		if err != nil {
			return err
		}
		l.adopt(c, k)
	}
	if !writer {
		l.forget(false)
		return nil
	}
	for _, c := range l.campaigns((*counter).due) {
		if err := l.store(ctx, c); err != nil {
			return err
		}
	}
	l.forget(true)
	return nil
}

// store writes one campaign's key, unless another worker has written what is newer.
func (l *Ledger) store(ctx context.Context, c Campaign) error {
	l.mu.RLock()
	n := l.counters.campaigns[c]
	k := keyed{Counts: n.tallies.counts(), Log: l.counters.now, rev: n.rev}
	stale := !l.counters.complete() || n.stored.Made.After(k.Log.Made)
	l.mu.RUnlock()
	if stale {
		return nil // the log is read anew
	}
	body, err := json.Marshal(k)
	if err != nil {
		return err
	}
	rev, err := l.conn.Swap(ctx, broker.PutState(countKey(c), body, countsKeep), k.rev)
	// By another worker, or by our own write before, whose answer was lost.
	if errors.Is(err, broker.ErrOvertaken) {
		k, err = lookUp(ctx, l.conn, c)
	} else {
		k.rev = rev
	}
	if err != nil {
		return err
	}
	l.adopt(c, k)
	return nil
}

func (l *Ledger) adopt(c Campaign, k keyed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters.campaigns[c].adopt(k)
}

// campaigns are those for which f says yes.
func (l *Ledger) campaigns(f func(*counter) bool) (out []Campaign) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for c, n := range l.counters.campaigns {
		if f(n) {
			out = append(out, c)
		}
	}
	return out
}

// forget drops the campaigns that stand in the log no more. One that comes again is
// read again.
func (l *Ledger) forget(writer bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.index.keep <= 0 {
		return
	}
	since := l.counters.now.Time.Add(-l.index.keep - countsSlack)
	for c, n := range l.counters.campaigns {
		if n.idle(since) && (!writer || !n.due()) {
			delete(l.counters.campaigns, c)
		}
	}
}

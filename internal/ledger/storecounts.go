package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// What is counted is kept in KEFU_STATE, a key for each campaign and each job, so
// that who asks need not read the log, and gets an answer when it has forgotten them.

// ownerKinds is what differs between them.
var ownerKinds = [...]struct {
	prefix string        // of the keys
	digits int           // of the number behind it, in hex
	keep   time.Duration // for which a key lives after its last change

	// inMemory is for how long a worker keeps them there, if that is longer than the
	// log goes back.
	inMemory time.Duration
}{
	ofCampaign: {prefix: "count.", digits: 16, keep: 400 * 24 * time.Hour},
	// Whoever carries a job out that was paused meanwhile asks the memory for all of it.
	ofJob: {prefix: "jobcount.", digits: 8, keep: jobCountsKeep, inMemory: jobCountsKeep},
}

const (
	jobCountsKeep = 31 * 24 * time.Hour

	// countsSlack is for how much longer owners are kept in memory: they are looked for
	// by the time at which their key was stored.
	countsSlack = time.Hour
)

func (o owner) key() string {
	kind := &ownerKinds[o.kind]
	return fmt.Sprintf("%s%0*x", kind.prefix, kind.digits, o.number)
}

// keyed is what stands under an owner's key.
type keyed struct {
	Counts
	Pace
	Log position `json:"log"` // what it was read from, and how far

	rev uint64
}

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

// lookUp reads an owner's key; zero if there is none.
func lookUp(ctx context.Context, conn *broker.Conn, o owner) (keyed, error) {
	e, err := conn.LastState(ctx, o.key())
	if errors.Is(err, broker.ErrNoMessage) {
		return keyed{}, nil
	}
	if err != nil {
		return keyed{}, err
	}
	return readKeyed(e)
}

// keysOf reads the keys of a kind of owners that were written since a time.
func keysOf(
	ctx context.Context, conn *broker.Conn, kind ownerKind, since time.Time,
) (map[owner]keyed, error) {
	prefix := ownerKinds[kind].prefix
	entries, err := conn.ReadStateSince(ctx, prefix, since)
	if err != nil {
		return nil, err
	}
	out := make(map[owner]keyed, len(entries))
	for _, e := range entries {
		number, err := strconv.ParseUint(strings.TrimPrefix(e.Key, prefix), 16, 64)
		if err != nil {
			continue
		}
		if out[owner{kind, number}], err = readKeyed(e); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// ReadCounts reads how a campaign's intents ended, and how fast, which may be a moment
// old.
func ReadCounts(ctx context.Context, conn *broker.Conn, c Campaign) (Progress, error) {
	k, err := lookUp(ctx, conn, c.owner())
	if err != nil {
		return Progress{}, fmt.Errorf("counts of a campaign: %w", err)
	}
	if k.Dead == nil {
		k.Dead = make(map[schema.Reason]int)
	}
	return Progress{Counts: k.Counts, Pace: k.Pace}, nil
}

// fewJobs is how many keys are read one by one: reading all takes about as long.
const fewJobs = 16

// ReadJobCounts reads how the generations that jobs published ended, which may be a
// moment old. A job of which nothing is counted, or was for 31 days, is there with
// zeros.
func ReadJobCounts(
	ctx context.Context, conn *broker.Conn, jobs ...Job,
) (out map[Job]JobCounts, err error) {
	var keys map[owner]keyed
	if len(jobs) > fewJobs {
		keys, err = keysOf(ctx, conn, ofJob, time.Time{})
	}
	out = make(map[Job]JobCounts, len(jobs))
	for _, j := range jobs {
		k := keys[j.owner()]
		if err == nil && keys == nil {
			k, err = lookUp(ctx, conn, j.owner())
		}
		if err != nil {
			return nil, fmt.Errorf("counts of jobs: %w", err)
		}
		t := k.tallies()
		out[j] = t.jobCounts()
	}
	return out, nil
}

// JobCounts are how the generations that a job published ended, as far as the log was
// read. It asks nobody.
func (l *Ledger) JobCounts(j Job) JobCounts {
	l.mu.RLock()
	defer l.mu.RUnlock()
	n := l.counters.of[j.owner()]
	if n == nil {
		return JobCounts{}
	}
	t := n.total()
	return t.jobCounts()
}

// keepsSince is since when owners of a kind are kept in memory that had no end since;
// zero if all are. now is the time of the log.
func (l *Ledger) keepsSince(kind ownerKind, now time.Time) time.Time {
	if l.index.keep <= 0 {
		return time.Time{}
	}
	return now.Add(-max(l.index.keep, ownerKinds[kind].inMemory) - countsSlack)
}

// remembered reads the keys of all owners that may stand in the log.
func (l *Ledger) remembered(ctx context.Context) error {
	for kind := range ownerKinds {
		kind := ownerKind(kind)
		keys, err := keysOf(ctx, l.conn, kind, l.keepsSince(kind, time.Now()))
		if err != nil {
			return err
		}
		l.mu.Lock()
		for o, k := range keys {
			l.counters.counter(o).adopt(k)
		}
		l.mu.Unlock()
	}
	return nil
}

// StoreCounts reads the keys of owners that are new to this worker and, in the
// worker that writes for the pool, stores what has changed. It is to be called
// again and again by one goroutine; nothing that sends waits for it.
func (l *Ledger) StoreCounts(ctx context.Context, writer bool) error {
	if writer && !l.writer {
		if err := l.remembered(ctx); err != nil { // what another has written before
			return err
		}
	}
	l.writer = writer
	for _, o := range l.owners(func(n *counter) bool { return !n.read }) {
		k, err := lookUp(ctx, l.conn, o)
		if err != nil {
			return err
		}
		l.adopt(o, k)
	}
	if !writer {
		l.forget(false)
		return nil
	}
	for _, o := range l.owners((*counter).due) {
		if err := l.store(ctx, o); err != nil {
			return err
		}
	}
	l.forget(true)
	return nil
}

// store writes one owner's key, unless another worker has written what is newer.
func (l *Ledger) store(ctx context.Context, o owner) error {
	l.mu.RLock()
	n := l.counters.of[o]
	k := keyed{
		Counts: n.tallies.counts(), Pace: n.recent.pace(), Log: l.counters.now, rev: n.rev,
	}
	stale := !l.counters.complete() || n.stored.Made.After(k.Log.Made)
	l.mu.RUnlock()
	if stale {
		return nil // the log is read anew
	}
	body, err := json.Marshal(k)
	if err != nil {
		return err
	}
	rev, err := l.conn.Swap(ctx, broker.PutState(o.key(), body, ownerKinds[o.kind].keep), k.rev)
	// By another worker, or by our own write before, whose answer was lost.
	if errors.Is(err, broker.ErrOvertaken) {
		k, err = lookUp(ctx, l.conn, o)
	} else {
		k.rev = rev
	}
	if err != nil {
		return err
	}
	l.adopt(o, k)
	return nil
}

func (l *Ledger) adopt(o owner, k keyed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counters.of[o].adopt(k)
}

// owners are those for which f says yes.
func (l *Ledger) owners(f func(*counter) bool) (out []owner) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for o, n := range l.counters.of {
		if f(n) {
			out = append(out, o)
		}
	}
	return out
}

// forget drops the owners that stand in the log no more. One that comes again is read
// again.
func (l *Ledger) forget(writer bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for o, n := range l.counters.of {
		if n.idle(l.keepsSince(o.kind, l.counters.now.Time)) && (!writer || !n.due()) {
			delete(l.counters.of, o)
		}
	}
}

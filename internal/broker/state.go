package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/kefuhq/kefu/internal/wire"
)

// bucket is a key-value bucket in the layout of the client libraries, so that any
// NATS tool can look at it.
type bucket struct {
	stream string
	prefix string // of the subjects of its keys
}

// state is KEFU_STATE, what the pool shares. Its keys:
//
//	app.<appid>.<hold|operator>   why an app is held (package gate)
//	pool.worker.<worker>          heartbeat, with a life time (package pool)
//	pool.claim.<appid>.<shard>    who reads a live shard (package pool)
//	pool.log_key                  the key of the pool's pseudonyms (Pseudonyms)
//	day.<appid>                   what an app has sent today, with a life time (package gate)
//	opened.<appid>                the first worker that ever read the app's queue (package worker)
//	cancel.<appid>.<key>          a withdrawn intent, with a life time (package withdrawal)
//	cancel-campaign.<appid>.<campaign>
//	                              a cancelled campaign, with a life time (package withdrawal)
//	forget.<appid>.<person>       a person to be forgotten, by a hash, with a life time (package
//	                              withdrawal)
//	letters.indexed               from which letter on all are indexed (package deadletter)
//	acknowledged.<group>          who looks after a group of dead letters, with a life time (package
//	                              deadletter)
//	campaign.<appid>.<campaign>   when a worker first met a campaign, with a life time (package
//	                              ledger)
//	count.<campaign>              how a campaign's intents ended, by its hash, with a life time
//	                              (package ledger)
//	jobcount.<job>                how what a job published in an app ended, by its hash, with a life
//	                              time (package ledger)
//	counts.since                  since when every worker writes that (package ledger)
//	pulse.<worker>                the last hour as a worker saw it, with a life time (package pulse)
//	token.<appid>.forced          when a token refresh was forced (package gate)
var state = bucket{wire.StreamState, wire.StateKeys}

// jobs is KEFU_JOB, what campaigns and replays write down to go on from. Its keys:
//
//	campaign.<appid>.<campaign>   what was ordered under its name (package campaign)
//	job.<job>.order               what is to be done (package job)
//	job.<job>.part.<appid>        how far it has come in an app (package job)
//	open.<appid>                  the steps of jobs that are under way (package job)
//	edited.<appid>.<id>.<letter>  a letter as it was before it was sent with changes (package replay)
//	replay.<run>                  what earlier versions had in hand (package replay)
var jobs = bucket{wire.StreamJobRecords, wire.JobKeys}

// StateEntry is one change of a key.
type StateEntry struct {
	Key     string
	Value   []byte // nil when the key is gone
	Deleted bool
	Expired bool // gone because its life time was over, or nobody knows why
	Unseen  bool // WatchState: follows an interruption, changes before it may not have been seen
	Time    time.Time
	Seq     uint64
}

// WatchState calls f for every key below prefix (as "app.") as it stands and
// for each change of it, and returns when f has seen all that stands now. What
// changed while the broker could not be reached is made up for.
func (c *Conn) WatchState(
	ctx context.Context, prefix string, o FollowOptions, f func(StateEntry),
) (*Follower, error) {
	return c.watchKeys(ctx, state, prefix, o, f)
}

// WatchJobs is WatchState of KEFU_JOB.
func (c *Conn) WatchJobs(
	ctx context.Context, prefix string, o FollowOptions, f func(StateEntry),
) (*Follower, error) {
	return c.watchKeys(ctx, jobs, prefix, o, f)
}

func (c *Conn) watchKeys(
	ctx context.Context, b bucket, prefix string, o FollowOptions, f func(StateEntry),
) (*Follower, error) {
	// The mark of a deletion is stored for minutes only. A key whose mark came
	// and went unseen is missing from what stands after the interruption.
	known := make(map[string]time.Time) // keys that have a value, and when it was stored
	var stands map[string]bool          // nil but while what stands is read
	first := true
	o.Subject, o.Latest = b.prefix+prefix+">", true
	o.begin = func() { stands = make(map[string]bool) }
	o.end = func() {
		for key := range known {
			if !stands[key] {
				delete(known, key)
				f(StateEntry{Key: key, Deleted: true, Expired: true, Unseen: true,
					Time: time.Now()})
			}
		}
		stands, first = nil, false
	}
	return c.Follow(ctx, b.stream, o, func(s Stored) {
		e := b.entry(s)
		if stands != nil {
			stands[e.Key] = true
			e.Unseen = !first
		}
		switch at, had := known[e.Key]; {
		case e.Deleted:
			delete(known, e.Key)
			if had || !first { // set and deleted, it may be, while nobody could see it
				f(e)
			}
		case !had || !at.Equal(e.Time): // not one that was read before an interruption
			known[e.Key] = e.Time
			f(e)
		}
	})
}

// ReadState reads every key below prefix as it stands.
func (c *Conn) ReadState(ctx context.Context, prefix string) ([]StateEntry, error) {
	return c.readKeys(ctx, state, prefix, time.Time{})
}

// ReadStateSince is ReadState of the keys that were written since a time.
func (c *Conn) ReadStateSince(
	ctx context.Context, prefix string, since time.Time,
) ([]StateEntry, error) {
	return c.readKeys(ctx, state, prefix, since)
}

// ReadJobs is ReadState of KEFU_JOB.
func (c *Conn) ReadJobs(ctx context.Context, prefix string) ([]StateEntry, error) {
	return c.readKeys(ctx, jobs, prefix, time.Time{})
}

func (c *Conn) readKeys(
	ctx context.Context, b bucket, prefix string, since time.Time,
) ([]StateEntry, error) {
	var out []StateEntry
	o := ScanOptions{Subject: b.prefix + prefix + ">", Since: since}
	err := c.Scan(ctx, b.stream, o, func(s Stored) error {
		if e := b.entry(s); !e.Deleted {
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

// LastState reads one key. ErrNoMessage says that there is nothing under it, not
// even the mark of a deletion. In a cluster the answer may be a moment old.
func (c *Conn) LastState(ctx context.Context, key string) (StateEntry, error) {
	return c.lastKey(ctx, state, key)
}

// LastJob is LastState of KEFU_JOB.
func (c *Conn) LastJob(ctx context.Context, key string) (StateEntry, error) {
	return c.lastKey(ctx, jobs, key)
}

func (c *Conn) lastKey(ctx context.Context, b bucket, key string) (StateEntry, error) {
	s, err := c.Last(ctx, b.stream, b.prefix+key)
	if err != nil {
		return StateEntry{}, err
	}
	return b.entry(s), nil
}

func (b bucket) entry(s Stored) StateEntry {
	e := StateEntry{Key: strings.TrimPrefix(s.Subject, b.prefix), Value: s.Data,
		Time: s.Time, Seq: s.Seq}
	// A deletion is the library's KV-Operation, the end of a life time the server's marker.
	marker := s.Header.Get("Nats-Marker-Reason")
	if s.Header.Get("KV-Operation") != "" || marker != "" {
		e.Value, e.Deleted, e.Expired = nil, true, marker == "MaxAge"
	}
	return e
}

// tombstone is for how long the mark of a deletion is kept: for those who
// watch. Without an end each worker and each withdrawal there ever was would
// leave one for good.
const tombstone = 10 * time.Minute

// PutState is the message that sets a key. A ttl above zero has the broker
// remove it by itself; it is rounded up to whole seconds, the broker's measure.
func PutState(key string, value []byte, ttl time.Duration) *nats.Msg {
	return state.put(key, value, ttl)
}

// DeleteState is the message that removes a key.
func DeleteState(key string) *nats.Msg { return state.remove(key) }

// PutJob is PutState of KEFU_JOB.
func PutJob(key string, value []byte, ttl time.Duration) *nats.Msg {
	return jobs.put(key, value, ttl)
}

// DeleteJob is DeleteState of KEFU_JOB.
func DeleteJob(key string) *nats.Msg { return jobs.remove(key) }

func (b bucket) put(key string, value []byte, ttl time.Duration) *nats.Msg {
	m := b.message(key)
	m.Data = value
	if ttl > 0 {
		m.Header.Set("Nats-TTL", (ttl + time.Second - 1).Truncate(time.Second).String())
	}
	return m
}

func (b bucket) remove(key string) *nats.Msg {
	m := b.message(key)
	m.Header.Set("KV-Operation", "DEL")
	m.Header.Set("Nats-TTL", tombstone.String())
	return m
}

// message has an id of its own: the outbox may have to repeat it.
func (b bucket) message(key string) *nats.Msg {
	m := nats.NewMsg(b.prefix + key)
	m.Header.Set(jetstream.MsgIDHeader, nuid.Next())
	return m
}

// SaveState publishes a message of PutState or DeleteState and waits until it is stored.
func (c *Conn) SaveState(ctx context.Context, m *nats.Msg) error {
	if _, err := c.Outbox.PublishWait(ctx, m); err != nil {
		return fmt.Errorf("write %s: %w", strings.TrimPrefix(m.Subject, state.prefix), err)
	}
	return nil
}

// StateOnce sets a key that has no value yet, and returns the value it has
// then: value, or what somebody else set before. Who finds one needs no permission
// to write it.
func (c *Conn) StateOnce(ctx context.Context, key string, value []byte) ([]byte, error) {
	// Why it could not be read does not matter: the outbox waits out what passes.
	if e, err := c.LastState(ctx, key); err == nil && !e.Deleted {
		return e.Value, nil
	}
	_, err := c.SaveAfter(ctx, PutState(key, value, 0), 0)
	if err == nil {
		return value, nil
	}
	if !errors.Is(err, ErrOvertaken) {
		return nil, fmt.Errorf("write %s: %w", key, err)
	}
	e, err := c.LastState(ctx, key)
	if err == nil && e.Deleted {
		err = ErrNoMessage
	}
	return e.Value, err
}

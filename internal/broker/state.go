package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// KEFU_STATE is a key-value bucket in the layout of the client libraries, so
// that any NATS tool can look at it. Its keys:
//
//	app.<appid>.<hold|operator>   why an app is held (package gate)
//	worker.<worker>               heartbeat, with a life time (package pool)
//	cancel.<appid>.<key>          a withdrawn intent, with a life time (package ledger)

const statePrefix = "$KV." + schema.BucketState + "."

// StateEntry is one change of a key.
type StateEntry struct {
	Key     string
	Value   []byte // nil when the key is gone
	Deleted bool
	Time    time.Time
	Seq     uint64
}

// WatchState calls f for every key below prefix (as "app.") as it stands and
// for each change of it, and returns when f has seen all that stands now.
func (c *Conn) WatchState(ctx context.Context, prefix string, o FollowOptions, f func(StateEntry)) (*Follower, error) {
	o.Subject, o.Latest = statePrefix+prefix+">", true
	return c.Follow(ctx, "KV_"+schema.BucketState, o, func(m jetstream.Msg, d Delivery) {
		f(stateEntry(m.Subject(), m.Headers(), m.Data(), d.Stored, d.Seq))
	})
}

// ReadState reads every key below prefix as it stands.
func (c *Conn) ReadState(ctx context.Context, prefix string) ([]StateEntry, error) {
	var out []StateEntry
	err := c.Scan(ctx, "KV_"+schema.BucketState, ScanOptions{Subject: statePrefix + prefix + ">"}, func(s Stored) error {
		if e := stateEntry(s.Subject, s.Header, s.Data, s.Time, s.Seq); !e.Deleted {
			out = append(out, e)
		}
		return nil
	})
	return out, err
}

func stateEntry(subject string, h nats.Header, data []byte, at time.Time, seq uint64) StateEntry {
	e := StateEntry{Key: strings.TrimPrefix(subject, statePrefix), Value: data, Time: at, Seq: seq}
	// A deletion is the library's KV-Operation, the end of a life time the server's marker.
	if h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != "" {
		e.Value, e.Deleted = nil, true
	}
	return e
}

// PutState is the message that sets a key. A ttl above zero (whole seconds) has the broker remove
// it by itself.
func PutState(key string, value []byte, ttl time.Duration) *nats.Msg {
	m := nats.NewMsg(statePrefix + key)
	m.Data = value
	if ttl > 0 {
		m.Header.Set("Nats-TTL", ttl.Round(time.Second).String())
	}
	return m
}

// DeleteState is the message that removes a key.
func DeleteState(key string) *nats.Msg {
	m := nats.NewMsg(statePrefix + key)
	m.Header.Set("KV-Operation", "DEL")
	return m
}

// SaveState publishes a message of PutState or DeleteState and waits until it is stored.
func (c *Conn) SaveState(ctx context.Context, m *nats.Msg) error {
	if _, err := c.Outbox.PublishWait(ctx, m); err != nil {
		return fmt.Errorf("write %s: %w", strings.TrimPrefix(m.Subject, statePrefix), err)
	}
	return nil
}

// StateOnce sets a key that has no value yet, and returns the value it has
// then: value, or what somebody else set before.
func (c *Conn) StateOnce(ctx context.Context, key string, value []byte) ([]byte, error) {
	m := PutState(key, value, 0)
	m.Header.Set("Nats-Expected-Last-Subject-Sequence", "0")
	_, err := c.Outbox.PublishWait(ctx, m)
	if err == nil {
		return value, nil
	}
	var refused *APIError
	if !errors.As(err, &refused) || refused.Code != CodeWrongLastSeq {
		return nil, fmt.Errorf("write %s: %w", key, err)
	}
	var stored []byte
	err = c.Scan(ctx, "KV_"+schema.BucketState, ScanOptions{Subject: statePrefix + key}, func(s Stored) error {
		stored = s.Data
		return nil
	})
	if err == nil && stored == nil {
		err = ErrNoMessage
	}
	return stored, err
}

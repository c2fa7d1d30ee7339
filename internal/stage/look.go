package stage

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// StoredReceipts reads every receipt there is, by intent.
func (s *Stage) StoredReceipts() map[string][]schema.Receipt {
	s.T.Helper()
	out := make(map[string][]schema.Receipt)
	s.EachMessage(schema.StreamReceipt, func(m broker.Stored) {
		var r schema.Receipt
		s.NoError(json.Unmarshal(m.Data, &r))
		out[r.ID] = append(out[r.ID], r)
	})
	return out
}

// Letters reads every dead letter.
func (s *Stage) Letters() []schema.Letter {
	s.T.Helper()
	var out []schema.Letter
	s.EachMessage(schema.StreamDead, func(m broker.Stored) {
		var l schema.Letter
		s.NoError(json.Unmarshal(m.Data, &l))
		out = append(out, l)
	})
	return out
}

// EachMessage calls f for all that a stream holds now, in its order.
func (s *Stage) EachMessage(stream string, f func(broker.Stored)) {
	s.T.Helper()
	conn, err := broker.Connect(s.T.Context(), broker.Options{URL: s.brokerURL(), Name: "stage"})
	s.NoError(err)
	defer conn.Close()
	var all []broker.Stored
	s.Eventually(func() bool { // a replica that answers may be a little behind
		all = nil
		s.retryWhileElecting(func() error {
			all = nil
			return conn.Scan(s.T.Context(), stream, broker.ScanOptions{},
				func(m broker.Stored) error {
					all = append(all, m)
					return nil
				})
		})
		return uint64(len(all)) >= s.Stored(stream)
	}, Patience, 100*time.Millisecond)
	for _, m := range all {
		f(m)
	}
}

// retryWhileElecting puts a question to the broker, and again while a cluster is electing who
// answers it.
func (s *Stage) retryWhileElecting(question func() error) {
	s.T.Helper()
	var err error
	s.Eventually(func() bool {
		err = question()
		return !errors.Is(err, nats.ErrNoResponders) &&
			!errors.Is(err, jetstream.ErrNoStreamResponse) && !errors.Is(err, broker.ErrNoStream) &&
			!errors.Is(err, context.DeadlineExceeded)
	}, Patience, 50*time.Millisecond)
	s.NoError(err)
}

// Queued returns the number of intents in the queues of all apps.
func (s *Stage) Queued() uint64 {
	s.T.Helper()
	var n uint64
	for _, id := range s.options.Apps {
		n += s.Stored(schema.SendStream(id))
	}
	return n
}

// Stored returns the number of messages in a stream.
func (s *Stage) Stored(stream string) uint64 {
	s.T.Helper()
	var st jetstream.Stream
	s.retryWhileElecting(func() (err error) {
		st, err = s.JS.Stream(s.T.Context(), stream)
		return err
	})
	return st.CachedInfo().State.Msgs
}

// Drained waits until nothing is queued and nothing waits for its time.
func (s *Stage) Drained() {
	s.T.Helper()
	// What is put off, and what has become due, is stored in its new place before it leaves the old
	// one: looked at twice, it cannot be between the two.
	waits := func() bool { return s.Stored(wire.StreamLater) > 0 }
	s.Eventually(func() bool { return !waits() && s.Queued() == 0 && !waits() }, 2*Patience,
		50*time.Millisecond,
		"not everything ended: %s", lazyText(s.Output.Tail))
}

// lazyText is a message that is made when it is printed.
type lazyText func() string

func (d lazyText) String() string { return d() }

// Posts counts the messages that the API read in full, by openid.
func (s *Stage) Posts() map[string]int {
	return s.API.CountBy(sandbox.ByOpenID, sandbox.Filter{Call: sandbox.CallSend})
}

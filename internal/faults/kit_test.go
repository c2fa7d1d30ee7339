//go:build faults

package faults

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// until waits for something that must happen.
func (s *scene) until(what string, holds func() bool) {
	s.T.Helper()
	s.Eventually(holds, stage.Patience, 20*time.Millisecond, "waited in vain until %s:\n%s",
		what, tail{s})
}

// tail is the end of what the processes printed, when it is printed.
type tail struct{ s *scene }

func (t tail) String() string { return t.s.Output.Tail() }

// lazily is a message that is made when it is printed.
type lazily func() string

func (f lazily) String() string { return f() }

// says waits until a process has printed something.
func (s *scene) says(what string) {
	s.T.Helper()
	s.until("it says "+what, func() bool { return strings.Contains(s.Output.String(), what) })
}

// notReady waits until a worker says that it is not ready, and why.
func (s *scene) notReady(p *stage.Process, why string) {
	s.T.Helper()
	s.until("/readyz says "+why, func() bool {
		status, says := p.Readiness()
		return status == http.StatusServiceUnavailable && strings.Contains(says, why)
	})
}

// held waits until the pool knows that an app is held.
func (s *scene) held(app string, kind gate.Kind) (h gate.Hold) {
	s.T.Helper()
	s.until(fmt.Sprintf("%s is held: %s", app, kind), func() bool {
		kv, err := s.JS.KeyValue(s.T.Context(), wire.BucketState)
		if err != nil {
			return false
		}
		e, err := kv.Get(s.T.Context(), gate.AppKey(app, kind))
		if err != nil {
			return false
		}
		h, err = gate.ParseHold(e.Value())
		return err == nil && h.Kind == kind
	})
	return h
}

// kefu runs a command that must succeed.
func (s *scene) kefu(args ...string) string {
	s.T.Helper()
	out, code := s.Kefu(args...)
	s.Zero(code, "kefu %s: %s", strings.Join(args, " "), tail{s})
	return out
}

// pause holds an app by an operator's word, and waits until a worker knows.
func (s *scene) pause(p *stage.Process, app string) {
	s.T.Helper()
	kv, err := s.JS.KeyValue(s.T.Context(), wire.BucketState)
	s.NoError(err)
	word, err := json.Marshal(gate.Hold{Kind: gate.Operator, Reason: "test", Since: time.Now()})
	s.NoError(err)
	_, err = kv.Put(s.T.Context(), gate.AppKey(app, gate.Operator), word)
	s.NoError(err)
	s.until("the worker knows of the pause", func() bool {
		return metric(s, p, fmt.Sprintf(`kefu_app_held{app=%q,kind="operator"}`, app)) == "1"
	})
}

// sendTo is send for one of several apps.
func (s *scene) sendTo(app, id string) {
	s.T.Helper()
	s.accept(id, schema.LiveSubject(app, id).String(), text(id))
}

// sendMany publishes n bulk intents of an app, without waiting for each. header are names and
// values in turn.
func (s *scene) sendMany(app, prefix string, n int, header ...string) {
	s.T.Helper()
	subject := schema.BulkSubject(app, "campaign").String()
	for i := range n {
		id := fmt.Sprint(prefix, i)
		m := &nats.Msg{Subject: subject, Data: []byte(text(id)),
			Header: nats.Header{schema.HeaderMsgID: {id}}}
		for k := 0; k+1 < len(header); k += 2 {
			m.Header.Set(header[k], header[k+1])
		}
		_, err := s.JS.PublishMsgAsync(m)
		s.NoError(err)
		s.published = append(s.published, id)
		if i%1000 == 999 || i == n-1 { // the client takes some thousands without an answer
			select {
			case <-s.JS.PublishAsyncComplete():
			case <-time.After(stage.Patience):
				s.FailNow("not everything was accepted")
			}
		}
	}
}

// sendWithoutID publishes an intent without an id, to a recipient by name.
func (s *scene) sendWithoutID(openID, packet string) {
	s.T.Helper()
	ack := s.Publish(stage.Bulk+"campaign", packet)
	st, err := s.JS.Stream(s.T.Context(), schema.SendStream(stage.App))
	s.NoError(err)
	id := wire.DefaultID(st.CachedInfo().Created, ack.Sequence)
	s.published = append(s.published, id)
	if s.recipients == nil {
		s.recipients = make(map[string]string)
	}
	s.recipients[id] = openID
}

// noAttemptSpent checks that no intent lost an attempt to what happened.
func (s *scene) noAttemptSpent() {
	s.T.Helper()
	for id, receipts := range s.StoredReceipts() {
		for _, r := range receipts {
			s.Equal(1, r.Attempts, "%s spent attempts", id)
		}
	}
}

// listen opens a port of this machine; whoever serves it closes it.
func (s *scene) listen() net.Listener {
	s.T.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.NoError(err)
	s.T.Cleanup(func() { _ = l.Close() })
	return l
}

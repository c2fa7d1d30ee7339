package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// laterMessage is an intent as KEFU_LATER holds it until at. One subject for
// each message: a second schedule on a subject would replace the first.
//
// from is the sequence of the message it continues, in the stream that it
// leaves: neither a second wait nor a repeat of the id may replace the first.
func laterMessage(appID string, to wire.Subject, env wire.Envelope, hop int, from uint64,
	at time.Time, header nats.Header, data []byte) *nats.Msg {
	to.Again = true
	id := wire.MovedMsgID(appID, env.ID, env.Generation, env.Attempt, hop, from)
	sum := sha256.Sum256([]byte(id))
	out := moved(wire.LaterWaitSubject(appID, hex.EncodeToString(sum[:12])), id, header, data)
	// Written by hand: the library's option knows whole seconds only.
	out.Header.Set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	out.Header.Set("Nats-Schedule-Target", wire.LaterDueSubject(appID))
	out.Header.Set(wire.HeaderTarget, to.String())
	out.Header.Set(wire.HeaderHop, strconv.Itoa(hop))
	return out
}

// moved is an intent's message under another subject.
func moved(subject, id string, header nats.Header, data []byte) *nats.Msg {
	h := maps.Clone(header)
	h.Set(schema.HeaderMsgID, id)
	return &nats.Msg{Subject: subject, Header: h, Data: data}
}

// headerOf is what goes with an intent to KEFU_LATER: what kefu knows of it, and
// what the producer put into its headers besides.
func headerOf(env wire.Envelope, m *nats.Msg) nats.Header {
	h := nats.Header(env.Header())
	if foreign := wire.ForeignHeader(m.Header); sizeOf(foreign) <= maxForeign {
		maps.Copy(h, foreign)
	}
	return h
}

// maxForeign is how many bytes of headers that mean nothing to kefu go along:
// a queue takes 16 KiB of headers, and what was tried has to fit.
const maxForeign = 4 << 10

func sizeOf(h map[string][]string) (n int) {
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return n
}

// laterShare is what one app may have in KEFU_LATER. That stream can have no limits
// of its own (schedules and discard-new exclude each other), so who adds to it
// looks first: an app that puts off more than its queue may hold must not fill
// the disk for all. What finds no room waits in its lane, which so fills up, and
// in the end producers of this app are told that its queue is full.
type laterShare struct {
	conn  *broker.Conn
	appID string

	mu      sync.Mutex
	limit   int64 // intents; 0: no limit
	waiting int64 // as the broker counted them, and what this worker added since
	counted time.Time

	// full says that the last one to ask was refused. It is written with mu, which is
	// held while the broker counts, and read without.
	full atomic.Bool
}

// countEvery bounds how often the broker is asked: counting walks the app's
// waiting intents. Other workers' additions are so seen a moment late.
const countEvery = time.Second

func (s *laterShare) setLimit(intents int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = intents
}

// reserve asks for room for one more. changed says that the answer is another than
// the one before.
func (s *laterShare) reserve(ctx context.Context) (room, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limit <= 0 {
		return true, false
	}
	if now := time.Now(); now.Sub(s.counted) >= countEvery {
		s.counted = now
		ask, cancel := context.WithTimeout(ctx, countEvery)
		n, err := s.conn.Count(ask, wire.StreamLater, wire.LaterWaitFilter(s.appID))
		cancel()
		if err == nil { // else the last count stands: the broker has other troubles
			s.waiting = int64(n)
		}
	}
	room = s.waiting < s.limit
	if room {
		s.waiting++
	}
	changed = s.full.Swap(!room) == room
	return room, changed
}

// isFull says whether the last one to ask was refused. It never blocks.
func (s *laterShare) isFull() bool { return s.full.Load() }

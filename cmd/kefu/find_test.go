package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// mark is an event of the ledger at a minute of the story.
func mark(minute int, worker string, kind ledger.Kind, seq uint64, generation uint16, attempt uint8) ledger.Event {
	return ledger.Event{
		Time: died.Add(time.Duration(minute) * time.Minute), Worker: worker,
		Mark: ledger.Mark{Key: 1, Seq: seq, Body: 1, Kind: kind, Generation: generation, Attempt: attempt},
	}
}

func inQueue(seq uint64, again bool, generation, attempt int) *placed {
	return &placed{
		stream: "KEFU_SEND_wx1", seq: seq, stored: died, subject: wire.Subject{Again: again, Subject: schema.BulkSubject("wx1", "c")},
		envelope: wire.Envelope{Envelope: schema.Envelope{Source: "shop"}, Generation: generation, Attempt: attempt},
	}
}

func TestWhereAnIntentStands(t *testing.T) {
	t.Parallel()
	const a, b = "worker-a", "worker-b"
	receipt := func(state schema.State, generation int) schema.Receipt {
		return schema.Receipt{State: state, Generation: generation, Attempts: 1, PublishedAt: died, SettledAt: died.Add(time.Minute)}
	}
	letter := func(generation int, reason schema.Reason) deadletter.Item {
		return deadletter.Item{Letter: *deadLetter("x", func(l *schema.Letter) { l.Generation, l.Reason = generation, reason })}
	}
	type standing struct {
		state      schema.State
		generation int
		attempts   int
	}
	tests := []struct {
		name    string
		history []ledger.Event
		trace   trace
		want    standing
		events  []string
	}{
		{
			name: "published, nobody has looked at it", trace: trace{queued: inQueue(1, false, 1, 1)},
			want: standing{schema.StateQueued, 1, 0}, events: []string{"published"},
		},
		{
			name: "being sent", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1)},
			trace: trace{queued: inQueue(1, false, 1, 1)},
			want:  standing{schema.StateInFlight, 1, 1}, events: []string{"attempt 1 began", "published"},
		},
		{
			name: "given back because the app is held", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1), mark(1, a, ledger.Clear, 1, 1, 0)},
			trace: trace{queued: inQueue(1, false, 1, 1)},
			want:  standing{schema.StateQueued, 1, 0}, events: []string{"attempt 1 began", "published", "given back, no attempt spent"},
		},
		{
			name: "waits for its retry", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1), mark(1, a, ledger.Later, 1, 1, 2)},
			trace: trace{waiting: &placed{stream: wire.StreamLater, seq: 4, until: died.Add(time.Hour), subject: wire.Subject{Again: true},
				envelope: wire.Envelope{Generation: 1, Attempt: 2}}},
			want: standing{schema.StateWaiting, 1, 1}, events: []string{"attempt 1 began", "put off until attempt 2"},
		},
		{
			name: "its retry is due and back in the queue", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1), mark(1, a, ledger.Later, 1, 1, 2)},
			trace: trace{queued: inQueue(9, true, 1, 2)},
			want:  standing{schema.StateQueued, 1, 1}, events: []string{"attempt 1 began", "queued again", "put off until attempt 2"},
		},
		{
			name: "sent", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1), mark(1, a, ledger.Sent, 1, 1, 1)},
			trace: trace{receipts: []schema.Receipt{receipt(schema.StateSent, 1)}},
			want:  standing{schema.StateSent, 1, 1}, events: []string{"attempt 1 began", "published", "sent"},
		},
		{
			name: "sent, and a producer repeated it", history: []ledger.Event{
				mark(0, a, ledger.Start, 1, 0, 1), mark(1, a, ledger.Sent, 1, 1, 1), mark(2, b, ledger.Start, 5, 0, 1)},
			want: standing{schema.StateSent, 1, 1}, events: []string{"attempt 1 began", "sent", "it came once more and was not sent again"},
		},
		{
			name: "sent a moment ago: the receipt is there, the ledger's mark is not", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1)},
			trace: trace{receipts: []schema.Receipt{receipt(schema.StateSent, 1)}},
			want:  standing{schema.StateSent, 1, 1}, events: []string{"attempt 1 began", "published", "sent"},
		},
		{
			name: "dead, with its letter and receipt", history: []ledger.Event{mark(-1, a, ledger.Start, 1, 0, 1), mark(0, a, ledger.Dead, 1, 1, 1)},
			trace: trace{letters: []deadletter.Item{letter(1, schema.ReasonExhausted)}, receipts: []schema.Receipt{receipt(schema.StateDead, 1)}},
			want:  standing{schema.StateDead, 1, 0}, events: []string{"attempt 1 began", "published", "dead, exhausted: the API was busy six times"},
		},
		{
			name: "dead, and published again since", history: []ledger.Event{mark(-1, a, ledger.Start, 1, 0, 1), mark(0, a, ledger.Dead, 1, 1, 1)},
			trace: trace{letters: []deadletter.Item{letter(1, schema.ReasonExhausted)}, queued: inQueue(8, false, 1, 1)},
			want:  standing{schema.StateQueued, 2, 0}, events: []string{"attempt 1 began", "dead, exhausted: the API was busy six times", "published"},
		},
		{
			name: "dead, and the queue still has its message", history: []ledger.Event{mark(-1, a, ledger.Start, 1, 0, 1), mark(0, a, ledger.Dead, 1, 1, 1)},
			trace: trace{queued: inQueue(1, false, 1, 1)},
			want:  standing{schema.StateDead, 1, 1}, events: []string{"attempt 1 began", "died", "published"},
		},
		{
			name: "replayed and queued", history: []ledger.Event{mark(-1, a, ledger.Start, 1, 0, 1), mark(0, a, ledger.Dead, 1, 1, 1)},
			trace: trace{queued: inQueue(8, true, 2, 1)},
			want:  standing{schema.StateQueued, 2, 0}, events: []string{"attempt 1 began", "died", "queued again"},
		},
		{
			name: "another message took its id and died of that", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1), mark(1, a, ledger.Sent, 1, 1, 1)},
			trace: trace{letters: []deadletter.Item{letter(1, schema.ReasonIDReuse)}},
			want:  standing{schema.StateSent, 1, 1}, events: []string{"attempt 1 began", "dead, id-reuse: the API was busy six times", "sent"},
		},
		{
			name: "the ledger is off or has forgotten", trace: trace{letters: []deadletter.Item{letter(2, schema.ReasonUnknown)}},
			want: standing{schema.StateDead, 2, 0}, events: []string{"dead, unknown: the API was busy six times"},
		},
		{
			name: "handed out again after a crash", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1), mark(1, b, ledger.Suspect, 1, 0, 1), mark(2, b, ledger.Start, 1, 0, 1)},
			want: standing{schema.StateInFlight, 1, 1},
			events: []string{"attempt 1 began", "handed out, perhaps not for the first time",
				"handed to another worker while it was being sent"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			trace := tt.trace
			trace.story = ledger.Tell(tt.history)
			trace.alive = map[string]bool{a: true, b: true}
			w := trace.judge()
			require.Equal(t, tt.want, standing{w.State, w.Generation, w.Attempts})
			var events []string
			for _, e := range w.Events {
				if len(trace.letters) > 0 && e.What == "published" && !e.At.Equal(died) {
					continue // of the letter; a minute before now
				}
				events = append(events, e.What)
			}
			require.Equal(t, tt.events, events)
		})
	}
}

func TestWithdrawnCountsForItsGenerationOnly(t *testing.T) {
	t.Parallel()
	tr := trace{queued: inQueue(1, true, 2, 1), withdrawal: &ledger.Withdrawal{Cancellation: schema.Cancellation{Generation: 1, By: "ann"}}}
	require.False(t, tr.judge().Withdrawn)
	tr.withdrawal.Generation = 2
	require.True(t, tr.judge().Withdrawn)
	tr.receipts = []schema.Receipt{{State: schema.StateCancelled, Generation: 2}}
	require.False(t, tr.judge().Withdrawn, "it has ended: that is what counts")
}

func TestFindInTheQueue(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	unknown := o.kefu("find order-1")
	o.Equal(result{exitNothing, "", "kefu: nothing is known of \"order-1\": it was never accepted, or all traces of it have expired\n"}, unknown)
	o.Equal("[]\n", o.kefu("find order-1 -o json").out)

	o.send("wx1", "order-1")
	ack := o.send("wx2", "")
	got := o.kefu("find order-1")
	o.Equal(exitDone, got.code, got.err)
	o.Regexp(`(?m)^state +queued$`, got.out)
	o.Regexp(`(?m)^stored +KEFU_SEND_wx1, sequence 1$`, got.out)
	o.Regexp(`(?m)^WHEN +WHAT +WORKER$`, got.out)
	o.NotContains(got.out, recipient)

	stream, err := o.conn.JS.Stream(t.Context(), schema.SendStream("wx2"))
	o.NoError(err)
	id := wire.DefaultID(stream.CachedInfo().Created, ack.Seq)
	found := decode[[]whereabouts](o, o.kefu("find -o json "+id))
	o.Len(found, 1)
	o.Equal("wx2", found[0].AppID)
	o.Equal(schema.StateQueued, found[0].State)
	o.Equal(exitNothing, o.kefu("find "+wire.DefaultID(stream.CachedInfo().Created, 99)).code)
	o.Equal(exitNothing, o.kefu("find order-1 --app wx2").code)
	o.Equal(exitUsage, o.kefu("find order-1 --app wx3").code)
	o.Equal(exitUsage, o.kefu("find").code)
	o.Equal(exitUsage, o.kefu("find order-1 --openid x").code)
	o.Equal(exitUsage, o.kefu("find --openid a.b").code)
}

// story writes a history of an id of wx1 into the ledger, as a worker of that name.
func (o *operation) story(id, worker string, marks ...ledger.Mark) {
	o.t.Helper()
	l, err := ledger.Open(o.t.Context(), o.conn, ledger.Options{Worker: worker, Keep: time.Hour})
	o.NoError(err)
	defer l.Close()
	for _, m := range marks {
		m.Key, m.Body = ledger.KeyOf("wx1", id), ledger.BodyOf([]byte(packetFor(recipient)))
		done := make(chan error, 1)
		l.Write(m, func(_ ledger.Standing, err error) { done <- err })
		o.NoError(<-done)
	}
}

func (o *operation) receipt(r schema.Receipt) {
	o.t.Helper()
	body, err := json.Marshal(r)
	o.NoError(err)
	m := nats.NewMsg(schema.ReceiptSubject(r.AppID, r.State))
	m.Data = body
	m.Header.Set(schema.HeaderMsgID, wire.ReceiptMsgID(r.AppID, r.ID, r.Generation))
	o.publish(m)
}

func TestFindWhatWasSent(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	published := time.Now().UTC()
	o.story("order-1", "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1}, ledger.Mark{Kind: ledger.Sent, Seq: 1, Generation: 1, Attempt: 1})
	now := time.Now().UTC()
	o.receipt(schema.Receipt{ID: "order-1", AppID: "wx1", Generation: 1, State: schema.StateSent, Lane: schema.LaneLive, Source: "shop", Attempts: 1, PublishedAt: published, SettledAt: now})
	o.receipt(schema.Receipt{ID: "order-1", AppID: "wx2", Generation: 1, State: schema.StateDead, Reason: schema.ReasonExpired, Lane: schema.LaneLive, PublishedAt: now, SettledAt: now})

	found := decode[[]whereabouts](o, o.kefu("find order-1 -o json"))
	o.Len(found, 2, "an id may be known to two apps")
	o.Equal(schema.StateSent, found[0].State)
	o.Equal("shop", found[0].Source)
	o.Equal([]string{"published", "attempt 1 began", "sent"}, whats(found[0]))
	o.Equal(schema.StateDead, found[1].State)
	o.Equal(schema.ReasonExpired, found[1].Reason)
}

func whats(w whereabouts) (out []string) {
	for _, e := range w.Events {
		out = append(out, e.What)
	}
	return out
}

func TestFindAnAbandonedAttempt(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.send("wx1", "order-1")
	o.story("order-1", "worker-a", ledger.Mark{Kind: ledger.Start, Seq: 1, Attempt: 1})
	got := o.kefu("find order-1")
	o.Regexp(`(?m)^state +in_flight$`, got.out)
	o.Regexp(`(?m)^why +its worker is gone`, got.out)
	o.Regexp(`(?m)^worker +worker-a$`, got.out)
}

func TestFindWhatDied(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.bury(deadLetter("order-1", diedOf(schema.ReasonRecipient, 45015, "response out of time limit")))
	got := o.kefu("find order-1")
	for _, line := range []string{
		`(?m)^state +dead, recipient$`, `(?m)^answer +45015 response out of time limit$`, `(?m)^rid +rid-1$`,
		`attempt 1 ended: recipient: 45015 response out of time limit +worker-1`, `dead, recipient: the API was busy six times`,
	} {
		o.Regexp(line, got.out)
	}
}

// wait puts an intent into KEFU_LATER as a worker does.
func (o *operation) wait(id string, until time.Time) {
	o.t.Helper()
	env := wire.Envelope{Envelope: schema.Envelope{ID: id}, Generation: 1, Attempt: 2, PublishedAt: time.Now().UTC()}
	o.publish(&nats.Msg{
		Subject: wire.LaterWaitSubject("wx1", "unique-"+id),
		Data:    []byte(packetFor(recipient)),
		Header: func() nats.Header {
			h := nats.Header(env.Header())
			h.Set(schema.HeaderMsgID, wire.MovedMsgID("wx1", id, 1, 2, 0, 1))
			h.Set("Nats-Schedule", "@at "+until.UTC().Format(time.RFC3339Nano))
			h.Set("Nats-Schedule-Target", wire.LaterDueSubject("wx1"))
			h.Set(wire.HeaderTarget, "kefu.again.wx1.live."+recipient)
			h.Set(wire.HeaderHop, "0")
			return h
		}(),
	})
}

func TestFindWhatWaits(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	until := time.Now().Add(time.Hour).Round(time.Millisecond).UTC()
	o.wait("order-1", until)
	found := decode[[]whereabouts](o, o.kefu("find order-1 -o json"))
	o.Equal(schema.StateWaiting, found[0].State)
	o.True(until.Equal(found[0].Until))
	o.Equal(1, found[0].Attempts)
}

func TestFindAPerson(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	none := o.kefu("find --openid " + recipient)
	o.Equal(exitNothing, none.code)
	o.Equal("kefu: nothing is queued, waiting or dead of this person\n", none.err)

	o.send("wx1", "live-1")
	m := nats.NewMsg("kefu.send.wx2.bulk.c1")
	m.Data = []byte(packetFor(recipient))
	m.Header.Set(schema.HeaderMsgID, "bulk-1")
	o.publish(m)
	other := nats.NewMsg("kefu.send.wx2.bulk.c1")
	other.Data = []byte(packetFor("oSomebodyElse"))
	o.publish(other)
	o.wait("later-1", time.Now().Add(time.Hour))
	o.bury(deadLetter("dead-1"))

	rows := decode[[]ofPerson](o, o.kefu("find -o json --openid "+recipient))
	states := map[string]schema.State{}
	for _, r := range rows {
		states[r.ID] = r.State
	}
	o.Equal(map[string]schema.State{"live-1": schema.StateQueued, "bulk-1": schema.StateQueued, "later-1": schema.StateWaiting, "dead-1": schema.StateDead}, states)
	o.NotContains(o.kefu("find --openid "+recipient).out, recipient)
}

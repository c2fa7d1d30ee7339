package intent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// died is when the letters of these tests died.
var died = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// mark is an event of the ledger at a minute of the story.
func mark(
	minute int, worker string, kind ledger.Kind, seq uint64, generation uint16, attempt uint8,
) ledger.Event {
	return ledger.Event{
		Time: died.Add(time.Duration(minute) * time.Minute), Worker: worker,
		Mark: ledger.Mark{Key: 1, Seq: seq, Body: 1, Kind: kind, Generation: generation,
			Attempt: attempt},
	}
}

func inQueue(seq uint64, again bool, generation, attempt int) *queue.Message {
	return &queue.Message{
		Stream: "KEFU_SEND_wx1", Seq: seq, Stored: died,
		Subject: wire.Subject{Again: again, Subject: schema.BulkSubject("wx1", "c")},
		Envelope: wire.Envelope{Envelope: schema.Envelope{Source: "shop"}, Generation: generation,
			Attempt: attempt},
	}
}

func TestWhereAnIntentStands(t *testing.T) {
	t.Parallel()
	const a, b = "worker-a", "worker-b"
	receipt := func(state schema.State, generation int) schema.Receipt {
		return schema.Receipt{State: state, Generation: generation, Attempts: 1, PublishedAt: died,
			SettledAt: died.Add(time.Minute)}
	}
	letter := func(generation int, reason schema.Reason) deadletter.Item {
		return deadletter.Item{Letter: schema.Letter{
			ID: "x", AppID: "wx1", Generation: generation, Lane: schema.LaneLive, Source: "shop",
			Reason: reason, Detail: "the API was busy six times",
			PublishedAt: time.Now().Add(-time.Minute).UTC(), DiedAt: died, Worker: "worker-1",
		}}
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
			name:  "published, nobody has looked at it",
			trace: trace{queued: inQueue(1, false, 1, 1)},
			want:  standing{schema.StateQueued, 1, 0}, events: []string{"published"},
		},
		{
			name: "being sent", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1)},
			trace:  trace{queued: inQueue(1, false, 1, 1)},
			want:   standing{schema.StateInFlight, 1, 1},
			events: []string{"attempt 1 began", "published"},
		},
		{
			name: "given back because the app is held",
			history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1),
				mark(1, a, ledger.Clear, 1, 1, 0)},
			trace:  trace{queued: inQueue(1, false, 1, 1)},
			want:   standing{schema.StateQueued, 1, 0},
			events: []string{"attempt 1 began", "published", "given back, no attempt spent"},
		},
		{
			name: "waits for its retry",
			history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1),
				mark(1, a, ledger.Later, 1, 1, 2)},
			trace: trace{waiting: &queue.Message{Stream: wire.StreamLater, Seq: 4,
				Until: died.Add(time.Hour), Subject: wire.Subject{Again: true},
				Envelope: wire.Envelope{Generation: 1, Attempt: 2}}},
			want:   standing{schema.StateWaiting, 1, 1},
			events: []string{"attempt 1 began", "put off until attempt 2"},
		},
		{
			name: "its retry is due and back in the queue",
			history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1),
				mark(1, a, ledger.Later, 1, 1, 2)},
			trace:  trace{queued: inQueue(9, true, 1, 2)},
			want:   standing{schema.StateQueued, 1, 1},
			events: []string{"attempt 1 began", "queued again", "put off until attempt 2"},
		},
		{
			name: "sent", history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1),
				mark(1, a, ledger.Sent, 1, 1, 1)},
			trace:  trace{receipts: []schema.Receipt{receipt(schema.StateSent, 1)}},
			want:   standing{schema.StateSent, 1, 1},
			events: []string{"attempt 1 began", "published", "sent"},
		},
		{
			name: "sent, and a producer repeated it", history: []ledger.Event{
				mark(0, a, ledger.Start, 1, 0, 1), mark(1, a, ledger.Sent, 1, 1, 1),
				mark(2, b, ledger.Start, 5, 0, 1)},
			want: standing{schema.StateSent, 1, 1},
			events: []string{"attempt 1 began", "sent",
				"it came once more and was not sent again"},
		},
		{
			name:    "sent a moment ago: the receipt is there, the ledger's mark is not",
			history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1)},
			trace:   trace{receipts: []schema.Receipt{receipt(schema.StateSent, 1)}},
			want:    standing{schema.StateSent, 1, 1},
			events:  []string{"attempt 1 began", "published", "sent"},
		},
		{
			name: "dead, with its letter and receipt",
			history: []ledger.Event{mark(-1, a, ledger.Start, 1, 0, 1),
				mark(0, a, ledger.Dead, 1, 1, 1)},
			trace: trace{letters: []deadletter.Item{letter(1, schema.ReasonExhausted)},
				receipts: []schema.Receipt{receipt(schema.StateDead, 1)}},
			want: standing{schema.StateDead, 1, 0},
			events: []string{"attempt 1 began", "published",
				"dead, exhausted: the API was busy six times"},
		},
		{
			name: "dead, and published again since",
			history: []ledger.Event{mark(-1, a, ledger.Start, 1, 0, 1),
				mark(0, a, ledger.Dead, 1, 1, 1)},
			trace: trace{letters: []deadletter.Item{letter(1, schema.ReasonExhausted)},
				queued: inQueue(8, false, 1, 1)},
			want: standing{schema.StateQueued, 2, 0},
			events: []string{"attempt 1 began", "dead, exhausted: the API was busy six times",
				"published"},
		},
		{
			name: "dead, and the queue still has its message",
			history: []ledger.Event{mark(-1, a, ledger.Start, 1, 0, 1),
				mark(0, a, ledger.Dead, 1, 1, 1)},
			trace:  trace{queued: inQueue(1, false, 1, 1)},
			want:   standing{schema.StateDead, 1, 1},
			events: []string{"attempt 1 began", "died", "published"},
		},
		{
			name: "replayed and queued",
			history: []ledger.Event{mark(-1, a, ledger.Start, 1, 0, 1),
				mark(0, a, ledger.Dead, 1, 1, 1)},
			trace:  trace{queued: inQueue(8, true, 2, 1)},
			want:   standing{schema.StateQueued, 2, 0},
			events: []string{"attempt 1 began", "died", "queued again"},
		},
		{
			name: "another message took its id and died of that",
			history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1),
				mark(1, a, ledger.Sent, 1, 1, 1)},
			trace: trace{letters: []deadletter.Item{letter(1, schema.ReasonIDReuse)}},
			want:  standing{schema.StateSent, 1, 1},
			events: []string{"attempt 1 began", "dead, id-reuse: the API was busy six times",
				"sent"},
		},
		{
			name:   "the ledger is off or has forgotten",
			trace:  trace{letters: []deadletter.Item{letter(2, schema.ReasonUnknown)}},
			want:   standing{schema.StateDead, 2, 0},
			events: []string{"dead, unknown: the API was busy six times"},
		},
		{
			name: "handed out again after a crash",
			history: []ledger.Event{mark(0, a, ledger.Start, 1, 0, 1),
				mark(1, b, ledger.Suspect, 1, 0, 1), mark(2, b, ledger.Start, 1, 0, 1)},
			want: standing{schema.StateInFlight, 1, 1},
			events: []string{"attempt 1 began", "handed out, perhaps not for the first time",
				"handed to another worker while it was being sent"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			trace := tt.trace
			trace.story = ledger.Interpret(tt.history)
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
	tr := trace{queued: inQueue(1, true, 2, 1),
		withdrawal: &withdrawal.Order{Cancellation: schema.Cancellation{Generation: 1, By: "ann"}}}
	require.False(t, tr.judge().Withdrawn)
	tr.withdrawal.Generation = 2
	require.True(t, tr.judge().Withdrawn)
	tr.receipts = []schema.Receipt{{State: schema.StateCancelled, Generation: 2}}
	require.False(t, tr.judge().Withdrawn, "it has ended: that is what counts")
}

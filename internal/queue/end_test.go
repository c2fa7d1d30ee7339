package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

const app = "wx1"

func TestHowAnIntentEndsWhoseMessageIsRemoved(t *testing.T) {
	t.Parallel()
	at := time.Now().UTC()
	fresh := Message{
		AppID: app, ID: "a", Stream: schema.SendStream(app), Seq: 7, Made: at, Stored: at,
		Subject:  wire.Subject{Subject: schema.BulkSubject(app, "double-11")},
		Envelope: wire.Envelope{Generation: 1, Attempt: 1}, Packet: []byte(`{"touser":"o1","msgtype":"text","text":{"content":"hello"}}`),
	}
	again := fresh
	again.Subject.Again = true
	again.Envelope = wire.Envelope{Generation: 3, Attempt: 2, PublishedAt: at, Job: "k3jq7xa2",
		Before: "dead recipient", BeforeErrcode: 45015}
	waits := again
	waits.Stream = wire.StreamLater

	type want struct {
		ends                       bool
		generation, spent, unknown int
	}
	for _, row := range []struct {
		what    string
		message Message
		said    ledger.Standing
		want    want
	}{
		{"nobody has touched it", fresh, ledger.Standing{Ruling: ledger.Go, Generation: 1},
			want{true, 1, 0, 0}},
		{"a later life of its id", fresh, ledger.Standing{Ruling: ledger.Go, Generation: 2},
			want{true, 2, 0, 0}},
		{"it was tried, and once nobody knows with what outcome", fresh,
			ledger.Standing{Ruling: ledger.Go, Generation: 1, Attempts: 2, Unknown: 1},
			want{true, 1, 2, 1}},
		{"a retry", again, ledger.Standing{Ruling: ledger.Go, Generation: 3}, want{true, 3, 1, 0}},
		{"it waits", waits, ledger.Standing{Ruling: ledger.Go, Generation: 3}, want{true, 3, 1, 0}},
		{"its worker died in the call", again,
			ledger.Standing{Ruling: ledger.Started, Generation: 3, Attempts: 2},
			want{true, 3, 2, 1}},
		{"its worker died before the letter", again,
			ledger.Standing{Ruling: ledger.Doomed, Generation: 3, Attempts: 2},
			want{true, 3, 2, 0}},
		{"it has ended", fresh, ledger.Standing{Ruling: ledger.Ended}, want{}},
		{"a repeat", fresh, ledger.Standing{Ruling: ledger.Repeat}, want{}},
		{"another message's id", fresh, ledger.Standing{Ruling: ledger.Reuse}, want{}},
	} {
		t.Run(row.what, func(t *testing.T) {
			t.Parallel()
			e := EndOf(row.message, row.said)
			require.Equal(t, row.message, e.Message)
			if !row.want.ends {
				require.Zero(t, e.Mark)
				return
			}
			require.Equal(t, ledger.Cancelled, e.Mark.Kind)
			require.Equal(t, row.want, want{true, int(e.Mark.Generation), int(e.Mark.Attempt),
				int(e.Mark.Unknown)})
			require.Equal(t, ledger.KeyOf(app, "a"), e.Mark.Key)
			require.Equal(t, ledger.CampaignOf(app, "double-11"), e.Mark.Campaign)
			r := e.Receipt()
			require.Equal(t, row.want, want{true, r.Generation, r.Attempts, row.want.unknown})
			require.Equal(t, row.want.unknown > 0, r.PossibleDuplicate)
			require.Equal(t, schema.StateCancelled, r.State)
			require.Equal(t, "double-11", r.Campaign)
			require.Equal(t, at, r.PublishedAt)
		})
	}

	inQueue, inLater := again.Start(), waits.Start()
	require.Equal(t, ledger.JobOf("k3jq7xa2", app), inQueue.Job)
	require.EqualValues(t, 3, inQueue.Generation)
	require.Equal(t, ledger.ParseEnd("dead recipient").DiedOf(45015), inQueue.Before)
	require.EqualValues(t, 7, inQueue.Seq)
	require.Equal(t, at.UnixNano(), inQueue.Stream)
	require.Zero(t, inLater.Seq, "its sequence there is none of a queue")
	require.Zero(t, inLater.Stream)
	require.Zero(t, fresh.Start().Generation, "a producer does not know it")
}

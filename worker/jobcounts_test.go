package worker

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// intoSandbox has the app send into a sandbox.
func (b *bed) intoSandbox() *sandbox.Sandbox {
	b.t.Helper()
	sb := sandbox.New(sandbox.Options{})
	url, err := sb.Listen("127.0.0.1:0")
	b.NoError(err)
	b.t.Cleanup(func() { _ = sb.Close() })
	client, err := wechat.NewHTTPClient(wechat.HTTPOptions{IdlePerHost: 8})
	b.NoError(err)
	secret := func() (wechat.Secret, error) { return wechat.NewSecret("secret"), nil }
	b.app.Sender = wechat.NewClient(client, url,
		wechat.NewStableToken(client, url, appID, secret))
	return sb
}

// republish puts a generation of an intent into the queue as a job does.
func (b *bed) republish(job, id, touser string, generation int) {
	b.t.Helper()
	env := wire.Envelope{
		Envelope: schema.Envelope{ID: id}, Generation: generation, Attempt: 1,
		PublishedAt: time.Now(), Before: "dead recipient", Job: job,
	}
	m := &nats.Msg{
		Subject: "kefu.again." + appID + ".live." + touser, Header: env.Header(),
		Data: packet("hello", touser),
	}
	m.Header.Set(schema.HeaderMsgID, fmt.Sprint(job, id, generation))
	_, err := b.conn.Outbox.PublishWait(b.t.Context(), m)
	b.NoError(err)
}

// jobEnds waits until a worker knows that what a job published ended so, and until
// commands can read it.
func (b *bed) jobEnds(job string, want ledger.JobCounts) {
	b.t.Helper()
	j := ledger.JobOf(job, appID)
	b.await(func() bool { return b.worker.isStarted() && b.worker.book.JobCounts(j) == want })
	b.Eventually(func() bool {
		counts, err := ledger.ReadJobCounts(b.t.Context(), b.conn, j)
		b.NoError(err)
		return counts[j] == want
	}, patience, 10*time.Millisecond)
}

func TestWhatAJobPublishedIsCountedAsItEnds(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	sb := b.intoSandbox()
	// What is busy is tried again through KEFU_LATER.
	b.app.Retry.First, b.app.Retry.Cap, b.app.HoldBack = 2*time.Second, 2*time.Second, 0
	const each = 5
	for i := range each {
		sb.Add(sandbox.Rule{Call: "send", OpenID: fmt.Sprint("busy", i), Errcode: -1, Times: 1})
		sb.Add(sandbox.Rule{Call: "send", OpenID: fmt.Sprint("worse", i), Errcode: -1, Times: 1})
		sb.Add(sandbox.Rule{Call: "send", OpenID: fmt.Sprint("worse", i), Errcode: 45015})
		sb.Add(sandbox.Rule{Call: "send", OpenID: fmt.Sprint("gone", i), Errcode: 45015})
		for _, who := range []string{"good", "busy", "worse", "gone"} {
			touser := fmt.Sprint(who, i)
			b.republish("first", "to-"+touser, touser, 2)
		}
	}
	b.republish("first", "withdrawn", "good", 2)
	b.NoError(withdrawal.Write(t.Context(), b.conn, appID, "withdrawn",
		withdrawal.Order{Cancellation: schema.Cancellation{Generation: 2}}, time.Hour))
	b.republish("second", "the other's", "good", 2)
	b.publish(live+"good", "a producer's", "hello", "good", wire.HeaderJob, "first")

	var moved atomic.Int64 // out of KEFU_LATER, and still the job's
	_, err := b.conn.NC.Subscribe("kefu.again.>", func(m *nats.Msg) {
		if m.Header.Get(wire.HeaderAttempt) == "2" && m.Header.Get(wire.HeaderJob) == "first" {
			moved.Add(1)
		}
	})
	b.NoError(err)
	stop := b.start()
	first := ledger.JobCounts{Sent: 2 * each, Dead: 2 * each, Cancelled: 1}
	b.jobEnds("first", first)
	b.jobEnds("second", ledger.JobCounts{Sent: 1})
	b.await(func() bool { return moved.Load() == 2*each })
	sent := 0
	for r := range sb.Records(sandbox.Filter{Call: "send"}) {
		if r.Errcode == 0 {
			sent++
		}
	}
	b.Equal(2*each+2, sent)
	letters := kept[schema.Letter](b, schema.StreamDead)
	b.Len(letters, 2*each)
	for _, l := range letters {
		b.NotContains(l.Header(), wire.HeaderJob)
	}

	// The next worker knows them, and takes nothing back for another job's replay.
	b.NoError(stop())
	sb.RemoveRules()
	stop = b.start()
	b.jobEnds("first", first)
	for _, l := range letters {
		b.Equal(2, l.Generation)
		b.republish("third", l.ID, l.OpenID, 3)
	}
	b.jobEnds("third", ledger.JobCounts{Sent: 2 * each})
	b.jobEnds("first", first)
	b.NoError(stop())
}

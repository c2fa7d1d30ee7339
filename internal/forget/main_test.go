package forget

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/campaign/campaigntest"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
	"github.com/kefuhq/kefu/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app   = "wx1"
	one   = "oONEONEONEONEONEONEONEONEON1"
	other = "oOTHEROTHEROTHEROTHEROTHERX0"
)

// bed is a broker, a worker that can be started, and an API that notes what it was called for.
type bed struct {
	*require.Assertions
	t          *testing.T
	conn       *broker.Conn
	pseudonyms broker.Pseudonyms
	room       int // intents of a campaign that its feeding leaves in the queue

	mu   sync.Mutex
	sent []string // "openid text"

	called, end chan struct{} // of the first call, if they are not nil
	begun       sync.Once
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{Assertions: require.New(t), t: t, conn: brokertest.New(t, app), room: 100}
	var err error
	b.pseudonyms, err = b.conn.Pseudonyms(t.Context())
	b.NoError(err)
	return b
}

// Deliver is a call of the API.
func (b *bed) Deliver(_ context.Context, m wechat.Message) error {
	if err := m.Before(); err != nil {
		return err
	}
	var p struct {
		ToUser string
		Text   struct{ Content string }
	}
	if err := json.Unmarshal(m.Packet, &p); err != nil {
		return err
	}
	b.begun.Do(func() {
		if b.called != nil {
			close(b.called)
			<-b.end
		}
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, p.ToUser+" "+p.Text.Content)
	return nil
}

// calls are those that have ended.
func (b *bed) calls() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.sent)
}

// callUnderWay starts a worker whose first call ends when end is closed, and waits for the call of
// an intent.
func (b *bed) callUnderWay(id string) (end chan<- struct{}) {
	b.t.Helper()
	b.called, b.end = make(chan struct{}), make(chan struct{})
	b.work()
	b.live(id, one)
	select {
	case <-b.called:
	case <-time.After(brokertest.Patience):
		b.FailNow("no call was made")
	}
	return b.end
}

// work starts a worker; it ends with the test.
func (b *bed) work() {
	b.t.Helper()
	w, err := worker.New(worker.Config{
		Process: pool.Worker{Name: pool.NewName("test")},
		Apps: []worker.App{{ID: app, Sender: b, Concurrency: 8,
			Retry:     worker.Retry{Attempts: 2, First: time.Millisecond, Cap: time.Second},
			OnUnknown: schema.PolicyResend, ExpireAfter: time.Hour, HoldBack: time.Second}},
		Concurrency: 8, Grace: time.Second, Receipts: worker.ReceiptsAll, Ledger: true,
		LedgerKeep: brokertest.Keep, Pseudonyms: b.pseudonyms, Log: slog.New(slog.DiscardHandler),
		Works: b.works,
	}, b.conn)
	b.NoError(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, nil) }()
	b.t.Cleanup(func() {
		cancel()
		b.NoError(<-done)
	})
}

// works has the worker feed campaigns.
func (b *bed) works(book *ledger.Ledger) map[job.Kind]job.Work {
	return map[job.Kind]job.Work{
		job.KindCampaign: campaign.NewWork(b.conn, book, func(string) campaign.App {
			return campaign.App{Room: campaign.Room{Most: b.room}}
		}),
	}
}

// counted waits until the worker counts all ends.
func (b *bed) counted() {
	b.t.Helper()
	b.Eventually(func() bool {
		since, err := ledger.CountedSince(b.t.Context(), b.conn)
		return err == nil && !since.IsZero()
	}, brokertest.Patience, 10*time.Millisecond)
}

// order orders a campaign.
func (b *bed) order(name string, openIDs ...string) {
	b.t.Helper()
	terms := campaign.Terms{AppID: app, Campaign: name, By: "me"}
	campaigntest.Order(b.t, b.conn, terms, openIDs...)
}

// status is where a campaign stands.
func (b *bed) status(name string) campaign.Status {
	b.t.Helper()
	s, err := campaign.ReadStatus(b.t.Context(), b.conn, app, name)
	b.NoError(err)
	return s
}

// until waits for a campaign to be as f says.
func (b *bed) until(name string, f func(campaign.Status) bool) {
	b.t.Helper()
	b.Eventually(func() bool { return f(b.status(name)) }, brokertest.Patience,
		10*time.Millisecond)
}

func packet(openID, text string) []byte {
	return []byte(`{"touser":"` + openID + `","msgtype":"text","text":{"content":"` + text + `"}}`)
}

// live queues an intent whose text is its id.
func (b *bed) live(id, openID string) {
	b.t.Helper()
	_, err := b.conn.Outbox.PublishWait(b.t.Context(), &nats.Msg{
		Subject: "kefu.send.wx1.live." + openID, Data: packet(openID, id),
		Header: nats.Header{schema.HeaderMsgID: {id}},
	})
	b.NoError(err)
}

func person() Person {
	return Person{OpenID: one, Apps: []intent.App{{ID: app, HasQueue: true}}}
}

func options() Options { return Options{By: "me", Receipts: true, ExpireAfter: time.Hour} }

func (b *bed) forget(o Options) Result {
	b.t.Helper()
	result, err := Forget(b.t.Context(), b.conn, person(), o)
	b.NoError(err)
	return result
}

// receipts are those that are stored.
func (b *bed) receipts() (all []schema.Receipt) {
	b.t.Helper()
	b.NoError(b.conn.Scan(b.t.Context(), schema.StreamReceipt, broker.ScanOptions{},
		func(s broker.Stored) error {
			b.NotContains(string(s.Data), one)
			all = append(all, schema.Receipt{})
			return json.Unmarshal(s.Data, &all[len(all)-1])
		}))
	return all
}

// awaitStates waits until there are as many receipts as are wanted, by id, and compares them.
func (b *bed) awaitStates(want map[string]schema.State) {
	b.t.Helper()
	states := make(map[string]schema.State)
	b.Eventually(func() bool {
		for _, r := range b.receipts() {
			states[r.ID] = r.State
		}
		return len(states) >= len(want)
	}, brokertest.Patience, 10*time.Millisecond)
	b.Equal(want, states)
}

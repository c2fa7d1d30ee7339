package replay

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/deadletter/lettertest"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app    = lettertest.App
	openid = lettertest.OpenID
)

var (
	noon      = lettertest.Noon
	letter    = lettertest.Letter
	of        = lettertest.Of
	code      = lettertest.Code
	bulk      = lettertest.Bulk
	header    = lettertest.Header
	published = lettertest.Published
)

type (
	Filter = deadletter.Filter
	Item   = deadletter.Item
)

// bed is a broker with the objects of one app, and a worker that carries out replays.
type bed struct {
	*require.Assertions
	t     *testing.T
	conn  *broker.Conn
	box   *deadletter.Box
	known Known
	ends  func(jobID, appID string) (ledger.JobCounts, bool) // nil: nobody counts

	mu       sync.Mutex
	carrying func(job.Task) // told of each step that is carried out
}

func newBed(t *testing.T, queue int64) *bed {
	t.Helper()
	return newBedOn(t, brokertest.Bare(t).Connect(), queue)
}

func newBedOn(t *testing.T, conn *broker.Conn, queue int64) *bed {
	t.Helper()
	spec := brokertest.Spec(app)
	spec.Apps[0].QueueMessages = queue
	brokertest.Provision(t, conn, spec)
	return &bed{Assertions: require.New(t), t: t, conn: conn, box: deadletter.Open(conn)}
}

// alone is a pool of one worker.
type alone struct{}

func (alone) Alive(worker string) bool { return worker == "worker" }
func (alone) First(string) bool        { return true }

// watched tells the bed of steps.
type watched struct {
	*Work
	bed *bed
}

func (w watched) Carry(ctx, begin context.Context, t job.Task) (job.Result, error) {
	w.bed.mu.Lock()
	f := w.bed.carrying
	w.bed.mu.Unlock()
	if f != nil {
		f(t)
	}
	return w.Work.Carry(ctx, begin, t)
}

// work is what a worker of the pool carries out replays with.
func (b *bed) work() *Work {
	w := NewWork(b.conn, nil, func() Settings { return Settings{} })
	w.known = func() Known { return b.known }
	if b.ends != nil {
		w.ends = b.ends
	}
	return w
}

// worker starts a worker, and returns what stops it.
func (b *bed) worker() (stop func()) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	r := job.NewRunner(b.conn, "worker", alone{},
		map[job.Kind]job.Work{job.KindReplay: watched{b.work(), b}},
		slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); b.NoError(<-ended) })
	b.t.Cleanup(stop)
	return stop
}

// submit orders a replay.
func (b *bed) submit(r Request) string {
	b.t.Helper()
	plan, err := NewPlan(b.t.Context(), b.conn, r, b.known, time.Now())
	b.NoError(err)
	b.Positive(plan.Replayable, plan.Notes)
	id, err := Submit(b.t.Context(), b.conn, r, plan, "ann@desk")
	b.NoError(err)
	return id
}

// until waits for a replay to be as f says.
func (b *bed) until(id string, f func(Status) bool) (last Status) {
	b.t.Helper()
	b.Eventually(func() bool {
		s, err := Read(b.t.Context(), b.conn, id)
		if err == nil { // else the broker is away
			last = s
		}
		return err == nil && f(s)
	}, brokertest.Patience, time.Millisecond)
	return last
}

func (b *bed) ended(id string) Status {
	b.t.Helper()
	return b.until(id, func(s Status) bool { return s.State.Final() && !s.FinishedAt.IsZero() })
}

// replay orders a replay, has a worker of its own carry it out, and returns how it ended.
func (b *bed) replay(f Filter, o Options) Status {
	b.t.Helper()
	id := b.submit(Request{Filter: f, Options: o})
	defer b.worker()()
	return b.ended(id)
}

func (b *bed) bury(letters ...*schema.Letter) {
	b.t.Helper()
	for _, l := range letters {
		msg, err := deadletter.Message(l)
		b.NoError(err)
		_, err = b.conn.Outbox.PublishWait(b.t.Context(), msg)
		b.NoError(err)
	}
}

func (b *bed) items() (all []Item) {
	b.t.Helper()
	b.NoError(b.box.List(b.t.Context(), Filter{}, func(i Item) error {
		all = append(all, i)
		return nil
	}))
	return all
}

// ids are those in the box, in order.
func (b *bed) ids() (ids []string) {
	b.t.Helper()
	for _, i := range b.items() {
		ids = append(ids, i.Letter.ID)
	}
	return ids
}

func (b *bed) queued() (out []broker.Stored) {
	b.t.Helper()
	b.NoError(b.conn.Scan(b.t.Context(), schema.SendStream(app), broker.ScanOptions{},
		func(s broker.Stored) error {
			out = append(out, s)
			return nil
		}))
	return out
}

// envelopes are those of the replays in the queue, in order.
func (b *bed) envelopes() (out []wire.Envelope) {
	b.t.Helper()
	for _, s := range b.queued() {
		env, err := wire.ParseEnvelope(s.Header, true)
		b.NoError(err)
		out = append(out, env)
	}
	return out
}

func (b *bed) queuedIDs() (ids []string) {
	b.t.Helper()
	for _, env := range b.envelopes() {
		ids = append(ids, env.ID)
	}
	return ids
}

func (b *bed) audited() (out []broker.AuditEntry) {
	b.t.Helper()
	b.NoError(b.conn.Scan(b.t.Context(), wire.StreamAudit, broker.ScanOptions{},
		func(s broker.Stored) error {
			var e broker.AuditEntry
			b.NoError(json.Unmarshal(s.Data, &e))
			out = append(out, e)
			return nil
		}))
	return out
}

// consume empties the queue as workers do.
func (b *bed) consume() {
	b.t.Helper()
	s, err := b.conn.JS.Stream(b.t.Context(), schema.SendStream(app))
	b.NoError(err)
	b.NoError(s.Purge(b.t.Context()))
}

// counts are published, left and gone.
func counts(s Status) []int { return []int{s.Published, s.Left, s.Gone} }

// again is the message that a replay would publish for a letter of which nothing is known.
func again(o Options, item *Item, now time.Time) (*nats.Msg, error) {
	packet, err := o.packet(item)
	if err != nil {
		return nil, err
	}
	return o.message(item, packet, targetOf(item, item.Letter.Reason == schema.ReasonIDReuse), now)
}

// remembering is a ledger that knows some ids.
type remembering map[string]Life

func (r remembering) Want(string, string, time.Time) {}

func (r remembering) Read(context.Context) error { return nil }

func (r remembering) Life(_, id string, _ []byte) (Life, bool) {
	life, ok := r[id]
	return life, ok
}

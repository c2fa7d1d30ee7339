package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/recipients"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app = "wx0000000000000001"

// bed is a broker with one app, and workers that carry out campaigns and send nothing.
type bed struct {
	*require.Assertions
	t      *testing.T
	broker *brokertest.Broker
	conn   *broker.Conn
	ids    func(openID string) string // of the campaign sale

	mu       sync.Mutex
	app      App
	ends     *ends          // of everything that was fed; nil: nobody counts
	carrying func(job.Task) // told of each step that is carried out
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := brokertest.Start(t, app)
	bed := &bed{Assertions: require.New(t), t: t, broker: b, conn: b.Connect(),
		app: App{Room: Room{Most: 1000}}}
	var err error
	bed.ids, err = idsOf(t.Context(), bed.conn, app, "sale", true)
	bed.NoError(err)
	return bed
}

// full limits the app's queue to some intents.
func (b *bed) full(most int64) {
	b.t.Helper()
	spec := brokertest.Spec(app)
	spec.Apps[0].QueueMessages = most
	brokertest.Provision(b.t, b.conn, spec)
}

// rowsOf are the rows of a file.
type rowsOf struct{ rows []recipients.Row }

func (r *rowsOf) Next() (recipients.Row, error) {
	if len(r.rows) == 0 {
		return recipients.Row{}, io.EOF
	}
	row := r.rows[0]
	r.rows = r.rows[1:]
	return row, nil
}

func packetFor(openID string) []byte {
	return []byte(`{"touser":"` + openID + `","msgtype":"text","text":{"content":"sale"}}`)
}

// file is a file with a header and a row for each recipient.
func file(openIDs ...string) *rowsOf {
	r := &rowsOf{}
	for i, id := range openIDs {
		r.rows = append(r.rows, recipients.Row{Number: i, Line: i + 2, OpenID: id, MsgType: "text",
			Packet: packetFor(id)})
	}
	return r
}

func terms() Terms { return Terms{AppID: app, Campaign: "sale", By: "ann@desk"} }

// uploaded uploads a file, which is not ordered yet.
func (b *bed) uploaded(t Terms, openIDs ...string) (Prospect, *Upload) {
	b.t.Helper()
	p, err := Foresee(b.t.Context(), b.conn, t.AppID, t.Campaign)
	b.NoError(err)
	u, err := NewUpload(b.conn, t.AppID, t.Campaign)
	b.NoError(err)
	b.NoError(p.Announce(b.t.Context(), b.conn, t, u))
	_, err = Fill(b.t.Context(), file(openIDs...), u, Filling{Skip: p.Skip()})
	b.NoError(err)
	return p, u
}

// order orders a campaign, and returns its job.
func (b *bed) order(t Terms, openIDs ...string) string {
	b.t.Helper()
	p, u := b.uploaded(t, openIDs...)
	b.NoError(p.Order(b.t.Context(), b.conn, t, File{Digest: "digest", Rows: len(openIDs)}, u))
	return u.ID
}

// alone is a pool of one worker.
type alone struct{}

func (alone) Alive(worker string) bool { return worker == "worker" }
func (alone) First(string) bool        { return true }

// watched tells the bed of steps, and is told by it how what was fed ended.
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

// work is what a worker carries campaigns out with.
func (b *bed) work(conn *broker.Conn) *Work {
	w := NewWork(conn, nil, func(string) App {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.app
	})
	w.ends = func(string, string) (ends, bool) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.ends == nil {
			return ends{}, false
		}
		return *b.ends, true
	}
	w.shown = func(_ context.Context, jobID, appID string) (ends, error) {
		e, _ := w.ends(jobID, appID)
		return e, nil
	}
	return w
}

// end has everything end so from now on.
func (b *bed) end(e ends) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends = &e
}

// worker starts a worker, and returns what stops it.
func (b *bed) worker() (stop func()) {
	b.t.Helper()
	stop, _ = b.runner()
	return stop
}

// runner starts a worker, and returns what stops it, in order or at once with its connection.
func (b *bed) runner() (stop, kill func()) {
	b.t.Helper()
	conn := b.broker.Connect()
	ctx, cancel := context.WithCancel(b.t.Context())
	r := job.NewRunner(conn, "worker", alone{},
		map[job.Kind]job.Work{job.KindCampaign: watched{b.work(conn), b}},
		slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); b.NoError(<-ended) }) }
	kill = func() { once.Do(func() { conn.NC.Close(); cancel(); b.t.Log("killed:", <-ended) }) }
	b.t.Cleanup(stop)
	return stop, kill
}

// job is a job as it stands.
func (b *bed) job(id string) job.Job {
	b.t.Helper()
	j, err := job.Read(b.t.Context(), b.conn, id)
	b.NoError(err)
	return j
}

// until waits for a job to be as f says.
func (b *bed) until(id string, f func(job.Job) bool) (last job.Job) {
	b.t.Helper()
	b.Eventually(func() bool {
		j, err := job.Read(b.t.Context(), b.conn, id)
		if err == nil { // else the broker is away
			last = j
		}
		return err == nil && f(j)
	}, brokertest.Patience, time.Millisecond)
	return last
}

// fed says whether a job has fed so many.
func fed(n int) func(job.Job) bool {
	return func(j job.Job) bool { return j.Counts().Published == n }
}

// isEnded says whether a job has ended.
func isEnded(j job.Job) bool { return !j.Ended.IsZero() }

// queued are the recipients of what the queue holds, in its order. None stands there twice.
func (b *bed) queued() (openIDs []string) {
	b.t.Helper()
	seen := make(map[string]bool)
	o := broker.ScanOptions{Subject: wire.LaneFilter(app, schema.LaneBulk, wire.AnyToken)}
	b.NoError(b.conn.Scan(b.t.Context(), schema.SendStream(app), o, func(s broker.Stored) error {
		var p struct {
			ToUser string `json:"touser"`
		}
		if err := json.Unmarshal(s.Data, &p); err != nil {
			return err
		}
		if seen[p.ToUser] {
			return errors.New(p.ToUser + " is queued twice")
		}
		seen[p.ToUser] = true
		openIDs = append(openIDs, p.ToUser)
		return nil
	}))
	return openIDs
}

// stored is how many chunks are stored.
func (b *bed) stored() int {
	b.t.Helper()
	n, err := b.conn.Count(b.t.Context(), wire.StreamCampaign,
		wire.ChunkFilter(app, wire.AnyToken, wire.AnyToken))
	b.NoError(err)
	return int(n)
}

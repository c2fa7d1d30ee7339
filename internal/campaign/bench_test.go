package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/recipients"
	"github.com/kefuhq/kefu/schema"
)

const benchPacket = `{"msgtype":"text","text":{"content":"{{name}}，您的订单 {{order}} 已发货，预计 {{day}} 送达"}}`

// BenchmarkFile measures the two ways of a file beside the raw asynchronous publish of the same
// packets, one message each, in one run:
//
//	raw     publish of the packets, by who has checked nothing; with fsync, in atomic batches
//	upload  from the bytes of a CSV file to the broker's last answer, all rows checked
//	feed    from the stored chunks to the queue's last answer
//
// It reads KEFU_BENCH_ROWS, 100,000 without it. The broker runs in the same process.
func BenchmarkFile(b *testing.B) {
	n := 100_000
	if s := os.Getenv("KEFU_BENCH_ROWS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(b, err)
	}
	var file bytes.Buffer
	file.WriteString("openid,name,order,day\n")
	for i := range n {
		fmt.Fprintf(&file, "oABCD-%022d,小%d,20261111%06d,周%d\n", i, i, i, i%7)
	}
	for _, fsync := range []bool{false, true} {
		b.Run(fmt.Sprintf("fsync=%t", fsync), func(b *testing.B) {
			bench := bench{b, n, file.Bytes(), fsync}
			for b.Loop() {
				bench.run()
			}
		})
	}
}

type bench struct {
	*testing.B
	rows  int
	file  []byte
	fsync bool
}

func (b bench) run() {
	raw := b.raw(b.broker())
	conn := b.broker()
	u, upload := b.upload(conn)
	feed := b.feed(conn, u)
	perSecond := func(d time.Duration) float64 { return float64(b.rows) / d.Seconds() }
	b.ReportMetric(perSecond(raw), "raw-rows/s")
	b.ReportMetric(perSecond(upload), "upload-rows/s")
	b.ReportMetric(perSecond(feed), "feed-rows/s")
	b.ReportMetric(raw.Seconds()/upload.Seconds(), "upload/raw")
	b.ReportMetric(raw.Seconds()/feed.Seconds(), "feed/raw")
	b.ReportMetric(float64(u.Bytes())/float64(b.rows), "stored-B/row")
}

func (b bench) broker() *broker.Conn {
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{
		Listen: "127.0.0.1:0", SyncAlways: b.fsync,
	})
	require.NoError(b, err)
	b.Cleanup(e.Close)
	conn, err := broker.Connect(b.Context(), broker.Options{URL: e.URL(), Name: "bench"})
	require.NoError(b, err)
	b.Cleanup(conn.Close)
	spec := brokertest.Spec(app)
	spec.Apps[0].QueueMessages, spec.Apps[0].QueueBytes = 100_000_000, 64<<30
	brokertest.Provision(b, conn, spec)
	return conn
}

func (b bench) reader() *recipients.Reader {
	template, err := recipients.ParseTemplate([]byte(benchPacket))
	require.NoError(b, err)
	r, err := recipients.Open(bytes.NewReader(b.file),
		recipients.Options{Name: "users.csv", Template: template})
	require.NoError(b, err)
	return r
}

// raw publishes the packets as they are.
func (b bench) raw(conn *broker.Conn) time.Duration {
	var msgs []*nats.Msg
	reader := b.reader()
	defer reader.Close()
	subject := schema.BulkSubject(app, "raw").String()
	for {
		row, err := reader.Next()
		if err != nil {
			break
		}
		msgs = append(msgs, &nats.Msg{Subject: subject, Data: bytes.Clone(row.Packet),
			Header: nats.Header{schema.HeaderMsgID: {schema.CampaignID(app, "raw", row.OpenID)}}})
	}
	require.Len(b, msgs, b.rows)
	begin := time.Now()
	if b.fsync {
		rawBatches(b, conn, msgs)
	} else {
		js, err := jetstream.New(conn.NC, jetstream.WithPublishAsyncMaxPending(4000))
		require.NoError(b, err)
		for _, m := range msgs {
			_, err := js.PublishMsgAsync(m, jetstream.WithStallWait(brokertest.Patience))
			require.NoError(b, err)
		}
		<-js.PublishAsyncComplete()
	}
	return time.Since(begin)
}

// rawBatches publishes in atomic batches, four at a time.
func rawBatches(b testing.TB, conn *broker.Conn, msgs []*nats.Msg) {
	const most = 1000
	slots := make(chan struct{}, 4)
	var open sync.WaitGroup
	for len(msgs) > 0 {
		batch := msgs[:min(most, len(msgs))]
		msgs = msgs[len(batch):]
		slots <- struct{}{}
		open.Go(func() {
			defer func() { <-slots }()
			id := nuid.Next()
			for i, m := range batch {
				m.Header.Set("Nats-Batch-Id", id)
				m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
				if i == len(batch)-1 {
					m.Header.Set("Nats-Batch-Commit", "1")
				}
				var err error
				if i == 0 || i == len(batch)-1 {
					_, err = conn.NC.RequestMsg(m, brokertest.Patience)
				} else {
					err = conn.NC.PublishMsg(m)
				}
				if err != nil {
					b.Error(err)
				}
			}
		})
	}
	open.Wait()
}

func (b bench) upload(conn *broker.Conn) (*Upload, time.Duration) {
	begin := time.Now()
	reader := b.reader()
	defer reader.Close()
	u, err := NewUpload(conn, app, "double-11")
	require.NoError(b, err)
	_, err = Fill(b.Context(), reader, u, Filling{})
	require.NoError(b, err)
	require.Equal(b, b.rows, u.Rows())
	return u, time.Since(begin)
}

// feed carries out steps of two thousand rows, without a pause between them.
func (b bench) feed(conn *broker.Conn, u *Upload) time.Duration {
	begin := time.Now()
	w := NewWork(conn, nil, func(string) App { return App{} })
	body, err := encodeSpec(spec{Campaign: "double-11", Upload: u.ID})
	require.NoError(b, err)
	order := job.Order{ID: u.ID, Apps: map[string]int{app: b.rows}, Spec: body}
	part := job.Part{Job: u.ID, AppID: app}
	for part.Published < b.rows {
		body, err := json.Marshal(step{
			From: part.Cursor, Rows: min(10_000, b.rows-part.Published), At: time.Now(),
		})
		require.NoError(b, err)
		r, err := w.Carry(b.Context(), context.Background(), job.Task{
			Order: order, Part: part, Step: job.Step{Body: body},
			Pace: rate.NewLimiter(rate.Inf, 0),
		})
		require.NoError(b, err)
		part.Cursor, part.Published = r.Cursor, part.Published+r.Published
	}
	return time.Since(begin)
}

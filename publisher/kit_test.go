package publisher_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

const app = "wx1"

func text(openid, content string) *schema.Packet {
	return &schema.Packet{ToUser: openid, Body: &schema.Text{Content: content}}
}

// raw is a packet as a producer of another language writes it.
func raw(openid, content string) json.RawMessage {
	return fmt.Appendf(nil, `{"touser": %q, "msgtype": "text", "text": {"content": %q}}`, openid,
		content)
}

func newPublisher(
	t testing.TB, js jetstream.JetStream, opts ...publisher.Option,
) *publisher.Publisher {
	t.Helper()
	p, err := publisher.New(js, opts...)
	require.NoError(t, err)
	return p
}

// publishAndWait publishes an intent and waits for its end.
func publishAndWait(
	ctx context.Context, p *publisher.Publisher, packet json.Marshaler,
	opts ...publisher.PublishOption,
) (schema.Receipt, error) {
	a, err := p.Publish(ctx, app, packet, opts...)
	if err != nil {
		return schema.Receipt{ID: a.ID, AppID: a.AppID}, err
	}
	return p.Wait(ctx, a)
}

// queued is what the app's queue holds, in order.
func queued(t testing.TB, conn *broker.Conn) []broker.Stored {
	t.Helper()
	var out []broker.Stored
	add := func(s broker.Stored) error {
		out = append(out, s)
		return nil
	}
	all := broker.ScanOptions{}
	require.NoError(t, conn.Scan(context.Background(), schema.SendStream(app), all, add))
	return out
}

func ids(stored []broker.Stored) []string {
	out := make([]string, len(stored))
	for i, s := range stored {
		out[i] = s.Header.Get(schema.HeaderMsgID)
	}
	return out
}

// send makes the app's stream what the test needs.
func send(t testing.TB, conn *broker.Conn, change func(*jetstream.StreamConfig)) {
	t.Helper()
	cfg := broker.SendStream(brokertest.App(app))
	cfg.Storage, cfg.Replicas, cfg.AllowDirect = jetstream.FileStorage, 1, true
	change(&cfg)
	_, err := conn.JS.CreateOrUpdateStream(t.Context(), cfg)
	require.NoError(t, err)
}

// holds is how many messages the app's queue holds, for goroutines that may not fail the test.
func holds(conn *broker.Conn) int {
	n := 0
	count := func(broker.Stored) error {
		n++
		return nil
	}
	_ = conn.Scan(context.Background(), schema.SendStream(app), broker.ScanOptions{}, count)
	return n
}

// eventually waits until the queue holds n messages; when it never does the test fails for another
// reason.
func eventually(conn *broker.Conn, n int) {
	for began := time.Now(); holds(conn) < n && time.Since(began) < brokertest.Patience; {
		runtime.Gosched()
	}
}

// ear decides what a connection hears: it is asked about each message that comes in, and those that
// it does not want are lost.
type ear struct {
	mu   sync.Mutex
	lose func(payload []byte) bool
	lost int
}

func (e *ear) loses(payload []byte) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lose == nil || !e.lose(payload) {
		return false
	}
	e.lost++
	return true
}

func (e *ear) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost
}

// losing loses the first n messages that contain what.
func losing(n int, what string) *ear {
	return &ear{lose: func(payload []byte) bool {
		if n == 0 || !bytes.Contains(payload, []byte(what)) {
			return false
		}
		n--
		return true
	}}
}

// connect makes a JetStream context over a connection that hears through e.
func (e *ear) connect(t testing.TB, url string, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, append(opts, nats.SetCustomDialer(e))...)
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

// Dial is for nats.go.
func (e *ear) Dial(network, address string) (net.Conn, error) {
	c, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(e.filter(bufio.NewReader(c), w)) }()
	return &filtered{Conn: c, r: r}, nil
}

// filter copies the protocol of a broker, but for messages that are to be lost.
func (e *ear) filter(from *bufio.Reader, to io.Writer) error {
	for {
		line, err := from.ReadString('\n')
		if err != nil {
			return err
		}
		fields := strings.Fields(line)
		if len(fields) > 0 && (fields[0] == "MSG" || fields[0] == "HMSG") {
			n, err := strconv.Atoi(fields[len(fields)-1])
			if err != nil {
				return err
			}
			body := make([]byte, n+len("\r\n"))
			if _, err := io.ReadFull(from, body); err != nil {
				return err
			}
			if e.loses(body) {
				continue
			}
			line += string(body)
		}
		if _, err := io.WriteString(to, line); err != nil {
			return err
		}
	}
}

type filtered struct {
	net.Conn
	r *io.PipeReader
}

func (c *filtered) Read(b []byte) (int, error) { return c.r.Read(b) }

func (c *filtered) Close() error {
	_ = c.r.Close()
	return c.Conn.Close()
}

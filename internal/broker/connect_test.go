package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// logbook is a log that several goroutines write and a test reads.
type logbook struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	lines chan struct{} // one for each line
}

func newLogbook() *logbook { return &logbook{lines: make(chan struct{}, 1000)} }

func (l *logbook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines <- struct{}{}
	return l.buf.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logbook) count(part string) int { return strings.Count(l.String(), part) }

func TestConnectGivesUpWhenNobodyAnswersInTime(t *testing.T) {
	t.Parallel()
	address := brokertest.FreeAddress(t)
	_, err := broker.Connect(t.Context(), broker.Options{
		URL: "nats://someone:secret@" + address, FirstWait: 1500 * time.Millisecond,
	})
	require.ErrorContains(t, err, "no NATS server answers at nats://"+address)
	require.ErrorContains(t, err, "connection refused", "the sentence must say why")
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, err.Error(), "\n")
}

func TestConnectWaitsForABrokerThatComesLaterAndSaysSoOnce(t *testing.T) {
	t.Parallel()
	address := brokertest.FreeAddress(t)
	log := newLogbook()
	type result struct {
		conn *broker.Conn
		err  error
	}
	got := make(chan result, 1)
	go func() {
		conn, err := broker.Connect(t.Context(),
			broker.Options{URL: "nats://" + address, Log: log.logger()})
		got <- result{conn, err}
	}()
	brokertest.Await(t, log.lines, "the first line of the log")
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: address, Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	r := brokertest.Await(t, got, "the connection")
	require.NoError(t, r.err)
	t.Cleanup(r.conn.Close)
	require.Equal(t, 1, log.count("no broker yet"), log.String())
	require.Equal(t, 1, log.count("broker found"), log.String())
	require.True(t, r.conn.Connected())
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	log := newLogbook()
	done := make(chan error, 1)
	go func() {
		_, err := broker.Connect(ctx,
			broker.Options{URL: "nats://" + brokertest.FreeAddress(t), Log: log.logger()})
		done <- err
	}()
	brokertest.Await(t, log.lines, "the first line of the log")
	cancel(fmt.Errorf("told to stop"))
	require.ErrorContains(t, brokertest.Await(t, done, "Connect to return"),
		"no NATS server answers")
}

func TestConnectRefusesAnAddressWithoutShowingIt(t *testing.T) {
	t.Parallel()
	_, err := broker.Connect(t.Context(), broker.Options{URL: "nats://me:pass%zz@host:4222"})
	require.Error(t, err)
	require.NotContains(t, err.Error(), "pass")
	require.NotContains(t, err.Error(), "%zz")
}

func TestConnectRefusesAServerThatIsTooOld(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var served sync.WaitGroup
	t.Cleanup(served.Wait)
	t.Cleanup(func() { _ = l.Close() })
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { oldServer(c) })
		}
	})
	_, err = broker.Connect(t.Context(),
		broker.Options{URL: "nats://" + l.Addr().String(), FirstWait: brokertest.Patience})
	require.ErrorIs(t, err, broker.ErrServerTooOld)
	require.EqualError(t, err, "nats-server too old: this is 2.10.29, kefu needs 2.14.0 or newer")
}

// oldServer speaks as much of the protocol as a client needs to connect.
func oldServer(c net.Conn) {
	defer func() { _ = c.Close() }()
	_, _ = fmt.Fprintf(c,
		`INFO {"server_id":"X","server_name":"old","version":"2.10.29",`+
			`"headers":true,"max_payload":1048576,"proto":1}`+"\r\n")
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "PING") {
			_, _ = fmt.Fprint(c, "PONG\r\n")
		}
	}
}

func TestAnInterruptionIsReportedOnceAndOurOwnCloseNotAtAll(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	log := newLogbook()
	conn := b.ConnectWith(broker.Options{Log: log.logger()})
	back := brokertest.Reconnected(t, conn)
	b.Stop()
	brokertest.Await(t, log.lines, "the line that says it is away")
	require.False(t, conn.Connected())
	b.Start()
	brokertest.Await(t, back, "the reconnect")
	require.True(t, conn.Connected())
	require.Equal(t, 1, log.count("broker away"), log.String())
	require.Equal(t, 1, log.count("broker back"), log.String())

	before := log.String()
	conn.Close()
	require.Equal(t, before, log.String())
}

func TestHooksAreCalledInOrderUntilTheyAreRemoved(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	conn := b.Connect()
	calls := make(chan string, 10)
	remove := conn.OnReconnect(func() { calls <- "first" })
	conn.OnReconnect(func() { calls <- "second" })
	b.Restart()
	require.Equal(t, "first", brokertest.Await(t, calls, "the first hook"))
	require.Equal(t, "second", brokertest.Await(t, calls, "the second hook"))

	remove()
	remove() // twice does no harm
	b.Restart()
	require.Equal(t, "second", brokertest.Await(t, calls, "the hook that is left"))
	require.Empty(t, calls)
}

func TestRedactURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, url, want string }{
		{"an address without a user stays", "nats://h:4222", "nats://h:4222"},
		{"user and password go", "nats://u:p@h:4222", "nats://h:4222"},
		{"a token goes", "tls://token@h:4222", "tls://h:4222"},
		{"every address of a list is redacted",
			"nats://u:p@a:1,nats://b:2,x@c:3", "nats://a:1,nats://b:2,c:3"},
		{"a password may hold the sign that ends it", "nats://u:p@ss@h:4222", "nats://h:4222"},
		{"nothing stays nothing", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, broker.RedactURL(c.url))
		})
	}
}

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, a, b string
		want       int // its sign
	}{
		{"the same", "2.14.0", "2.14.0", 0},
		{"numbers are compared as numbers", "2.9.25", "2.14.0", -1},
		{"a later patch is newer", "2.14.3", "2.14.0", 1},
		{"a major version decides", "3.0.0", "2.14.0", 1},
		{"a release candidate counts as its release", "2.14.0-RC.3", "2.14.0", 0},
		{"a leading v does not matter", "v2.14.0", "2.14.0", 0},
		{"no version is the oldest", "", "2.14.0", -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := broker.CompareVersions(c.a, c.b)
			switch {
			case c.want < 0:
				require.Negative(t, got)
			case c.want > 0:
				require.Positive(t, got)
			default:
				require.Zero(t, got)
			}
		})
	}
}

func TestAskRepeatsWhatWasLostWithTheConnection(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	p := brokertest.NewProxy(t, b)
	conn := p.Connect()
	asked := make(chan struct{}, 10)
	ask := func() <-chan error {
		done := make(chan error, 1)
		go func() {
			done <- conn.Ask(t.Context(), func(ctx context.Context) error {
				asked <- struct{}{}
				_, err := conn.JS.Stream(ctx, schema.StreamDead)
				return err
			})
		}()
		return done
	}
	p.Deafen() // the question is heard, the answer lost
	done := ask()
	brokertest.Await(t, asked, "the question")
	p.Cut()
	p.Mend()
	require.NoError(t, brokertest.Await(t, done, "the answer"))
	brokertest.Await(t, asked, "the question for the second time")

	p.Cut() // there is nobody to ask
	require.Eventually(t, func() bool { return !conn.Connected() }, brokertest.Patience,
		time.Millisecond)
	done = ask()
	brokertest.Await(t, asked, "the question")
	require.Empty(t, done)
	p.Mend()
	require.NoError(t, brokertest.Await(t, done, "the answer"))
	require.Equal(t, 1, conn.Hooks(), "the outbox's alone")
}

func TestAskReturnsWhatTheBrokerSays(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	conn := b.Connect()
	_, err := conn.JS.Stream(t.Context(), "MISSING")
	require.ErrorIs(t, conn.Ask(t.Context(), func(ctx context.Context) error {
		_, err := conn.JS.Stream(ctx, "MISSING")
		return err
	}), err)

	b.Stop()
	require.Eventually(t, func() bool { return !conn.Connected() }, brokertest.Patience,
		time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.Error(t, conn.Ask(ctx, func(ctx context.Context) error {
		_, err := conn.JS.Stream(ctx, "MISSING")
		return err
	}), "its context bounds it")
}

// connectDenied connects to a server of its own, as somebody who may publish
// everything but to some subjects.
func connectDenied(t *testing.T, subjects string) (*broker.Conn, *logbook) {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true,
		StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{subjects}},
		}}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	s.Start()
	require.True(t, s.ReadyForConnections(brokertest.Patience))
	log := newLogbook()
	conn, err := broker.Connect(t.Context(),
		broker.Options{URL: strings.Replace(s.ClientURL(), "nats://", "nats://u:p@", 1),
			Log: log.logger()})
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return conn, log
}

func TestAMissingPermissionIsKnownWithoutTheEndOfItsSubject(t *testing.T) {
	t.Parallel()
	conn, log := connectDenied(t, "kefu.again.>")
	require.Empty(t, conn.Denied())
	require.NoError(t, conn.NC.Publish("kefu.again.wx1.live.oSOMEBODY", nil))
	require.Eventually(t, func() bool { return conn.Denied() != "" }, brokertest.Patience,
		time.Millisecond)
	require.Equal(t, "no permission for publish to kefu.again.>", conn.Denied())
	require.NotContains(t, log.String(), "oSOMEBODY")
}

func TestAForbiddenSubjectIsShownAsFarAsItNamesARight(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, subject, want string }{
		{"a stream to be made",
			"$JS.API.STREAM.CREATE.KEFU_RATE", "$JS.API.STREAM.CREATE.KEFU_RATE"},
		{"a question without a stream", "$JS.API.INFO", "$JS.API.INFO"},
		{"a consumer to be made",
			"$JS.API.CONSUMER.CREATE.KEFU_LEDGER.follow-1.kefu.ledger.*",
			"$JS.API.CONSUMER.CREATE.KEFU_LEDGER.>"},
		{"a durable one", "$JS.API.CONSUMER.DURABLE.CREATE.KEFU_LATER.dispatch",
			"$JS.API.CONSUMER.DURABLE.CREATE.KEFU_LATER.>"},
		{"messages to be pulled",
			"$JS.API.CONSUMER.MSG.NEXT.KEFU_SEND_wx1.live-0",
			"$JS.API.CONSUMER.MSG.NEXT.KEFU_SEND_wx1.>"},
		{"a message to be deleted",
			"$JS.API.STREAM.MSG.DELETE.KEFU_DEAD", "$JS.API.STREAM.MSG.DELETE.KEFU_DEAD"},
		{"a message to be read",
			"$JS.API.DIRECT.GET.KEFU_SEND_wx1.kefu.send.wx1.live.0.oSOMEBODY",
			"$JS.API.DIRECT.GET.KEFU_SEND_wx1.>"},
		{"an acknowledgement", "$JS.ACK.KEFU_LATER.dispatch.1.2.3.4.5", "$JS.ACK.>"},
		{"a message", "kefu.again.wx1.live.oSOMEBODY", "kefu.again.>"},
		{"an inbox", "_INBOX.abc.1", "_INBOX.abc.>"},
	} {
		require.Equal(t, c.want, broker.HeadOf(c.subject), c.name)
	}
}

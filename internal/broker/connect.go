// Package broker is everything kefu knows about NATS JetStream: how to
// connect so that a broker that goes away for minutes is waited for, the
// JetStream objects as data (topology.go), publishing that survives a leader
// change (Outbox), pulling only what can be worked on soon (Puller), reading
// what a stream holds (Scan, Sweep) and what is added to it (Follow), and the embedded
// server of `kefu dev` and small installations.
//
// It knows nothing of WeChat: an intent is bytes on a subject here.
//
//	conn, err := broker.Connect(ctx,
//		broker.Options{URL: "nats://127.0.0.1:4222", Name: "kefu worker"})
//	...
//	defer conn.Close()
//	plan, err := broker.NewPlan(ctx, conn.JS, spec)
package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MinServer is the oldest nats-server that has all kefu relies on (schedules
// with sub-second times, consumer pauses, atomic batches with de-duplication).
const MinServer = "2.14.0"

// ErrServerTooOld says that the broker lacks what kefu relies on.
var ErrServerTooOld = errors.New("nats-server too old")

// Options say where the broker is and how to prove who we are.
type Options struct {
	URL       string // nats://host:port[,…]; not needed with InProcess
	Name      string // shown in the broker's connection list
	CredsFile string // NATS credentials (JWT and seed); "" for none
	CAFile    string // PEM; "" for the system's roots
	CertFile  string // client certificate; with KeyFile
	KeyFile   string

	// InProcess connects to an embedded server without a socket.
	InProcess nats.InProcessConnProvider

	// FirstWait is how long Connect waits for the first connection before it
	// fails. Zero waits until the context ends: right for a daemon.
	FirstWait time.Duration

	// Denied is called with an ErrDenied when the broker forbids something; nil for a
	// daemon, which tries again until somebody has given it the right. It must not block.
	Denied func(error)

	// Log gets one line when the broker goes away and one when it is back.
	Log *slog.Logger
}

// Conn is a connection to the broker and what is built on it.
type Conn struct {
	NC     *nats.Conn
	JS     jetstream.JetStream
	Outbox *Outbox

	log            *slog.Logger
	connected      atomic.Bool               // as nats.go's callbacks say
	changed        chan struct{}             // has a value after connected has become true
	lostAt         atomic.Pointer[time.Time] // when the broker went away last; nil: never
	reachableSince atomic.Pointer[time.Time] // see Since
	refused        atomic.Pointer[error]     // why the last attempt to connect failed
	denied         atomic.Pointer[denial]
	onDenied       func(error)               // Options.Denied
	epoch          atomic.Uint64             // counts reconnects
	movedAt        atomic.Pointer[time.Time] // when it last left a server that answered nothing
	hooks          hooks

	getRefusedAt atomic.Pointer[time.Time] // when Holds was refused, or got no answer, last
	refusal      hooks                     // of what Holds and Sweep ask

	followers sync.Map // *Follower, those that run
}

// Connect dials the broker and waits until it answers, for FirstWait or until
// ctx ends. Later interruptions are waited out for ever: the default of
// nats.go, giving up after two minutes, would turn a broker restart into an
// outage of every worker.
func Connect(ctx context.Context, o Options) (*Conn, error) {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Conn{log: log, changed: make(chan struct{}, 1), onDenied: o.Denied}
	nc, err := nats.Connect(o.URL, c.options(o)...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", redactURL(o.URL), withoutURL(err))
	}
	c.NC = nc
	if err := c.awaitFirst(ctx, o); err != nil {
		nc.Close()
		return nil, err
	}
	if err := checkVersion(nc.ConnectedServerVersion()); err != nil {
		nc.Close()
		return nil, err
	}
	if c.JS, err = jetstream.New(nc, jetstream.WithDefaultTimeout(apiTimeout)); err != nil {
		nc.Close()
		return nil, fmt.Errorf("jetstream: %w", err)
	}
	if c.Outbox, err = newOutbox(nc); err != nil {
		nc.Close()
		return nil, err
	}
	c.hooks.add(c.Outbox.repeatAll)
	return c, nil
}

// apiTimeout bounds one JetStream API request: long enough for a leader
// election, short enough that a person at the terminal is still there.
const apiTimeout = 5 * time.Second

func (c *Conn) options(o Options) []nats.Option {
	opts := []nats.Option{
		nats.Name(o.Name),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 500*time.Millisecond),
		nats.Timeout(dialTimeout),
		// See link: nats.go sets this deadline for each write, link acts on it.
		nats.FlusherTimeout(writeTimeout),
		nats.SetCustomDialer(dialer{c}),
		// A half-open link is noticed after 20 s; the default takes minutes.
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		// Nothing is buffered while the broker is away: a publish then fails at
		// once and the Outbox repeats it, so memory stays bounded by us.
		nats.ReconnectBufSize(-1),
		// Rotated credentials must not end the connection for good.
		nats.IgnoreAuthErrorAbort(),
		nats.DrainTimeout(15 * time.Second),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			c.asyncError(sub, err)
		}),
		nats.LameDuckModeHandler(func(*nats.Conn) { c.leaveLameServer() }),
		nats.ConnectHandler(func(*nats.Conn) { c.markConnected() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.refused.Store(&err) }),
		// Our own Close is no interruption to report.
		nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.markDisconnected(err) }),
		nats.ClosedHandler(func(nc *nats.Conn) { c.markDisconnected(nc.LastError()) }),
		nats.ReconnectHandler(c.reconnected),
	}
	if o.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(o.CredsFile))
	}
	opts = append(opts, o.tls()...)
	if o.InProcess != nil {
		opts = append(opts, nats.InProcessServer(inProcess{o.InProcess, c}))
	}
	return opts
}

// awaitFirst returns when the connection stands. It says once that the broker
// is not there, not every second.
func (c *Conn) awaitFirst(ctx context.Context, o Options) error {
	if o.FirstWait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.FirstWait)
		defer cancel()
	}
	said := false
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for !c.Connected() {
		select {
		case <-c.changed:
		case <-tick.C:
			if !said && o.FirstWait == 0 {
				said = true
				c.log.Warn("no broker yet, trying until there is one", "url", redactURL(o.URL),
					"error", c.lastConnectError())
			}
		case <-ctx.Done():
			err := c.lastConnectError()
			if err == nil {
				err = context.Cause(ctx)
			}
			return fmt.Errorf("no NATS server answers at %s: %w", redactURL(o.URL), err)
		}
	}
	level := slog.LevelDebug
	if said {
		level = slog.LevelInfo
	}
	c.log.Log(ctx, level, "broker found", "server", c.NC.ConnectedServerName())
	return nil
}

// lastConnectError is what the last attempt to connect failed with. LastError of nats.go
// is empty between two attempts.
func (c *Conn) lastConnectError() error {
	if err := c.refused.Load(); err != nil {
		return *err
	}
	return c.NC.LastError()
}

// Close ends the connection. What is still in the outbox fails with ErrClosed.
func (c *Conn) Close() {
	c.Outbox.close()
	c.connected.Store(false) // what follows is no loss of the broker
	c.NC.Close()
}

func checkVersion(version string) error {
	if compareVersions(version, MinServer) < 0 {
		return fmt.Errorf("%w: this is %s, kefu needs %s or newer", ErrServerTooOld,
			version, MinServer)
	}
	return nil
}

// compareVersions compares the first three numbers of two versions; a
// pre-release of a version counts as that version.
func compareVersions(a, b string) int {
	x, y := versionNumbers(a), versionNumbers(b)
	for i := range x {
		if x[i] != y[i] {
			return x[i] - y[i]
		}
	}
	return 0
}

func versionNumbers(v string) [3]int {
	var n [3]int
	core, _, _ := strings.Cut(strings.TrimPrefix(v, "v"), "-")
	for i, part := range strings.SplitN(core, ".", 3) {
		n[i], _ = strconv.Atoi(part)
	}
	return n
}

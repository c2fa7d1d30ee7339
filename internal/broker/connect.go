// Package broker is everything kefu knows about NATS JetStream: how to
// connect so that a broker that goes away for minutes is waited for, the
// JetStream objects as data (topology.go), publishing that survives a leader
// change (Outbox), pulling only what can be worked on soon (Puller), reading
// what a stream holds (Scan) and what is added to it (Follow), and the embedded
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
	"net/url"
	"regexp"
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

	// Log gets one line when the broker goes away and one when it is back.
	Log *slog.Logger
}

// Conn is a connection to the broker and what is built on it.
type Conn struct {
	NC     *nats.Conn
	JS     jetstream.JetStream
	Outbox *Outbox

	log     *slog.Logger
	up      atomic.Bool               // whether the broker is there, as nats.go's callbacks say
	changed chan struct{}             // has a value after up has become true
	gone    atomic.Pointer[time.Time] // when the broker went away last; nil: never
	there   atomic.Pointer[time.Time] // see Since
	refused atomic.Pointer[error]     // why the last attempt to connect failed
	denied  atomic.Pointer[denial]
	epoch   atomic.Uint64             // counts reconnects
	moved   atomic.Pointer[time.Time] // when it last left a server that answered nothing
	hooks   hooks

	unasked atomic.Pointer[time.Time] // when Holds was refused, or got no answer, last
	refusal hooks                     // of what Holds asks

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
	c := &Conn{log: log, changed: make(chan struct{}, 1)}
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
	c.hooks.add(c.Outbox.kick)
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
			// Permission errors arrive here only; the request itself just times out.
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			if errors.Is(err, nats.ErrPermissionViolation) {
				if strings.Contains(err.Error(), `"`+messageGet) {
					c.refusal.run() // whoever asked says so
					return
				}
				err = c.deny(err)
			}
			c.log.Warn("nats", "error", err, "subject", subject)
		}),
		nats.LameDuckModeHandler(func(*nats.Conn) { c.lame() }),
		nats.ConnectHandler(func(*nats.Conn) { c.arrived() }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { c.refused.Store(&err) }),
		// Our own Close is no interruption to report.
		nats.NoCallbacksAfterClientClose(),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { c.departed(err) }),
		nats.ClosedHandler(func(nc *nats.Conn) { c.departed(nc.LastError()) }),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			if c.arrived() {
				c.log.Info("broker back", "server", nc.ConnectedServerName())
			}
			c.epoch.Add(1)
			c.denied.Store(nil) // what is still forbidden will be said again
			c.unasked.Store(nil)
			c.hooks.run()
		}),
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
					"error", c.whyNot())
			}
		case <-ctx.Done():
			err := c.whyNot()
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

// whyNot is what the last attempt to connect failed with. LastError of nats.go
// is empty between two attempts.
func (c *Conn) whyNot() error {
	if err := c.refused.Load(); err != nil {
		return *err
	}
	return c.NC.LastError()
}

// Connected says whether the broker is there, as far as is known. It never
// blocks: nats.go's own IsConnected waits for a lock that is held while
// something is written and while a connection is made.
func (c *Conn) Connected() bool { return c.up.Load() }

// Since is since when the broker has been there, absences of less than
// shortAbsence aside: what was published or asked before must have been answered
// in that time or not at all. It is zero while the broker is away. It never blocks.
func (c *Conn) Since() time.Time {
	if c.up.Load() {
		return value(&c.there)
	}
	return time.Time{}
}

// shortAbsence is how long the broker may be away without a new beginning for
// what waits for it: a connection that breaks again and again and never answers
// must not look fresh each time.
const shortAbsence = 12 * time.Second

// beginning is what Since says from now on, when the broker is back: there is
// what it said before, gone when the broker went away (zero: never).
func beginning(there, gone, now time.Time) time.Time {
	if there.IsZero() || gone.IsZero() || now.Sub(gone) >= shortAbsence {
		return now
	}
	return there
}

// arrived notes that the broker is there. It says whether it was away.
func (c *Conn) arrived() (news bool) {
	at := beginning(value(&c.there), value(&c.gone), time.Now())
	c.there.Store(&at)
	news = !c.up.Swap(true)
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return news
}

func value(at *atomic.Pointer[time.Time]) time.Time {
	if t := at.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// departed notes that the broker is away.
func (c *Conn) departed(err error) {
	if !c.up.Load() {
		return
	}
	now := time.Now()
	c.gone.Store(&now)
	if c.up.Swap(false) {
		c.log.Warn("broker away, trying again until it is back", "error", err)
	}
}

// OnReconnect has f called (from nats.go's callback goroutine; it must not
// block) after each reconnect, until remove is called. A call that has begun
// may still be running when remove returns.
func (c *Conn) OnReconnect(f func()) (remove func()) { return c.hooks.add(f) }

// denial is what the broker said last about a missing permission.
type denial struct {
	at  time.Time
	why string
}

// denied is for how long a missing permission counts: what is forbidden is
// tried again within AckWait, and nothing tells of a permission that was given.
const denied = 20 * time.Second

var forbidden = regexp.MustCompile(`(Publish|Subscription) to "([^"]*)"`)

// deny notes a missing permission, by the head of the subject only: its tail may
// be an openid, or differ for each message. Of the JetStream API it is the
// request and the stream, which an operator has to know.
func (c *Conn) deny(err error) error {
	why := "a permission is missing"
	if m := forbidden.FindStringSubmatch(err.Error()); m != nil {
		why = fmt.Sprintf("no permission for %s to %s", strings.ToLower(m[1]), head(m[2]))
	}
	c.denied.Store(&denial{time.Now(), why})
	return errors.New(why)
}

// head is the part of a subject that may be shown.
func head(subject string) string {
	tokens := strings.Split(subject, ".")
	n := 2
	if strings.HasPrefix(subject, "$JS.API.") {
		n = 5 // $JS.API.STREAM.CREATE.<stream>
		if len(tokens) > 3 && (tokens[3] == "MSG" || tokens[3] == "DURABLE") {
			n = 6 // $JS.API.CONSUMER.MSG.NEXT.<stream>
		}
		if len(tokens) <= n {
			return subject
		}
	}
	return strings.Join(tokens[:min(len(tokens), n)], ".") + ".>"
}

// Denied is what the broker forbade lately; "" for nothing. It
// says so asynchronously only: a forbidden acknowledgement looks like one that
// was made.
func (c *Conn) Denied() string {
	if d := c.denied.Load(); d != nil && time.Since(d.at) < denied {
		return d.why
	}
	return ""
}

// Ask calls f, which asks the JetStream API for something, and calls it again
// when the connection was lost under it, until ctx ends: what was asked before a
// reconnect is never answered, and waiting for it costs seconds. f must bear to
// be called twice.
func (c *Conn) Ask(ctx context.Context, f func(context.Context) error) error {
	for {
		until, end := c.untilReconnect(ctx)
		err := f(until)
		if err != nil && ctx.Err() == nil && !c.NC.IsConnected() && !c.NC.IsClosed() {
			<-until.Done() // no use to ask before
		}
		// A request that was refused for want of a connection may find one by now.
		lost := errors.Is(context.Cause(until), errReconnected) || errors.Is(reading(err), ErrAway)
		end(nil)
		if ctx.Err() != nil {
			return err
		}
		if err == nil || !lost {
			return err
		}
	}
}

// untilReconnect returns a context that ends at the next reconnect. end must
// be called.
func (c *Conn) untilReconnect(
	ctx context.Context,
) (until context.Context, end context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	remove := c.OnReconnect(func() { cancel(errReconnected) })
	return ctx, func(cause error) {
		remove()
		cancel(cause)
	}
}

var errReconnected = errors.New("the connection to the broker was lost meanwhile")

// Close ends the connection. What is still in the outbox fails with ErrClosed.
func (c *Conn) Close() {
	c.Outbox.close()
	c.up.Store(false) // what follows is no loss of the broker
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

// withoutURL keeps an address, which may hold a password, out of an error.
func withoutURL(err error) error {
	var bad *url.Error
	if errors.As(err, &bad) {
		return errors.New("this is no address")
	}
	return err
}

// redactURL drops user and password of every address in a comma-separated list.
func redactURL(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		if at := strings.LastIndexByte(p, '@'); at >= 0 {
			scheme := ""
			if s := strings.Index(p, "://"); s >= 0 {
				scheme = p[:s+3]
			}
			parts[i] = scheme + p[at+1:]
		}
	}
	return strings.Join(parts, ",")
}

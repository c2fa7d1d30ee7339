package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// FollowOptions choose what a Follower reads.
type FollowOptions struct {
	Subject string // filter; "" for all

	// Latest begins with the newest message of each subject, as a key-value
	// watch does, and does so again after each interruption; otherwise everything
	// is read once, from the oldest on.
	Latest bool

	// Anew is called when the stream is not what it was: made anew, or (noticed
	// without Latest only) cut back by a power failure. It is then read from its
	// beginning once more, and what was written to it lately may be lost.
	Anew func()

	// Begun is called before each reading: when the stream was made, and the sequence
	// of its last message. After Anew it is called before anything is read again.
	Begun func(made time.Time, last uint64)

	Log *slog.Logger

	begin, end func()        // around each reading of what stands; with Latest
	expires    time.Duration // of a request for more
}

// Follower reads a stream with limits retention in order and goes on reading
// what is added, over reconnects and restarts of the broker.
//
// It is not built on nats.go's ordered consumer: that one heals itself in a
// goroutine of its own, so that two messages can be handled at once and Stop
// can take many seconds. Here one goroutine does everything.
type Follower struct {
	conn   *Conn
	stream string
	opts   FollowOptions
	f      func(Stored)

	caughtUp chan struct{} // closed when what was stored at the beginning has been read
	kick     chan struct{}
	stop     context.CancelFunc
	done     chan struct{}

	unread atomic.Pointer[Unread] // nil while the broker hands out messages or gives signs of life

	// the reading goroutine's
	created time.Time // of the stream
	last    Stored    // the newest message that was read; only its sequence and time
	shorter int       // how many times in a row the stream ended before it
}

// Reasons why a reader is replaced by another.
var (
	errGap  = errors.New("a message was lost on its way")
	errAnew = errors.New("the stream is not what it was")

	errShorter = errors.New("the stream seems to be shorter than it was")
)

const (
	followAhead  = 1000                   // messages on their way
	followLeft   = time.Minute            // after which the broker forgets a silent follower
	followRepeat = 250 * time.Millisecond // between two tries to begin
	followQuiet  = 200 * time.Millisecond // of silence before a follower asks for more
	followSure   = 3                      // looks at a stream that seems shorter than it was
	followOpen   = 2 * time.Second        // for one try to begin; without a leader no answer comes
)

// Follow calls f for each message of a stream, one after the other, and
// returns when everything that was stored before has been passed to f. f must
// not block for long, and must not call Stop.
func (c *Conn) Follow(
	ctx context.Context, stream string, o FollowOptions, f func(Stored),
) (*Follower, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.expires = cmp.Or(o.expires, pullExpires)
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &Follower{
		conn: c, stream: stream, opts: o, f: f,
		caughtUp: make(chan struct{}), kick: make(chan struct{}, 1), stop: stop,
		done: make(chan struct{}),
	}
	unhook := c.OnReconnect(w.reconnected)
	var first *reader
	err := c.Ask(ctx, func(ctx context.Context) (err error) {
		first, err = w.open(ctx)
		return err
	})
	if err != nil {
		unhook()
		stop()
		return nil, fmt.Errorf("follow %s: %w", stream, explain(err))
	}
	c.followers.Store(w, true)
	go w.run(run, first, unhook)
	select {
	case <-w.caughtUp:
		return w, nil
	case <-ctx.Done():
		w.Stop()
		return nil, fmt.Errorf("follow %s: not read to its end yet: %w", stream, context.Cause(ctx))
	}
}

// Unread says that a stream that is followed cannot be read.
type Unread struct {
	Stream string
	Since  time.Time
	Why    string
}

// Unread lists the followers that cannot read. It never blocks. One that has
// just begun again is among them until the first message or heartbeat.
func (c *Conn) Unread() []Unread {
	var out []Unread
	c.followers.Range(func(w, _ any) bool {
		if u := w.(*Follower).unread.Load(); u != nil {
			out = append(out, *u)
		}
		return true
	})
	return out
}

// fell notes that nothing can be read, and why.
func (w *Follower) fell(err error) {
	u := &Unread{Stream: w.stream, Since: time.Now(), Why: explain(err).Error()}
	if before := w.unread.Load(); before != nil {
		u.Since = before.Since
	}
	w.unread.Store(u)
}

// heard notes a message or a sign of life.
func (w *Follower) heard() {
	if w.unread.Load() != nil {
		w.unread.Store(nil)
	}
}

// Stop ends following; f is not called any more when it returns.
func (w *Follower) Stop() {
	w.stop()
	<-w.done
}

// reconnected has the reader replaced at once: the broker may have restarted,
// and its consumer with it.
func (w *Follower) reconnected() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

func (w *Follower) run(ctx context.Context, r *reader, unhook func()) {
	defer close(w.done)
	defer unhook()
	defer w.conn.followers.Delete(w)
	for {
		begun := time.Now()
		var err error
		if r != nil {
			err = w.read(ctx, r)
			r.close()
			w.fell(err)
			w.opts.Log.Debug("follow", "stream", w.stream, "again", err)
		}
		if ctx.Err() == nil &&
			(err == nil || time.Since(begun) > followRepeat || errors.Is(err, errReconnected)) {
			if r, err = w.reopen(ctx); err == nil {
				continue
			}
			w.fell(err)
			w.opts.Log.Debug("follow", "stream", w.stream, "error", err)
		}
		r = nil
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		case <-time.After(followRepeat): // nor when every consumer ends at once
		}
	}
}

func (w *Follower) reopen(ctx context.Context) (*reader, error) {
	select {
	case <-w.kick: // what it would say is done now
	default:
	}
	ctx, end := w.conn.untilReconnect(ctx)
	defer end(nil)
	ctx, cancel := context.WithTimeout(ctx, followOpen)
	defer cancel()
	return w.open(ctx)
}

// reader is one consumer, from its making to its end.
type reader struct {
	w       *Follower
	api     string // end of its API subjects: stream.consumer
	inbox   string
	sub     *nats.Subscription
	initial uint64 // messages that stood when it was made
	order   uint64 // of the last message
	open    int    // messages that were asked for and have not come
	stands  bool   // everything that stood has been read
}

// open makes a consumer that begins where the last one ended.
func (w *Follower) open(ctx context.Context) (*reader, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	stream, err := w.conn.JS.Stream(ctx, w.stream)
	if err != nil {
		return nil, err
	}
	info := stream.CachedInfo()
	switch {
	case !w.created.IsZero() && !info.Created.Equal(w.created):
		w.anew()
	case info.State.LastSeq < w.last.Seq:
		// A leader that has just come into office may not know all of it yet.
		if w.shorter++; w.shorter < followSure {
			return nil, errShorter
		}
		w.anew()
	}
	w.created, w.shorter = info.Created, 0
	cfg := jetstream.ConsumerConfig{
		Name:              "follow-" + nuid.Next(),
		FilterSubject:     w.opts.Subject,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: followLeft,
	}
	switch {
	case w.opts.Latest:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
		if cfg.FilterSubject == "" {
			cfg.FilterSubject = ">"
		}
	case w.last.Seq > 0:
		// With the last message once more, to see that it is still the same.
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, w.last.Seq
	}
	consumer, err := w.conn.JS.CreateConsumer(ctx, w.stream, cfg)
	if err != nil {
		return nil, err
	}
	r := &reader{w: w, api: w.stream + "." + cfg.Name, inbox: w.conn.NC.NewInbox(),
		initial: consumer.CachedInfo().NumPending}
	if r.sub, err = w.conn.NC.SubscribeSync(r.inbox); err != nil {
		return nil, err
	}
	if err := r.sub.SetPendingLimits(-1, -1); err != nil {
		r.close()
		return nil, err
	}
	if w.opts.Begun != nil {
		w.opts.Begun(info.Created, info.State.LastSeq)
	}
	return r, nil
}

// close has the broker forget the consumer, as well as a connection allows.
func (r *reader) close() {
	_ = r.w.conn.NC.PublishRequest("$JS.API.CONSUMER.DELETE."+r.api, r.inbox, nil)
	_ = r.sub.Unsubscribe()
}

// anew begins from the beginning.
func (w *Follower) anew() {
	w.last = Stored{}
	if w.opts.Anew != nil {
		w.opts.Anew()
	}
}

// read passes on what a consumer hands out, until it can give no more.
func (w *Follower) read(ctx context.Context, r *reader) error {
	ctx, end := w.conn.untilReconnect(ctx)
	defer end(nil)
	select {
	case <-w.kick: // while the consumer was being made
		return errReconnected
	default:
	}
	watchdog := time.AfterFunc(silence, func() { end(ErrSilent) })
	defer watchdog.Stop()
	if w.opts.begin != nil {
		w.opts.begin()
	}
	r.stood(r.initial == 0)
	for {
		if err := r.ask(); err != nil {
			return err
		}
		m, err := r.wait(ctx)
		if err != nil {
			return err
		}
		watchdog.Reset(silence)
		if ctx.Err() != nil { // a message that is there already goes before the end of the context
			return context.Cause(ctx)
		}
		if m == nil {
			continue // nothing for a moment
		}
		if m.Reply == "" {
			if err := r.status(m); err != nil {
				return err
			}
			w.heard()
			continue
		}
		w.heard()
		if err := w.take(r, m); err != nil {
			return err
		}
	}
}

// ask keeps messages coming.
func (r *reader) ask() error {
	if r.open > followAhead/2 {
		return nil
	}
	batch := followAhead - r.open
	if err := r.w.conn.NC.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+r.api, r.inbox,
		pullRequest(batch, r.w.opts.expires, min(pullHeartbeat, r.w.opts.expires/2))); err != nil {
		return err
	}
	r.open += batch
	return nil
}

// wait gets the next message. While what stands has not all been read it looks
// every now and then whether the rest is still there: what is deleted or runs
// out before it was handed out never comes.
func (r *reader) wait(ctx context.Context) (*nats.Msg, error) {
	if r.stands {
		m, err := r.sub.NextMsgWithContext(ctx)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return m, reading(err)
	}
	m, err := r.sub.NextMsg(followQuiet)
	switch {
	case err == nil:
		return m, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case !errors.Is(err, nats.ErrTimeout):
		return nil, reading(err)
	}
	consumer, err := r.w.conn.JS.Consumer(ctx, r.w.stream, r.api[len(r.w.stream)+1:])
	if err != nil {
		return nil, err
	}
	// What the broker sent before this answer is here already.
	waiting, _, err := r.sub.Pending()
	if err != nil {
		return nil, err
	}
	r.stood(consumer.CachedInfo().NumPending == 0 && waiting == 0)
	return nil, nil
}

// stood notes that everything that stood when the reader began has been read.
func (r *reader) stood(all bool) {
	if !all || r.stands {
		return
	}
	r.stands = true
	if r.w.opts.end != nil {
		r.w.opts.end()
	}
	select {
	case <-r.w.caughtUp:
	default:
		close(r.w.caughtUp)
	}
}

func (r *reader) status(m *nats.Msg) error {
	switch status := m.Header.Get("Status"); status {
	case "100":
		return nil
	case "408":
		if left, ok := unserved(m); ok {
			r.open = max(r.open-left, 0)
		} else {
			r.open = 0
		}
		return nil
	default:
		return fmt.Errorf("%w: %s %s", ErrConsumerGone, status, m.Header.Get("Description"))
	}
}

func (w *Follower) take(r *reader, m *nats.Msg) error {
	d, ok := ParseDelivery(m.Reply)
	if !ok {
		return fmt.Errorf("unreadable ack subject %s", strconv.Quote(m.Reply))
	}
	r.open--
	r.order++
	if d.Order != r.order {
		return errGap
	}
	switch s := (Stored{Subject: m.Subject, Seq: d.Seq, Time: d.Stored, Header: m.Header,
		Data: m.Data}); {
	case w.opts.Latest:
		w.f(s)
	case d.Seq == w.last.Seq:
		if !d.Stored.Equal(w.last.Time) {
			w.anew()
			return errAnew
		}
	default:
		w.last.Seq, w.last.Time = d.Seq, d.Stored
		w.f(s)
	}
	r.stood(d.Pending == 0 || r.order >= r.initial)
	return nil
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

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
	followLooks  = 3                      // looks at a stream that seems shorter than it was
	followOpen   = 2 * time.Second        // for one try to begin; without a leader no answer comes
)

// reader is one consumer, from its making to its end.
type reader struct {
	w        *Follower
	api      string // end of its API subjects: stream.consumer
	inbox    string
	sub      *nats.Subscription
	initial  uint64 // messages that stood when it was made
	order    uint64 // of the last message
	open     int    // messages that were asked for and have not come
	caughtUp bool   // everything that stood has been read
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
	case w.created.IsZero() && w.opts.New:
		w.last.Seq, w.last.Time = info.State.LastSeq, info.State.LastTime
	case !w.created.IsZero() && !info.Created.Equal(w.created):
		w.anew()
	case info.State.LastSeq < w.last.Seq:
		// A leader that has just come into office may not know all of it yet.
		if w.shortReads++; w.shortReads < followLooks {
			return nil, errShorter
		}
		w.anew()
	}
	w.created, w.shortReads = info.Created, 0
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
	case !w.from.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &w.from
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

// anew begins from the beginning, or, when that was not asked for, after what
// was read.
func (w *Follower) anew() {
	if !w.last.Time.IsZero() && (w.opts.New || !w.opts.Since.IsZero()) {
		w.from = w.last.Time.Add(1)
	}
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
	case <-w.wake: // while the consumer was being made
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
	if r.caughtUp {
		m, err := r.sub.NextMsgWithContext(ctx)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return m, readError(err)
	}
	m, err := r.sub.NextMsg(followQuiet)
	switch {
	case err == nil:
		return m, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case !errors.Is(err, nats.ErrTimeout):
		return nil, readError(err)
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
	if !all || r.caughtUp {
		return
	}
	r.caughtUp = true
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
		if left, ok := undelivered(m); ok {
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

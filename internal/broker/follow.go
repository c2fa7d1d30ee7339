package broker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// FollowOptions choose what a Follower reads.
type FollowOptions struct {
	Subject string // filter; "" for all

	// Latest begins with the newest message of each subject, as a key-value
	// watch does; otherwise everything is read from the oldest on.
	Latest bool

	Log *slog.Logger
}

// Follower reads a stream in order and goes on reading what is added, over
// reconnects and restarts of the broker.
type Follower struct {
	conn   *Conn
	stream string
	opts   FollowOptions
	f      func(jetstream.Msg, Delivery)

	mu       sync.Mutex
	next     uint64        // sequence to go on from; 0 before the first message
	caughtUp chan struct{} // closed when what was stored at the beginning has been read
	kick     chan struct{}
	stop     context.CancelFunc
	done     chan struct{}
}

// Follow calls f for each message of a stream, one after the other, and
// returns when everything that was stored before has been passed to f. f must
// not block for long.
func (c *Conn) Follow(ctx context.Context, stream string, o FollowOptions, f func(jetstream.Msg, Delivery)) (*Follower, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &Follower{
		conn: c, stream: stream, opts: o, f: f,
		caughtUp: make(chan struct{}), kick: make(chan struct{}, 1), stop: stop, done: make(chan struct{}),
	}
	first, err := w.open(ctx)
	if err != nil {
		stop()
		return nil, fmt.Errorf("follow %s: %w", stream, explain(err))
	}
	c.OnReconnect(func() {
		select {
		case w.kick <- struct{}{}:
		default:
		}
	})
	go w.run(run, first)
	select {
	case <-w.caughtUp:
		return w, nil
	case <-ctx.Done():
		w.Stop()
		return nil, fmt.Errorf("follow %s: not read to its end yet: %w", stream, context.Cause(ctx))
	}
}

// Stop ends following; f is not called any more when it returns.
func (w *Follower) Stop() {
	w.stop()
	<-w.done
}

func (w *Follower) run(ctx context.Context, reader jetstream.ConsumeContext) {
	defer close(w.done)
	for {
		select {
		case <-ctx.Done():
		case <-w.kick: // the broker may have restarted, and the reader's consumer with it
		case <-reader.Closed():
		}
		reader.Stop()
		<-reader.Closed()
		for {
			if ctx.Err() != nil {
				return
			}
			var err error
			if reader, err = w.open(ctx); err == nil {
				break
			}
			w.opts.Log.Debug("follow", "stream", w.stream, "error", err)
			select {
			case <-ctx.Done():
			case <-w.kick:
			case <-time.After(250 * time.Millisecond):
			}
		}
	}
}

func (w *Follower) open(ctx context.Context) (jetstream.ConsumeContext, error) {
	wait, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if w.opts.Subject != "" {
		cfg.FilterSubjects = []string{w.opts.Subject}
	}
	w.mu.Lock()
	switch next := w.next; {
	case next > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, next
	case w.opts.Latest:
		cfg.DeliverPolicy = jetstream.DeliverLastPerSubjectPolicy
		if w.opts.Subject == "" {
			cfg.FilterSubjects = []string{">"}
		}
	}
	w.mu.Unlock()
	consumer, err := w.conn.JS.OrderedConsumer(wait, w.stream, cfg)
	if err != nil {
		return nil, err
	}
	if consumer.CachedInfo().NumPending == 0 {
		w.arrived()
	}
	return consumer.Consume(w.take,
		jetstream.PullMaxMessages(2000),
		jetstream.PullExpiry(pullExpires),
		jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			w.opts.Log.Debug("follow", "stream", w.stream, "error", err)
		}))
}

func (w *Follower) take(m jetstream.Msg) {
	d, ok := ParseDelivery(m.Reply())
	if !ok {
		return
	}
	w.mu.Lock()
	stale := d.Seq < w.next // read before the reader was opened anew
	if !stale {
		w.next = d.Seq + 1
	}
	w.mu.Unlock()
	if stale {
		return
	}
	w.f(m, d)
	if d.Pending == 0 {
		w.arrived()
	}
}

func (w *Follower) arrived() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.caughtUp:
	default:
		close(w.caughtUp)
	}
}

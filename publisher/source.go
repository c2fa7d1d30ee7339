package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// from is where to begin to read; its zero value: at what is new.
type from struct {
	seq  uint64    // here
	time time.Time // or then
	all  bool      // or at the oldest
}

func (f from) apply(cfg *jetstream.ConsumerConfig) {
	switch {
	case f.seq > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, f.seq
	case !f.time.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &f.time
	case f.all:
		cfg.DeliverPolicy = jetstream.DeliverAllPolicy
	default:
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	}
}

// source reads the receipts of an app in order, through a consumer that nobody
// else has. Any doubt that one is missing ends it, be it a gap or a connection
// that broke; who wants to go on opens another behind the last sequence.
//
// It is what nats.go's ordered consumer is, but for the end: that one's Stop may
// wait for 20 s while the broker is away.
type source struct {
	p    *Publisher
	name string
	it   jetstream.MessagesContext

	life context.Context // ends with the source's owner, or the connection
	end  context.CancelCauseFunc
	done chan struct{}

	start   uint64 // sequence of the first that it may read
	pending uint64 // how many there were when it was opened
	read    uint64
}

// storedReceipt is a message as the source reads it.
type storedReceipt struct {
	data    []byte
	seq     uint64
	pending uint64 // how many are behind it
}

var (
	errGap         = errors.New("receipts went missing on the way")
	errInterrupted = errors.New("the connection to the broker broke")
)

// sourceIdle is after what time the broker removes the consumer of a source
// that could not say that it is done.
const sourceIdle = 30 * time.Second

// open begins to read. ctx is for the source's whole life.
func (p *Publisher) open(ctx context.Context, appID string, from from) (*source, error) {
	if err := schema.CheckToken("appid", appID); err != nil {
		return nil, err
	}
	cfg := jetstream.ConsumerConfig{
		FilterSubject:     "kefu.receipt." + appID + ".*",
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: sourceIdle,
	}
	from.apply(&cfg)
	s := &source{p: p, done: make(chan struct{})}
	s.life, s.end = context.WithCancelCause(ctx)
	broken := p.nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	go s.guard(broken)
	if err := s.begin(cfg); err != nil {
		s.close()
		return nil, fmt.Errorf("read receipts of app %s: %w", appID, err)
	}
	return s, nil
}

// guard ends the source when the connection breaks: what was on its way to us
// then is gone, and the consumer takes it for delivered.
func (s *source) guard(broken chan nats.Status) {
	defer close(s.done)
	defer s.p.nc.RemoveStatusListener(broken)
	select {
	case <-broken:
		s.end(errInterrupted)
	case <-s.life.Done():
	}
}

func (s *source) begin(cfg jetstream.ConsumerConfig) error {
	consumer, err := s.p.js.CreateConsumer(s.life, schema.StreamReceipt, cfg)
	if err != nil {
		return s.because(err)
	}
	info := consumer.CachedInfo()
	s.name, s.start, s.pending = info.Name, info.Delivered.Stream+1, info.NumPending
	// The heartbeat tells of a consumer that is gone: two missing ones end Next.
	s.it, err = consumer.Messages(jetstream.PullMaxMessages(2000), jetstream.PullExpiry(30*time.Second),
		jetstream.PullHeartbeat(5*time.Second), jetstream.WithMessagesErrOnMissingHeartbeat(true))
	return err
}

// next waits for the next receipt. After an error the source is of no use.
func (s *source) next() (storedReceipt, error) {
	m, err := s.it.Next(jetstream.NextContext(s.life))
	if err != nil {
		return storedReceipt{}, s.because(err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return storedReceipt{}, err
	}
	if s.read++; meta.Sequence.Consumer != s.read {
		return storedReceipt{}, errGap
	}
	return storedReceipt{data: m.Data(), seq: meta.Sequence.Stream, pending: meta.NumPending}, nil
}

// because prefers why the source's life ended to what that led to.
func (s *source) because(err error) error {
	if cause := context.Cause(s.life); cause != nil {
		return cause
	}
	return err
}

func (s *source) close() {
	s.end(context.Canceled)
	<-s.done
	if s.it != nil {
		s.it.Stop()
	}
	if s.name != "" && s.p.nc.IsConnected() {
		// A thousand consumers is all that a stream takes.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.life), time.Second)
		defer cancel()
		_ = s.p.js.DeleteConsumer(ctx, schema.StreamReceipt, s.name) // it goes by itself after sourceIdle
	}
}

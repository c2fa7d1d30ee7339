package publisher

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
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

func at(seq uint64) from     { return from{seq: seq} }
func since(t time.Time) from { return from{time: t} }

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

// source reads the receipts of an app in order, through a consumer that nobody else has. Any doubt
// that one is missing ends it, be it a gap or a connection that broke; who wants to go on opens
// another.
//
// It is what nats.go's ordered consumer is, but for the end: that one's Stop may wait for 20 s
// while the broker is away.
//
// The Follower of internal/broker is the same for kefu itself. They stay apart as the two
// publishing engines do, see courier.
type source struct {
	p       *Publisher
	subject string // what it reads
	name    string
	ahead   int // how many receipts may be on their way to us

	consumer jetstream.Consumer
	it       jetstream.MessagesContext // nil until next is called
	// The source ended before the broker said whether it has made the consumer.
	unanswered bool

	life context.Context // ends with the source's owner, or the connection
	end  context.CancelCauseFunc
	done chan struct{}

	start   uint64        // sequence of the first that it may read
	pending uint64        // how many there were when it was opened
	opened  time.Time     // when that was, on the broker's clock
	clock   time.Duration // how far the broker's clock is ahead of ours
	read    uint64

	missed *Missed // what it cannot read any more, if it was to go on from a position
}

// storedReceipt is a message as the source reads it.
type storedReceipt struct {
	data    []byte
	seq     uint64
	time    time.Time // when it was stored, on the broker's clock
	pending uint64    // how many are behind it
}

var (
	errGap         = errors.New("receipts went missing on the way")
	errInterrupted = errors.New("the connection to the broker broke")
	errIdle        = errors.New("no receipt came")
)

const (
	// sourceIdle is after what time the broker removes the consumer of a source that could not say
	// that it is done. How long a reader is away does not matter: it opens another source.
	sourceIdle = 30 * time.Second

	// heartbeat is how often the broker shows that a consumer is there. Two that are missing end
	// the source.
	heartbeat = 5 * time.Second

	// deniedEvery is how often it is looked whether the broker has refused a permission: it tells
	// the connection only.
	deniedEvery = 100 * time.Millisecond

	// manyAhead is how many receipts may be on their way to us.
	manyAhead = 2000
)

// open begins to read what is published to a subject, see receiptsOf. ctx is for the source's whole
// life.
func (p *Publisher) open(
	ctx context.Context, subject string, from from, ahead int,
) (*source, error) {
	// The name is the only thing between the receipts and whoever else may read from consumers of
	// the stream: nobody can guess it.
	s := &source{
		p: p, subject: subject, name: rand.Text(), ahead: ahead, done: make(chan struct{}),
	}
	cfg := jetstream.ConsumerConfig{
		Name:              s.name,
		FilterSubject:     subject,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: p.idle,
	}
	from.apply(&cfg)
	s.life, s.end = context.WithCancelCause(ctx)
	broken := p.nc.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	go s.guard(broken, p.nc.LastError())
	if err := s.begin(cfg); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// receiptsOf is what the receipts of an app are published to, or those of one state. A permission to
// create consumers can be given for this filter. The appid must be a token.
func receiptsOf(appID string, state schema.State) string {
	if state == "" {
		return "kefu.receipt." + appID + ".*"
	}
	return schema.ReceiptSubject(appID, state)
}

// guard ends the source when the connection breaks: what was on its way to us then is gone, and the
// consumer takes it for delivered. It also ends it when the broker refuses a permission that it
// needs.
func (s *source) guard(broken chan nats.Status, said error) {
	defer close(s.done)
	defer s.p.nc.RemoveStatusListener(broken)
	look := time.NewTicker(deniedEvery)
	defer look.Stop()
	for {
		select {
		case <-broken:
			s.end(errInterrupted)
			return
		case <-look.C:
			err := s.p.nc.LastError()
			if err != said { //nolint:errorlint // the very same error is one from before
				said = err
				s.checkDenied(err)
			}
		case <-s.life.Done():
			return
		}
	}
}

// checkDenied ends the source when the connection's last error is about it.
func (s *source) checkDenied(err error) {
	api := s.p.apiPrefix() + "CONSUMER."
	if !violates(err, `Publish to "`+api) || !strings.Contains(err.Error(), s.name) {
		return
	}
	need := api + "CREATE." + schema.StreamReceipt + ".*." + s.subject
	if strings.Contains(err.Error(), ".MSG.NEXT.") {
		need = api + "MSG.NEXT." + schema.StreamReceipt + ".*"
	}
	s.end(&refusal{is: ErrForbidden, text: "this connection may not publish to " + need})
}

func (s *source) begin(cfg jetstream.ConsumerConfig) error {
	consumer, err := s.p.js.CreateConsumer(s.life, schema.StreamReceipt, cfg)
	if err != nil {
		s.unanswered = s.life.Err() != nil
		if s.p.inboxRefused() {
			err = withRefusedInbox(err)
		}
		return s.cause(err)
	}
	info := consumer.CachedInfo()
	s.consumer, s.start, s.pending = consumer, info.Delivered.Stream+1, info.NumPending
	s.opened, s.clock = info.TimeStamp, time.Until(info.TimeStamp)
	return nil
}

// poll returns the next receipt, nil when none is stored. Either shows that the broker lets this
// source read, which an app without new receipts would not show before the first heartbeat. After
// next it must not be called any more.
func (s *source) poll() (*storedReceipt, error) {
	ctx, cancel := context.WithTimeout(s.life, 2*heartbeat)
	defer cancel()
	subject := s.p.apiPrefix() + "CONSUMER.MSG.NEXT." + schema.StreamReceipt + "." + s.name
	m, err := s.p.nc.RequestWithContext(ctx, subject, []byte(`{"batch":1,"no_wait":true}`))
	if err != nil {
		return nil, s.cause(err)
	}
	if status := m.Header.Get("Status"); len(m.Data) == 0 && status != "" {
		if status == "404" {
			return nil, nil
		}
		return nil, fmt.Errorf("the broker answered %s %s", status, m.Header.Get("Description"))
	}
	meta, err := m.Metadata()
	if err != nil {
		return nil, err
	}
	r, err := s.accept(m.Data, &jetstream.MsgMetadata{
		Sequence:  jetstream.SequencePair(meta.Sequence),
		Timestamp: meta.Timestamp, NumPending: meta.NumPending,
	})
	return &r, err
}

// next waits for the next receipt. After an error the source is of no use.
func (s *source) next() (storedReceipt, error) { return s.nextIn(s.life) }

// nextWithin is next that returns errIdle when no receipt has come for so long. The source may be
// used after that.
func (s *source) nextWithin(patience time.Duration) (storedReceipt, error) {
	ctx, cancel := context.WithTimeout(s.life, patience)
	defer cancel()
	r, err := s.nextIn(ctx)
	if errors.Is(err, context.DeadlineExceeded) && s.life.Err() == nil {
		return r, errIdle
	}
	return r, err
}

func (s *source) nextIn(ctx context.Context) (storedReceipt, error) {
	if s.it == nil {
		it, err := s.consumer.Messages(
			jetstream.PullMaxMessages(s.ahead), jetstream.PullExpiry(30*time.Second),
			jetstream.PullHeartbeat(heartbeat), jetstream.WithMessagesErrOnMissingHeartbeat(true))
		if err != nil {
			return storedReceipt{}, s.cause(err)
		}
		s.it = it
	}
	m, err := s.it.Next(jetstream.NextContext(ctx))
	if err != nil {
		return storedReceipt{}, s.cause(err)
	}
	meta, err := m.Metadata()
	if err != nil {
		return storedReceipt{}, err
	}
	return s.accept(m.Data(), meta)
}

func (s *source) accept(data []byte, meta *jetstream.MsgMetadata) (storedReceipt, error) {
	if s.read++; meta.Sequence.Consumer != s.read {
		return storedReceipt{}, errGap
	}
	return storedReceipt{
		data: data, seq: meta.Sequence.Stream, time: meta.Timestamp, pending: meta.NumPending,
	}, nil
}

// cause prefers why the source's life ended to what that led to.
func (s *source) cause(err error) error {
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
	if (s.consumer != nil || s.unanswered) && s.p.nc.IsConnected() {
		// A thousand consumers is all that a stream takes.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(s.life), time.Second)
		defer cancel()
		// it goes by itself after sourceIdle
		_ = s.p.js.DeleteConsumer(ctx, schema.StreamReceipt, s.name)
	}
}

// scan gives to f the receipts that are stored now, up to the sequence last (0: all), and returns
// the sequence at which it began to read.
func (p *Publisher) scan(
	ctx context.Context, subject string, from from, last uint64, f func(storedReceipt),
) (start uint64, err error) {
	ahead := manyAhead
	if last > 0 && from.seq > 0 {
		ahead = int(min(last-from.seq+1, manyAhead)) // the rest would be read in vain
	}
	s, err := p.open(ctx, subject, from, ahead)
	if err != nil {
		return 0, err
	}
	defer s.close()
	for left := s.pending; left > 0; {
		m, err := s.next()
		if err != nil {
			return 0, err
		}
		if left = m.pending; last == 0 || m.seq <= last {
			f(m)
		}
		if last > 0 && m.seq >= last {
			break
		}
	}
	return s.start, nil
}

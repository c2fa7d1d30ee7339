package broker

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

const (
	sweepAhead = 512              // messages on their way
	sweepOpen  = 2 * time.Second  // for the broker to make the consumer
	sweepLeft  = 15 * time.Second // after which the broker forgets a silent reader

	// sweepName is the head of the consumers' names. Who may not make them reads by Scan, and is
	// told nothing.
	sweepName = "sweep-"
)

// Sweep is Scan for a stream that may have many messages and is no work queue. It
// reads through a consumer in the broker's memory, which costs the broker a third of
// the time, and leaves no trace either. f must be quick: what the broker has not been
// asked for within a moment, and whatever a consumer cannot give, is read as by Scan.
func (c *Conn) Sweep(ctx context.Context, stream string, o ScanOptions, f func(Stored) error) error {
	s := sweep{conn: c, stream: stream, through: o.Through, f: f}
	done, err := s.run(ctx, o)
	if done {
		return scanError(stream, err)
	}
	if s.last > 0 {
		o.Seq, o.Since = s.last+1, time.Time{}
	}
	return c.Scan(ctx, stream, o, f)
}

// sweep is one run of Sweep.
type sweep struct {
	conn    *Conn
	stream  string
	through uint64
	f       func(Stored) error

	consumer string
	inbox    string
	sub      *nats.Subscription
	open     int    // messages that were asked for and have not come
	order    uint64 // of the last message at this consumer
	last     uint64 // its sequence
}

// run reads what the consumer gives. Unless it is done, the rest has to be read in another way.
func (s *sweep) run(ctx context.Context, o ScanOptions) (done bool, err error) {
	reading, giveUp := context.WithCancel(ctx)
	defer giveUp()
	defer s.conn.refusal.add(giveUp)()
	standing, err := s.begin(reading, o)
	if err != nil {
		return false, nil // Scan finds out why
	}
	defer s.end()
	silence := time.AfterFunc(apiTimeout, giveUp)
	defer silence.Stop()
	for done = standing == 0; !done; silence.Reset(apiTimeout) {
		m := s.next(reading)
		if ctx.Err() != nil {
			return true, ctx.Err()
		}
		d, ok := s.delivery(m)
		switch {
		case !ok:
			return false, nil
		case s.through > 0 && d.Seq > s.through:
			return true, nil
		}
		s.last = d.Seq
		if err := s.f(Stored{
			Subject: m.Subject, Seq: d.Seq, Time: d.Stored, Header: m.Header, Data: m.Data,
		}); err != nil {
			return true, err
		}
		done = d.Pending == 0 || d.Order == standing
	}
	return true, nil
}

// begin makes the consumer, and returns how many messages stand before it.
func (s *sweep) begin(ctx context.Context, o ScanOptions) (standing uint64, err error) {
	cfg := jetstream.ConsumerConfig{
		Name:          sweepName + nuid.Next(),
		FilterSubject: o.Subject,
		AckPolicy:     jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: sweepLeft,
	}
	switch {
	case !o.Since.IsZero():
		cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &o.Since
	case o.Seq > 0:
		cfg.DeliverPolicy, cfg.OptStartSeq = jetstream.DeliverByStartSequencePolicy, o.Seq
	}
	ctx, cancel := context.WithTimeout(ctx, sweepOpen)
	defer cancel()
	consumer, err := s.conn.JS.CreateConsumer(ctx, s.stream, cfg)
	if err != nil {
		return 0, err
	}
	s.consumer, s.inbox = s.stream+"."+cfg.Name, s.conn.NC.NewInbox()
	if s.sub, err = s.conn.NC.SubscribeSync(s.inbox); err != nil {
		return 0, err
	}
	// No limit to what waits here: no more is asked for than sweepAhead.
	return consumer.CachedInfo().NumPending, s.sub.SetPendingLimits(-1, -1)
}

// end has the broker forget the consumer, as well as a connection allows.
func (s *sweep) end() {
	_ = s.conn.NC.PublishRequest("$JS.API.CONSUMER.DELETE."+s.consumer, s.inbox, nil)
	_ = s.sub.Unsubscribe()
}

// next keeps messages coming and returns one; nil when none comes.
func (s *sweep) next(ctx context.Context) *nats.Msg {
	if s.open <= sweepAhead/2 {
		batch := sweepAhead - s.open
		err := s.conn.NC.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+s.consumer, s.inbox,
			pullRequest(batch, apiTimeout, apiTimeout/4))
		if err != nil {
			return nil
		}
		s.open += batch
	}
	m, err := s.sub.NextMsgWithContext(ctx)
	if err != nil {
		return nil
	}
	s.open--
	return m
}

// delivery reads where a message stands; false for what does not follow the one before.
func (s *sweep) delivery(m *nats.Msg) (Delivery, bool) {
	if m == nil {
		return Delivery{}, false
	}
	d, ok := ParseDelivery(m.Reply)
	s.order++
	return d, ok && d.Order == s.order
}

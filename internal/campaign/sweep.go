package campaign

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pause"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

const (
	// sweepBatch is how many messages are judged and marked together.
	sweepBatch = 2048

	// sweepAtOnce is how many messages are taken out at the same time.
	sweepAtOnce = 128

	// sweepHearing is how long workers are given to hear of the order before it is judged which
	// calls have begun. A call that begins nevertheless ends as sent, and its mark overrules ours.
	sweepHearing = 300 * time.Millisecond

	// sweepCallsEnd is how long calls under way are waited for: they end within 10 s.
	sweepCallsEnd = 15 * time.Second

	// sweepLook is between two looks while calls are under way.
	sweepLook = 200 * time.Millisecond
)

// SweepOptions say how a campaign is swept.
type SweepOptions struct {
	// Ledger is the worker's that carries it out; nil when it keeps none. Without one nobody can
	// tell which calls are under way, nor count what is taken out: Swept.Ended is all there is, and
	// an intent that is just being sent is among it.
	Ledger *ledger.Ledger

	// Progress is told how many intents were ended so far, by one goroutine at a time; nil if nobody
	// wants to know.
	Progress func(ended int)

	callsEnd time.Duration // 0 for sweepCallsEnd
}

// Swept is what a sweep has come to.
type Swept struct {
	Ended int // intents that were cancelled and taken out
	Left  int // whose calls did not end meanwhile: their workers end them
}

// Sweep ends what lies of a campaign in the app's queue and in KEFU_LATER as cancelled, without a
// worker that sends: it takes no permission and no slot, and goes on while the app is held. The
// order of [withdrawal.CancelCampaign] comes first, or workers send on meanwhile.
//
// Each intent is marked in the ledger, and only then is its message deleted, as a worker does it;
// there are no receipts, see [StoreReceipt]. What a living worker has begun is left to it, and
// waited for. Sweep goes on until it finds nothing new. It may be cut off at any point and run
// again: the error is that of ctx or of a broker that cannot be reached, and the result is what was
// done before it.
func Sweep(
	ctx context.Context, conn *broker.Conn, appID, campaign string, o SweepOptions,
) (Swept, error) {
	order, ok, err := withdrawal.ReadCampaignOrder(ctx, conn, appID, campaign)
	if err != nil {
		return Swept{}, err
	}
	if !ok {
		return Swept{}, fmt.Errorf("sweep campaign %s: nobody has cancelled it", campaign)
	}
	app := queue.App{ID: appID, HasQueue: true}
	_, err = conn.JS.Stream(ctx, schema.SendStream(appID))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		app.HasQueue = false
	} else if err != nil {
		return Swept{}, fmt.Errorf("the queue of %s: %w", appID, err)
	}
	if err := pause.For(ctx, min(sweepHearing, sweepHearing-time.Since(order.At))); err != nil {
		return Swept{}, err
	}
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s := &sweep{
		conn: conn, options: o, began: time.Now(), stop: stop,
		reader: queue.NewReader(conn, app, queue.OfCampaign(campaign)),
		marks:  ledger.NewAppender(conn, pool.NewName("sweep")),
		slots:  make(chan struct{}, sweepAtOnce),
	}
	err = s.run(working)
	s.deleting.Wait()
	return Swept{Ended: s.ended, Left: len(s.open)}, err
}

// sweep is one run of Sweep.
type sweep struct {
	conn    *broker.Conn
	options SweepOptions
	began   time.Time
	reader  *queue.Reader
	marks   *ledger.Appender

	batch []queue.Message // to be judged
	open  []queue.Message // that a worker had begun when it was judged last

	slots    chan struct{}
	deleting sync.WaitGroup
	stop     context.CancelCauseFunc

	mu    sync.Mutex
	ended int
}

// run looks through everything again and again, since what it has looked for in one place may have
// moved to another meanwhile.
func (s *sweep) run(ctx context.Context) error {
	giveUp := s.began.Add(cmp.Or(s.options.callsEnd, sweepCallsEnd))
	for {
		s.batch, s.open = s.open, nil
		moving := 0
		err := s.reader.Read(ctx, func(m queue.Message) error {
			// What a producer publishes all along is no sign that something was missed.
			if m.Subject.Again || m.Stored.Before(s.began) {
				moving++
			}
			if s.batch = append(s.batch, m); len(s.batch) < sweepBatch {
				return nil
			}
			return s.flush(ctx)
		})
		if err == nil {
			err = s.flush(ctx)
		}
		s.deleting.Wait()
		switch {
		case ctx.Err() != nil: // the caller's, or the first deletion that failed
			return context.Cause(ctx)
		case err != nil:
			return err
		case moving > 0:
			continue
		case len(s.open) == 0 || time.Now().After(giveUp):
			return nil
		}
		if err := pause.For(ctx, sweepLook); err != nil {
			return err
		}
	}
}

// flush ends the batch, but for what a worker has begun.
func (s *sweep) flush(ctx context.Context) error {
	batch := s.batch
	s.batch = nil
	if len(batch) == 0 {
		return nil
	}
	ends, err := s.judge(ctx, batch)
	if err != nil {
		return err
	}
	for _, e := range ends {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		s.deleting.Go(func() {
			defer func() { <-s.slots }()
			s.remove(ctx, e)
		})
	}
	return nil
}

// ended is a message to be taken out.
type ended struct {
	stream  string
	seq     uint64
	cancels bool // its intent ends by that
}

// judge marks how the intents of a batch end, and returns what is to be taken out.
func (s *sweep) judge(ctx context.Context, batch []queue.Message) ([]ended, error) {
	book := s.options.Ledger
	var living queue.Living
	if book != nil {
		if err := book.CatchUp(ctx); err != nil {
			return nil, err
		}
		var err error
		if living, _, err = queue.NewLiving(ctx, s.conn); err != nil {
			return nil, err
		}
	}
	ends := make([]ended, 0, len(batch))
	var marks []ledger.Mark
	for _, m := range batch {
		said := ledger.Standing{Ruling: ledger.Go}
		if book != nil {
			said = book.Peek(m.Start())
		}
		if living.Has(said) {
			s.open = append(s.open, m)
			continue
		}
		end := queue.EndOf(m, said)
		if end.Mark.Kind != 0 {
			marks = append(marks, end.Mark)
		}
		// A sweep that was cut off may have marked it.
		marked := said.Ruling == ledger.Ended && said.Kind == ledger.Cancelled
		ends = append(ends, ended{m.Stream, m.Seq, end.Mark.Kind != 0 || marked})
	}
	if book == nil {
		return ends, nil
	}
	return ends, s.marks.Append(ctx, marks)
}

// remove takes a message out.
func (s *sweep) remove(ctx context.Context, e ended) {
	asked, missing := 0, false
	err := s.conn.Ask(ctx, func(ctx context.Context) error {
		asked++
		err := s.conn.Delete(ctx, e.stream, e.seq)
		if errors.Is(err, broker.ErrNoMessage) {
			missing = asked == 1 // else the answer to an earlier request was lost
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		s.stop(err)
	case !missing && e.cancels: // else a worker, or its dispatcher, was quicker
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended++
		if s.options.Progress != nil {
			s.options.Progress(s.ended)
		}
	}
}

// StoreReceipt stores the receipt of a campaign that was cancelled: one for all of its intents that
// were not sent by then, of which there are count; none for 0, or where the app's workers write no
// receipts. began is when the campaign did, as far as anybody knows. Stored again within minutes it
// is one receipt; readers go by the newest.
func StoreReceipt(
	ctx context.Context, conn *broker.Conn, appID, campaign string, began time.Time, count int,
) error {
	if count <= 0 {
		return nil
	}
	workers, err := pool.Workers(ctx, conn)
	if err != nil || pool.ReceiptsOf(workers, appID) == pool.ReceiptsOff {
		return err
	}
	order, ok, err := withdrawal.ReadCampaignOrder(ctx, conn, appID, campaign)
	if err != nil {
		return err
	}
	if !ok {
		order.At = time.Now().UTC()
	}
	if began.IsZero() {
		began = order.At
	}
	body, err := json.Marshal(schema.Receipt{
		ID: campaign, AppID: appID, Generation: 1, State: schema.StateCancelled,
		Lane: schema.LaneBulk, Campaign: campaign, Count: count,
		PublishedAt: began.UTC(), SettledAt: order.At,
	})
	if err != nil {
		return err
	}
	_, err = conn.Outbox.PublishWait(ctx, &nats.Msg{
		Subject: schema.ReceiptSubject(appID, schema.StateCancelled), Data: body,
		Header: nats.Header{schema.HeaderMsgID: {wire.CampaignReceiptMsgID(appID, campaign)}},
	})
	if err != nil {
		return fmt.Errorf("the receipt of campaign %s: %w", campaign, err)
	}
	return nil
}

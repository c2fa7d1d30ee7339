package intent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// ledgerPause is how long the ledger is left alone between two looks at what is new in it.
const ledgerPause = 200 * time.Millisecond

// outcome is the wait for what becomes of an intent: `kefu send --wait`. Receipts tell it soonest.
// Where workers do not write all of them the ledger tells it, which has every end.
type outcome struct {
	*send
	conn      *broker.Conn
	publisher *publisher.Publisher
	packet    json.RawMessage

	accepted publisher.Accepted
	receipts pool.Receipts // that are to be expected
	ledgers  bool          // all workers of the app keep one
	other    bool          // the id was taken by another message
}

// await publishes the intent, waits for its end, and prints it.
func (o *outcome) await(
	ctx context.Context, appID string, options []publisher.PublishOption,
) error {
	why := fmt.Errorf("%w: --timeout", context.DeadlineExceeded)
	wait, cancel := context.WithTimeoutCause(ctx, o.timeout, why)
	defer cancel()
	err := o.refused(wait, appID)
	if err != nil {
		return err
	}
	o.accepted, err = o.publisher.Publish(wait, appID, o.packet, options...)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, publisher.ErrOutcomeOpen) {
			o.streams.Notef("%s may be queued: kefu find %[1]s tells", o.accepted.ID)
		}
		return asUsage(err)
	}
	o.expect(wait)
	if o.accepted.Duplicate {
		if ended, err := o.first(wait); ended || err != nil {
			return err
		}
	}
	r, err := o.endOrCancel(wait)
	switch {
	case err == nil:
		return o.finish(r)
	case ctx.Err() != nil:
		o.streams.Notef("%s is queued and will be sent: "+
			"kefu find %[1]s tells about it, kefu cancel %[1]s prevents it", o.accepted.ID)
	case errors.Is(err, publisher.ErrUnreadable):
		return fmt.Errorf("%s is queued, and it cannot be seen what becomes of it: %w",
			o.accepted.ID, err)
	case wait.Err() != nil:
		return o.late(ctx)
	}
	return err
}

// expect finds out what the app's workers write. When nobody can tell, receipts are waited for: all
// of them are written unless somebody wants otherwise.
func (o *outcome) expect(ctx context.Context) {
	o.receipts = pool.ReceiptsUnknown
	ctx, cancel := context.WithTimeout(ctx, cli.AsideWait)
	defer cancel()
	workers, err := pool.Workers(ctx, o.conn)
	if err != nil {
		return
	}
	o.receipts = pool.ReceiptsOf(workers, o.accepted.AppID)
	o.ledgers = true
	for _, w := range pool.Serving(workers, o.accepted.AppID) {
		o.ledgers = o.ledgers && w.Counts
	}
	if o.receipts == pool.ReceiptsNobody {
		o.streams.Notef("no worker takes intents of %s now", o.accepted.AppID)
	}
}

// first says what became of the intent whose id this one repeats. It has ended when there is
// nothing to wait for.
func (o *outcome) first(ctx context.Context) (ended bool, err error) {
	w, err := o.find(ctx)
	if err != nil {
		o.streams.Notef("%s was accepted before, so this one was dropped; "+
			"what became of the first:", o.accepted.ID)
		return false, nil // it can still be waited for
	}
	with := ""
	if o.other {
		with = " with another message"
	}
	verb := "is"
	if w.State == schema.StateSent || w.State == schema.StateCancelled {
		verb = "was"
	}
	o.streams.Notef("%s was accepted before%s, so this one was dropped; the first %s %s",
		o.accepted.ID, with, verb, standing(w))
	switch deadline, _ := ctx.Deadline(); {
	case w.State.Terminal():
		return true, o.finish(w.Receipt())
	case w.State == schema.StateWaiting && w.Withdrawn:
		return true, fmt.Errorf("%s will not be sent: it was withdrawn by %s", w.ID, w.WithdrawnBy)
	case w.Until.After(deadline):
		return true, fmt.Errorf("%s does not end within %s: kefu find %[1]s tells about it, "+
			"kefu cancel %[1]s prevents it", w.ID, o.timeout)
	}
	return false, nil
}

// standing is where an intent stands, in words.
func standing(w intent.Whereabouts) string {
	text := map[schema.State]string{schema.StateInFlight: "being sent"}[w.State]
	if text == "" {
		text = string(w.State)
	}
	if w.State == schema.StateWaiting && !w.Until.IsZero() {
		text += " until " + cli.Moment(w.Until)
	}
	return text
}

// end waits for the intent's end.
func (o *outcome) end(ctx context.Context) (schema.Receipt, error) {
	id, appID := o.accepted.ID, o.accepted.AppID
	switch o.receipts {
	case pool.ReceiptsAll, pool.ReceiptsUnknown, pool.ReceiptsNobody:
		return o.publisher.Wait(ctx, o.accepted)
	}
	switch {
	case o.ledgers:
		return o.endByLedger(ctx)
	case o.receipts == pool.ReceiptsOff:
		return schema.Receipt{}, fmt.Errorf("%s is queued, and what becomes of it cannot be "+
			"waited for: the workers of %s write no receipts (worker.receipts: off) and keep no "+
			"ledger; kefu find %[1]s says what is known", id, appID)
	case o.receipts == pool.ReceiptsFailures:
		o.streams.Notef("the workers of %s write no receipt of what is sent "+
			"(worker.receipts: failures); waiting for a failure", appID)
	default:
		o.streams.Notef("not all workers of %s write all receipts (worker.receipts)", appID)
	}
	return o.publisher.Wait(ctx, o.accepted)
}

// endByLedger waits until the ledger says that the intent has ended.
func (o *outcome) endByLedger(ctx context.Context) (schema.Receipt, error) {
	log := ledger.NewLookup(o.conn)
	// The id may have had a life before, and a repeat is told from a new life by all of them.
	log.Want(o.accepted.AppID, o.accepted.ID, time.Unix(0, 0))
	var last ledger.Entry
	for {
		if err := log.Read(ctx); err != nil {
			return schema.Receipt{}, err
		}
		now, _ := log.Get(o.accepted.AppID, o.accepted.ID)
		if now != last && now.Kind.Terminal() {
			w, err := o.find(ctx)
			if err != nil {
				return schema.Receipt{}, err
			}
			if w.State.Terminal() { // else that was the end of the life before
				return w.Receipt(), nil
			}
		}
		last = now
		pause := time.NewTimer(ledgerPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return schema.Receipt{}, context.Cause(ctx)
		}
	}
}

var errNotFound = errors.New("nothing is known of it")

// find returns all that is known of the intent.
func (o *outcome) find(ctx context.Context) (intent.Whereabouts, error) {
	place := intent.App{ID: o.accepted.AppID, HasQueue: true}
	found, err := intent.Find(ctx, o.conn, []intent.App{place}, o.accepted.ID)
	if err != nil {
		return intent.Whereabouts{}, err
	}
	if len(found) == 0 {
		return intent.Whereabouts{}, errNotFound
	}
	o.other = found[0].Differs(o.packet)
	return found[0], nil
}

// late says where the intent stands when time is over.
func (o *outcome) late(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cli.AsideWait)
	defer cancel()
	id, appID := o.accepted.ID, o.accepted.AppID
	w, err := o.find(ctx)
	if err == nil && w.State.Terminal() {
		return o.finish(w.Receipt()) // its receipt is missing, or there is none
	}
	stands := "queued"
	if err == nil {
		stands = standing(w)
	}
	holds, _ := gate.Holds(ctx, o.conn) // without an answer there is less to say
	why := "is a worker running?"
	switch {
	case len(holds[appID]) > 0:
		return fmt.Errorf("%s is %s; it was not sent within %s because %s is held: %s", id, stands,
			o.timeout, appID, apps.Why(holds[appID]))
	case o.receipts == pool.ReceiptsNobody:
		why = "no worker takes intents of " + appID + ";"
	case err == nil:
		return fmt.Errorf("%s is %s; it has not ended within %s: kefu find %[1]s says more", id,
			stands, o.timeout)
	}
	return fmt.Errorf("%s is %s; there was no receipt within %s: %s kefu find %[1]s says more",
		id, stands, o.timeout, why)
}

// finish prints how the intent ended, and returns an error when its message was not sent.
func (o *outcome) finish(r schema.Receipt) error {
	if r.PublishedAt.IsZero() && !o.accepted.Duplicate {
		r.PublishedAt = o.accepted.At.UTC()
	}
	if err := o.printReceipt(r); err != nil {
		return err
	}
	why := ""
	switch {
	case o.other && r.State == schema.StateSent:
		return fmt.Errorf("this message was not sent: another one has the id %s", r.ID)
	case r.State == schema.StateSent:
		return nil
	case !o.accepted.Duplicate:
	case r.State == schema.StateDead:
		why = ": kefu dead replay " + r.ID + " sends the first one again"
	default:
		why = ": publish it under another id"
	}
	return fmt.Errorf("%s was not sent%s", r.ID, why)
}

func (o *outcome) printReceipt(r schema.Receipt) error {
	if o.streams.AsJSON() {
		return o.streams.Value(r)
	}
	text := fmt.Sprintf("%s  %s", r.ID, r.State)
	if r.Reason != "" {
		text += fmt.Sprintf(" (%s)", r.Reason)
	}
	if !r.PublishedAt.IsZero() {
		text += " after " + cli.Took(max(r.SettledAt.Sub(r.PublishedAt), 0))
	}
	text += ", " + cli.CountOrNo(r.Attempts, "attempt")
	if r.Errcode != nil {
		text += fmt.Sprintf("\nerrcode %d: %s", *r.Errcode, cli.Clean(r.Errmsg))
	}
	if r.PossibleDuplicate {
		text += "\nit may have arrived twice: the outcome of an attempt is unknown"
	}
	return o.streams.Printf("%s\n", text)
}

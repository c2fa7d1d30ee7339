package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// observe is the one place that tells the outside of an intent's end: one log
// line, one metric.
func (d *delivery) observe(state schema.State, reason schema.Reason, detail string) {
	w := d.app.w
	now := time.Now()
	w.metrics.settled(d.app.cfg().ID, d.lane.kind, state, reason, d.possibleDuplicate())
	if d.generation == 1 { // a letter that comes back was waited for by a person, not for kefu
		w.metrics.took(d.app.cfg().ID, d.lane.kind, now.Sub(latest(d.published, d.env.SendAt)))
	}
	w.metrics.ofSource(d.env.Source, state)
	if state == schema.StateSent {
		d.app.sent.Add(1)
	}
	level := slog.LevelInfo
	if state == schema.StateDead {
		level = slog.LevelWarn
	}
	if !w.log.Enabled(context.Background(), level) { // twenty thousand a second must not cost a hash each
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("app", d.app.cfg().ID), slog.String("id", d.id), slog.String("lane", string(d.lane.kind)),
		slog.String("to", w.cfg.Pseudonyms.Of(d.recipient())), slog.Int("attempts", d.attempt-1),
		slog.Duration("after", now.Sub(d.published).Round(time.Millisecond)))
	if d.generation > 1 {
		attrs = append(attrs, slog.Int("generation", d.generation))
	}
	if d.lane.kind == schema.LaneBulk {
		attrs = append(attrs, slog.String("campaign", d.subject.Key))
	}
	if reason != "" {
		attrs = append(attrs, slog.String("reason", string(reason)), slog.String("why", detail))
	}
	if d.possibleDuplicate() {
		attrs = append(attrs, slog.Bool("possible_duplicate", true))
	}
	w.log.LogAttrs(context.Background(), level, string(state), attrs...)
}

func (d *delivery) recipient() string {
	if d.lane.kind == schema.LaneLive {
		return d.subject.Key
	}
	return schema.PeekToUser(d.msg.Data)
}

// receipt is what became of the intent, for its producer; nil when none is wanted.
func (d *delivery) receipt(state schema.State, reason schema.Reason) *schema.Receipt {
	switch d.app.w.cfg.Receipts {
	case ReceiptsOff:
		return nil
	case ReceiptsFailures:
		if state == schema.StateSent {
			return nil
		}
	}
	r := &schema.Receipt{
		ID: d.id, AppID: d.app.cfg().ID, Generation: d.generation, State: state, Lane: d.lane.kind, Source: d.env.Source,
		Reason: reason, Attempts: d.attempt - 1, PossibleDuplicate: d.possibleDuplicate() || reason == schema.ReasonUnknown,
		PublishedAt: d.published.UTC(), SettledAt: time.Now().UTC(),
	}
	if d.lane.kind == schema.LaneBulk {
		r.Campaign = d.subject.Key
	}
	if n := len(d.tried); n > 0 && state == schema.StateDead {
		last := d.tried[n-1]
		r.Errcode, r.Errmsg, r.RID = last.Errcode, last.Errmsg, last.RID
	}
	return r
}

// receiptPatience is for how long the receipts' stream may be without a leader
// before receipts are let go: a cluster that lost a node needs a while.
const receiptPatience = 30 * time.Second

// publishReceipt stores a receipt and calls then. A receipt that the broker
// refuses, for longer than an election takes, is counted and let go: the intent
// has ended, and to keep it for want of a receipt would help nobody.
func (d *delivery) publishReceipt(r *schema.Receipt, then func()) {
	if r == nil {
		then()
		return
	}
	body, err := appendReceipt(make([]byte, 0, 320), r)
	if err != nil {
		d.app.w.metrics.receiptsLost.Inc()
		then()
		return
	}
	id := wire.ReceiptMsgID(r.AppID, r.ID, r.Generation)
	if r.Reason == schema.ReasonIDReuse || r.Reason == schema.ReasonInvalid {
		// It may carry the id of another intent, whose own receipt it must not displace.
		id = wire.LetterMsgID(r.AppID, r.ID, r.Generation, d.seq)
	}
	msg := &nats.Msg{
		Subject: schema.ReceiptSubject(r.AppID, r.State),
		Data:    body,
		Header:  nats.Header{schema.HeaderMsgID: {id}},
	}
	d.app.w.storeReceipt(msg, then)
}

func (w *Worker) storeReceipt(msg *nats.Msg, then func()) {
	w.conn.Outbox.Publish(msg, func(_ broker.Ack, err error) {
		switch {
		case err == nil:
			if w.receiptsSince.Load() != nil {
				w.receiptsSince.Store(nil)
				w.trouble("KEFU_RECEIPT", "")
			}
			then()
			return
		case errors.Is(err, broker.ErrClosed) || w.work.Err() != nil:
			return // the intent is handed out again, and its receipt published then
		}
		now := time.Now()
		w.receiptsSince.CompareAndSwap(nil, &now)
		w.trouble("KEFU_RECEIPT", "receipts cannot be stored: "+err.Error())
		if since := w.receiptsSince.Load(); since == nil || now.Sub(*since) < receiptPatience {
			time.AfterFunc(time.Second, func() { w.storeReceipt(msg, then) })
			return
		}
		w.metrics.receiptsLost.Inc()
		then()
	})
}

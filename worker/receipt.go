package worker

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// receipts stores what producers are told of their intents' ends.
type receipts struct {
	which    Receipts
	outbox   *broker.Outbox
	work     context.Context
	troubles *troubles
	metrics  *metrics
	since    atomic.Pointer[time.Time] // since when they cannot be stored; nil: they can
}

// receiptPatience is for how long the receipts' stream may be without a leader
// before receipts are let go: a cluster that lost a node needs a while.
const receiptPatience = 30 * time.Second

// wanted says whether there is a receipt of an end.
func (r *receipts) wanted(state schema.State) bool {
	return r.which != ReceiptsOff && (r.which != ReceiptsFailures || state != schema.StateSent)
}

// of is what became of an intent, for its producer; nil when no receipt is wanted.
func (r *receipts) of(d *delivery) *schema.Receipt {
	end := &d.end
	if !r.wanted(end.state) {
		return nil
	}
	out := &schema.Receipt{
		ID: d.id, AppID: d.subject.AppID, Generation: d.generation, State: end.state,
		Lane: d.subject.Lane, Campaign: d.campaignName(), Source: d.env.Source,
		Reason: end.reason, Attempts: d.attempt - 1, PossibleDuplicate: d.possibleDuplicate(),
		PublishedAt: d.published.UTC(), SettledAt: time.Now().UTC(),
	}
	if n := len(d.tried); n > 0 && end.state == schema.StateDead {
		last := d.tried[n-1]
		out.Errcode, out.Errmsg, out.RID = last.Errcode, last.Errmsg, last.RID
	}
	return out
}

// store stores the receipt of the message with this sequence, and calls then. A
// receipt that the broker refuses, for longer than an election takes, is counted
// and let go: the intent has ended, and to keep it for want of a receipt would
// help nobody.
func (r *receipts) store(receipt *schema.Receipt, seq uint64, then func()) {
	if receipt == nil {
		then()
		return
	}
	body, err := appendReceipt(make([]byte, 0, 320), receipt)
	if err != nil {
		r.metrics.receiptsLost.Inc()
		then()
		return
	}
	id := wire.ReceiptMsgID(receipt.AppID, receipt.ID, receipt.Generation)
	if receipt.Reason == schema.ReasonIDReuse || receipt.Reason == schema.ReasonInvalid {
		// It may carry the id of another intent, whose own receipt it must not displace.
		id = wire.LetterMsgID(receipt.AppID, receipt.ID, receipt.Generation, seq)
	}
	r.publish(&nats.Msg{
		Subject: schema.ReceiptSubject(receipt.AppID, receipt.State),
		Data:    body,
		Header:  nats.Header{schema.HeaderMsgID: {id}},
	}, then)
}

func (r *receipts) publish(msg *nats.Msg, then func()) {
	r.outbox.Publish(msg, func(_ broker.Ack, err error) {
		switch {
		case err == nil:
			if r.since.Load() != nil {
				r.since.Store(nil)
				r.troubles.set(schema.StreamReceipt, "")
			}
			then()
			return
		case errors.Is(err, broker.ErrClosed) || r.work.Err() != nil:
			return // the intent is handed out again, and its receipt published then
		}
		now := time.Now()
		r.since.CompareAndSwap(nil, &now)
		r.troubles.set(schema.StreamReceipt, "receipts cannot be stored: "+err.Error())
		if since := r.since.Load(); since == nil || now.Sub(*since) < receiptPatience {
			time.AfterFunc(time.Second, func() { r.publish(msg, then) })
			return
		}
		r.metrics.receiptsLost.Inc()
		then()
	})
}

// appendReceipt writes a receipt as encoding/json would, for the usual case
// (strings that need no escape): there is one for each intent, and reflection
// would be a tenth of what the worker does for it.
func appendReceipt(b []byte, r *schema.Receipt) ([]byte, error) {
	if r.Errcode != nil || r.Errmsg != "" || r.RID != "" || !plain(r.ID) || !plain(r.Source) {
		rest, err := json.Marshal(r)
		return append(b, rest...), err
	}
	b = append(b, `{"id":"`...)
	b = append(b, r.ID...)
	b = append(b, `","appid":"`...)
	b = append(b, r.AppID...)
	b = append(b, `","generation":`...)
	b = strconv.AppendInt(b, int64(r.Generation), 10)
	b = append(b, `,"state":"`...)
	b = append(b, r.State...)
	b = append(b, `","lane":"`...)
	b = append(b, r.Lane...)
	if r.Campaign != "" {
		b = append(b, `","campaign":"`...)
		b = append(b, r.Campaign...)
	}
	if r.Source != "" {
		b = append(b, `","source":"`...)
		b = append(b, r.Source...)
	}
	if r.Reason != "" {
		b = append(b, `","reason":"`...)
		b = append(b, r.Reason...)
	}
	b = append(b, `","attempts":`...)
	b = strconv.AppendInt(b, int64(r.Attempts), 10)
	if r.PossibleDuplicate {
		b = append(b, `,"possible_duplicate":true`...)
	}
	b = append(b, `,"published_at":"`...)
	b = r.PublishedAt.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","settled_at":"`...)
	b = r.SettledAt.AppendFormat(b, time.RFC3339Nano)
	return append(b, `"}`...), nil
}

// plain says whether a string stands in JSON as it is.
func plain(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20, c > 0x7e, c == '"', c == '\\', c == '<', c == '>', c == '&':
			return false
		}
	}
	return true
}

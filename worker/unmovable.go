package worker

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// bury makes a letter of what has become due and cannot be moved to any queue:
// nothing that was accepted is dropped, whoever put it there.
func (d *dispatcher) bury(m *nats.Msg, meta broker.Delivery, due due, why error) {
	w := d.w
	letter := unmovable(m, meta, due, why, w.cfg.Process.Name)
	msg, err := deadletter.Message(letter)
	if err != nil {
		w.log.Error("dead letter", "stream", wire.StreamLater, "sequence", meta.Seq, "error", err)
		d.left() // handed out again after its AckWait
		return
	}
	d.store(letter, msg, func(stored broker.Ack) {
		d.store(letter, deadletter.IndexMessage(letter, stored.Seq), func(broker.Ack) { d.buried(m, due, letter) })
	})
}

// store stores a letter, or its entry in the index, and calls then, or has the
// intent handed out again after its AckWait.
func (d *dispatcher) store(letter *schema.Letter, part *nats.Msg, then func(broker.Ack)) {
	d.w.conn.Outbox.Publish(part, func(stored broker.Ack, err error) {
		if err != nil {
			d.w.log.Warn("a dead letter cannot be stored, trying later", "app", letter.AppID, "id", letter.ID, "error", err)
			d.left()
			return
		}
		then(stored)
	})
}

// buried settles what came in m, whose letter is stored.
func (d *dispatcher) buried(m *nats.Msg, due due, letter *schema.Letter) {
	w := d.w
	w.log.Warn(string(schema.StateDead), "app", letter.AppID, "id", letter.ID, "reason", letter.Reason, "why", letter.Detail)
	w.metrics.settled(letter.AppID, letter.Lane, schema.StateDead, letter.Reason, letter.PossibleDuplicate)
	w.metrics.ofSource(letter.Source, schema.StateDead)
	w.receipts.store(w.receiptOf(letter, due.env), 0, func() {
		if due.env.ID == "" {
			d.done(m) // the ledger does not know it
			return
		}
		campaign := ledger.NoCampaign
		if letter.Campaign != "" {
			campaign = ledger.CampaignOf(letter.AppID, letter.Campaign)
		}
		w.ledger.Write(ledger.Mark{
			Key: ledger.KeyOf(letter.AppID, letter.ID), Body: ledger.BodyOf(m.Data), Kind: ledger.Dead, Again: true,
			Campaign: campaign, Before: ledger.ParseEnd(due.env.Before), Reason: letter.Reason,
			Generation: uint16(min(letter.Generation, 1<<16-1)), Attempt: uint8(min(max(due.env.Attempt-1, 0), 255)), //nolint:gosec // bounded
			Unknown: uint8(min(unknownOf(due.env.Tried), 255)), //nolint:gosec // bounded
		}, func(ledger.Standing, error) { d.done(m) })
	})
}

// unmovable is the letter of what cannot be moved, as far as it can be read.
func unmovable(m *nats.Msg, meta broker.Delivery, due due, why error, worker string) *schema.Letter {
	env := due.env
	l := &schema.Letter{
		ID: env.ID, AppID: strings.TrimPrefix(m.Subject, "kefu.later.due."), Generation: max(env.Generation, 1),
		Lane: due.to.Lane, OpenID: schema.PeekToUser(m.Data), Source: env.Source,
		Reason: schema.ReasonInvalid, Detail: "it waited in " + wire.StreamLater + " and cannot be moved on: " + why.Error(),
		PossibleDuplicate: unknownOf(env.Tried) > 0, Attempts: env.Tried,
		Subject: m.Header.Get(wire.HeaderTarget), Sequence: meta.Seq,
		PublishedAt: env.PublishedAt.UTC(), DiedAt: time.Now().UTC(), Worker: worker,
	}
	if schema.CheckToken("appid", l.AppID) != nil {
		l.AppID = "unknown" // only kefu writes there: no app of that name can have a queue
	}
	if l.ID == "" {
		l.ID = wire.DefaultID(meta.Stored, meta.Seq)
	}
	if l.PublishedAt.IsZero() {
		l.PublishedAt = meta.Stored.UTC()
	}
	if l.Subject == "" {
		l.Subject = m.Subject
	}
	if l.Lane == schema.LaneBulk {
		l.Campaign = due.to.Key
	}
	if n := len(l.Attempts); n > 0 {
		l.FirstAt, l.LastAt = l.Attempts[0].At, l.Attempts[n-1].At
	}
	l.SetPacket(m.Data)
	l.SetHeader(wire.ProducerHeader(m.Header, env.ID))
	return l
}

// receiptOf is the receipt that goes with a letter; nil when none is wanted.
func (w *Worker) receiptOf(l *schema.Letter, env wire.Envelope) *schema.Receipt {
	if !w.receipts.wanted(schema.StateDead) {
		return nil
	}
	return &schema.Receipt{
		ID: l.ID, AppID: l.AppID, Generation: l.Generation, State: schema.StateDead, Lane: l.Lane, Campaign: l.Campaign, Source: l.Source,
		Reason: l.Reason, Attempts: max(env.Attempt-1, 0), PossibleDuplicate: l.PossibleDuplicate,
		PublishedAt: l.PublishedAt, SettledAt: l.DiedAt,
	}
}

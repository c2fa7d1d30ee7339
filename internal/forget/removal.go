package forget

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pause"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// removal is a person's removal from one app.
type removal struct {
	conn       *broker.Conn
	pseudonyms broker.Pseudonyms
	app        intent.App
	openID     string
	options    Options
	lookOnly   bool
	found      *Found

	through time.Time // what was published later is none of it
	first   time.Time // since when an order has stood; zero for none

	ids  map[string]bool  // of the person's intents, as far as they are known
	open []intent.Message // found, and not ended yet
	log  *ledger.Lookup
	jobs []Remnant
}

// run goes through everything. What workers write while it runs lies where it looks later.
func (r *removal) run(ctx context.Context) error {
	r.ids, r.log = make(map[string]bool), ledger.NewLookup(r.conn)
	for _, part := range []func(context.Context) error{
		r.intents, r.letters, r.jobRecords, r.receipts,
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

const (
	// hearing is how long workers are given to hear of the order before the ledger is asked which
	// calls have begun.
	hearing = time.Second

	// callsEnd is how long calls under way are waited for: they end within 10 s.
	callsEnd = 15 * time.Second
)

// intents ends what is queued and what waits. It goes on until it finds nothing new, since what it
// has looked for in one place may have moved to another meanwhile, and until calls under way have
// had their time.
func (r *removal) intents(ctx context.Context) error {
	reader := intent.NewReader(r.conn, r.app, r.openID)
	for giveUp := time.Now().Add(r.options.callsEnd); ; {
		fresh := 0
		err := reader.Read(ctx, func(m intent.Message) error {
			if m.Published().After(r.through) {
				return nil
			}
			fresh++
			r.ids[m.ID] = true
			r.open = append(r.open, m)
			return nil
		})
		switch {
		case err != nil:
			return err
		case r.lookOnly:
			for _, m := range r.open {
				r.count(m)
			}
			return nil
		case len(r.open) == 0, fresh == 0 && time.Now().After(giveUp):
			return nil
		}
		if err := pause.For(ctx, hearing); err != nil {
			return err
		}
		if err := r.endOpen(ctx); err != nil {
			return err
		}
	}
}

// count counts a message as found.
func (r *removal) count(m intent.Message) {
	if m.Waits() {
		r.found.Waiting++
	} else {
		r.found.Queued++
	}
}

// endOpen ends and removes what is open, but for what a worker is sending just now.
func (r *removal) endOpen(ctx context.Context) error {
	for _, m := range r.open {
		r.log.Want(m.AppID, m.ID, m.Published())
	}
	if err := r.log.Read(ctx); err != nil {
		return err
	}
	workers, err := pool.Workers(ctx, r.conn)
	if err != nil {
		return err
	}
	alive := make(map[string]bool, len(workers))
	for _, w := range workers {
		alive[w.Name] = true
	}
	var left []intent.Message
	var ends []end
	for _, m := range r.open {
		said := r.log.Peek(startOf(m))
		if (said.Ruling == ledger.Started || said.Ruling == ledger.Doomed) && alive[said.Worker] {
			left = append(left, m)
			continue
		}
		ends = append(ends, endOf(m, said))
	}
	if len(left) > 0 {
		r.options.Progress("waiting for calls that are under way")
	}
	if err := r.write(ctx, ends, r.wantReceipts(workers)); err != nil {
		return err
	}
	for _, e := range ends {
		switch err := r.conn.Erase(ctx, e.message.Stream, e.message.Seq); {
		case err == nil:
			r.count(e.message)
		case !errors.Is(err, broker.ErrNoMessage): // a worker, or its dispatcher, was quicker
			return err
		}
	}
	r.open = left
	return nil
}

// end is how an intent ends when its message is removed.
type end struct {
	message intent.Message
	mark    ledger.Mark // of kind 0 when the ledger knows its end
	receipt schema.Receipt
}

// startOf is the mark with which a worker would begin to send a message.
func startOf(m intent.Message) ledger.Mark {
	mark := ledger.Mark{
		Key: ledger.KeyOf(m.AppID, m.ID), Body: ledger.BodyOf(m.Packet), Kind: ledger.Start,
		Again: m.Subject.Again, Campaign: ledger.CampaignOf(m.AppID, m.Campaign()),
		Before: ledger.ParseEnd(m.Envelope.Before), Attempt: uint8(min(m.Envelope.Attempt, 255)),
	}
	if m.Subject.Again {
		mark.Generation = uint16(min(m.Envelope.Generation, 1<<16-1))
	}
	if m.Envelope.Job != "" {
		mark.Job = ledger.JobOf(m.Envelope.Job, m.AppID)
	}
	if !m.Waits() { // else it is in no queue
		mark.Seq, mark.Stream = m.Seq, m.Made.UnixNano()
	}
	return mark
}

// endOf says how the intent of a message ends, by what the ledger says of it. It is the end that a
// worker would write: life.cancel in package worker.
func endOf(m intent.Message, said ledger.Standing) end {
	e := end{message: m}
	switch said.Ruling {
	case ledger.Ended, ledger.Repeat, ledger.Reuse:
		return e // an intent that has ended, or goes on as another message
	}
	generation, unknown := m.Envelope.Generation, said.Unknown
	if !m.Subject.Again {
		generation = max(said.Generation, 1)
	}
	spent := max(m.Envelope.Attempt-1, said.Attempts)
	if said.Ruling == ledger.Started { // and its worker is gone
		unknown++
	}
	e.mark = startOf(m)
	e.mark.Kind, e.mark.Before = ledger.Cancelled, said.Before
	e.mark.Generation = uint16(min(generation, 1<<16-1))
	e.mark.Attempt, e.mark.Unknown = uint8(min(spent, 255)), uint8(min(unknown, 255))
	e.receipt = schema.Receipt{
		ID: m.ID, AppID: m.AppID, Generation: generation, State: schema.StateCancelled,
		Lane: m.Subject.Lane, Campaign: m.Campaign(), Source: m.Envelope.Source,
		Attempts: spent, PossibleDuplicate: ledger.PossibleDuplicate(unknown, ""),
		PublishedAt: m.Published().UTC(), SettledAt: time.Now().UTC(),
	}
	return e
}

// wantReceipts says whether a worker would store a receipt of what was cancelled.
func (r *removal) wantReceipts(workers []pool.Worker) bool {
	switch pool.ReceiptsOf(workers, r.app.ID) {
	case pool.ReceiptsOff:
		return false
	case pool.ReceiptsNobody:
		return r.options.Receipts
	}
	return true
}

// write stores the receipts of some ends, then their marks.
func (r *removal) write(ctx context.Context, ends []end, receipts bool) error {
	var marks []ledger.Mark
	for _, e := range ends {
		if e.mark.Kind == 0 {
			continue
		}
		marks = append(marks, e.mark)
		// An id that names the person would bring back what is removed.
		if !receipts || strings.Contains(e.receipt.ID, r.openID) {
			continue
		}
		body, err := json.Marshal(e.receipt)
		if err != nil {
			return err
		}
		id := wire.ReceiptMsgID(e.receipt.AppID, e.receipt.ID, e.receipt.Generation)
		_, err = r.conn.Outbox.PublishWait(ctx, &nats.Msg{
			Subject: schema.ReceiptSubject(e.receipt.AppID, e.receipt.State), Data: body,
			Header: nats.Header{schema.HeaderMsgID: {id}},
		})
		if err != nil {
			return err
		}
	}
	return ledger.Append(ctx, r.conn, pool.NewName("forget"), marks)
}

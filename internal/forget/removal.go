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
	"github.com/kefuhq/kefu/internal/queue"
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

	ids  map[string]bool // of the person's intents, as far as they are known
	open []queue.Message // found, and not ended yet
	log  *ledger.Lookup
	left []Remnant // what names the person and is not removed
}

// run goes through everything. What workers write while it runs lies where it looks later.
func (r *removal) run(ctx context.Context) error {
	r.ids, r.log = make(map[string]bool), ledger.NewLookup(r.conn)
	for _, part := range []func(context.Context) error{
		r.intents, r.letters, r.jobRecords, r.receipts, r.rows,
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
	reader := queue.NewReader(r.conn, r.app, queue.OfRecipient(r.openID))
	for giveUp := time.Now().Add(r.options.callsEnd); ; {
		fresh := 0
		err := reader.Read(ctx, func(m queue.Message) error {
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
func (r *removal) count(m queue.Message) {
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
	living, workers, err := queue.NewLiving(ctx, r.conn)
	if err != nil {
		return err
	}
	var left []queue.Message
	var ends []queue.End
	for _, m := range r.open {
		said := r.log.Peek(m.Start())
		if living.Has(said) {
			left = append(left, m)
			continue
		}
		ends = append(ends, queue.EndOf(m, said))
	}
	if len(left) > 0 {
		r.options.Progress("waiting for calls that are under way")
	}
	if err := r.write(ctx, ends, r.wantReceipts(workers)); err != nil {
		return err
	}
	for _, e := range ends {
		switch err := r.conn.Erase(ctx, e.Message.Stream, e.Message.Seq); {
		case err == nil:
			r.count(e.Message)
		case !errors.Is(err, broker.ErrNoMessage): // a worker, or its dispatcher, was quicker
			return err
		}
	}
	r.open = left
	return nil
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
func (r *removal) write(ctx context.Context, ends []queue.End, receipts bool) error {
	var marks []ledger.Mark
	for _, e := range ends {
		if e.Mark.Kind == 0 {
			continue
		}
		marks = append(marks, e.Mark)
		// An id that names the person would bring back what is removed.
		if !receipts || strings.Contains(e.Message.ID, r.openID) {
			continue
		}
		receipt := e.Receipt()
		body, err := json.Marshal(receipt)
		if err != nil {
			return err
		}
		id := wire.ReceiptMsgID(receipt.AppID, receipt.ID, receipt.Generation)
		_, err = r.conn.Outbox.PublishWait(ctx, &nats.Msg{
			Subject: schema.ReceiptSubject(receipt.AppID, receipt.State), Data: body,
			Header: nats.Header{schema.HeaderMsgID: {id}},
		})
		if err != nil {
			return err
		}
	}
	return ledger.Append(ctx, r.conn, pool.NewName("forget"), marks)
}

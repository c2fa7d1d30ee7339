package queue

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

// Start is the mark with which a worker would begin to send the message.
func (m Message) Start() ledger.Mark {
	mark := ledger.Mark{
		Key: ledger.KeyOf(m.AppID, m.ID), Body: ledger.BodyOf(m.Packet), Kind: ledger.Start,
		Again: m.Subject.Again, Campaign: ledger.CampaignOf(m.AppID, m.Campaign()),
		Before:  ledger.ParseEnd(m.Envelope.Before).DiedOf(m.Envelope.BeforeErrcode),
		Attempt: uint8(min(m.Envelope.Attempt, 255)),
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

// End is how an intent ends when its message is taken out.
type End struct {
	Message Message
	Mark    ledger.Mark // of kind 0 when the ledger knows its end

	generation, spent, unknown int
}

// EndOf says how the intent of a message ends, by what the ledger says of its start. It is the end
// that a worker would write: life.cancel in package worker.
func EndOf(m Message, said ledger.Standing) End {
	e := End{Message: m}
	switch said.Ruling {
	case ledger.Ended, ledger.Repeat, ledger.Reuse:
		return e // an intent that has ended, or goes on as another message
	}
	e.generation, e.unknown = m.Envelope.Generation, said.Unknown
	if !m.Subject.Again {
		e.generation = max(said.Generation, 1)
	}
	e.spent = max(m.Envelope.Attempt-1, said.Attempts)
	if said.Ruling == ledger.Started { // and its worker is gone
		e.unknown++
	}
	e.Mark = m.Start()
	e.Mark.Kind, e.Mark.Before = ledger.Cancelled, said.Before
	e.Mark.Generation = uint16(min(e.generation, 1<<16-1))
	e.Mark.Attempt, e.Mark.Unknown = uint8(min(e.spent, 255)), uint8(min(e.unknown, 255))
	return e
}

// Receipt is what its producer is told of an end that has a mark.
func (e End) Receipt() schema.Receipt {
	m := &e.Message
	return schema.Receipt{
		ID: m.ID, AppID: m.AppID, Generation: e.generation, State: schema.StateCancelled,
		Lane: m.Subject.Lane, Campaign: m.Campaign(), Source: m.Envelope.Source,
		Attempts: e.spent, PossibleDuplicate: ledger.PossibleDuplicate(e.unknown, ""),
		PublishedAt: m.Published().UTC(), SettledAt: time.Now().UTC(),
	}
}

// Living are the names of workers that may be at work.
type Living map[string]bool

// NewLiving reads which workers of the pool are alive.
func NewLiving(ctx context.Context, conn *broker.Conn) (Living, []pool.Worker, error) {
	workers, err := pool.Workers(ctx, conn)
	alive := make(Living, len(workers))
	for _, w := range workers {
		alive[w.Name] = true
	}
	return alive, workers, err
}

// Has says whether one of them has begun to send an intent, or to bury it: it alone knows how that
// ends.
func (l Living) Has(said ledger.Standing) bool {
	return (said.Ruling == ledger.Started || said.Ruling == ledger.Doomed) && l[said.Worker]
}

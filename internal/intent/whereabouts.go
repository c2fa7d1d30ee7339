package intent

import (
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/schema"
)

// Whereabouts is what is known about an intent: where it stands in its newest generation, and what
// happened to it in all.
type Whereabouts struct {
	ID                string        `json:"id"`
	AppID             string        `json:"appid"`
	State             schema.State  `json:"state"`
	Generation        int           `json:"generation"`
	Attempts          int           `json:"attempts"`
	Reason            schema.Reason `json:"reason,omitempty"`
	Detail            string        `json:"detail,omitempty"`
	Errcode           *int          `json:"errcode,omitempty"`
	Errmsg            string        `json:"errmsg,omitempty"`
	RID               string        `json:"rid,omitempty"`
	PossibleDuplicate bool          `json:"possible_duplicate,omitempty"`
	Worker            string        `json:"worker,omitempty"` // who has it, when it is in flight
	Lane              schema.Lane   `json:"lane,omitempty"`
	Campaign          string        `json:"campaign,omitempty"`
	Source            string        `json:"source,omitempty"`
	Stream            string        `json:"stream,omitempty"` // where its message is
	Sequence          uint64        `json:"sequence,omitempty"`
	Until             time.Time     `json:"until,omitzero"` // what it waits for
	Withdrawn         bool          `json:"withdrawn,omitempty"`
	WithdrawnBy       string        `json:"withdrawn_by,omitempty"`
	PublishedAt       time.Time     `json:"published_at,omitzero"` // zero: nothing tells any more
	SettledAt         time.Time     `json:"settled_at,omitzero"`   // when it ended
	Events            []Event       `json:"events"`

	bodies []uint32 // of its message, as far as they are known: hashes by ledger.BodyOf
}

// Receipt returns what the receipt of an intent that has ended says, or would say if it was
// written. PublishedAt is zero when nothing tells any more.
func (w Whereabouts) Receipt() schema.Receipt {
	return schema.Receipt{
		ID: w.ID, AppID: w.AppID, Generation: w.Generation, State: w.State, Lane: w.Lane,
		Campaign: w.Campaign, Source: w.Source, Reason: w.Reason, Errcode: w.Errcode,
		Errmsg: w.Errmsg, RID: w.RID, Attempts: w.Attempts, PossibleDuplicate: w.PossibleDuplicate,
		PublishedAt: w.PublishedAt, SettledAt: w.SettledAt,
	}
}

// Differs says whether a packet is known to be another message than the intent's.
func (w Whereabouts) Differs(packet []byte) bool {
	return len(w.bodies) > 0 && !slices.Contains(w.bodies, ledger.BodyOf(packet))
}

// Event is one thing that is known to have happened to it.
type Event struct {
	At         time.Time `json:"at"`
	What       string    `json:"what"`
	WhatZh     string    `json:"what_zh"`
	Generation int       `json:"generation,omitempty"`
	Worker     string    `json:"worker,omitempty"`
}

// judge says where the intent stands. Of what the places say, the newest generation counts; within
// it an end counts more than anything before, because there is one end for each.
func (t *trace) judge() Whereabouts {
	w := Whereabouts{ID: t.id, AppID: t.appID, PublishedAt: t.published(), bodies: t.bodies()}
	w.byLedger(t)
	w.byReceipts(t)
	w.byLetters(t)
	w.byQueue(t)
	if v := t.withdrawal; v != nil && !w.State.Terminal() && v.Covers(w.Generation, t.published()) {
		w.Withdrawn, w.WithdrawnBy = true, v.By
		w.add(v.At, min(v.Generation, w.Generation), "",
			words{"withdrawn by " + v.By, "被 " + v.By + " 撤回"})
	}
	slices.SortStableFunc(w.Events, func(a, b Event) int { return a.At.Compare(b.At) })
	w.Events = slices.CompactFunc(w.Events, func(a, b Event) bool {
		return a.What == b.What && a.At.Equal(b.At)
	})
	return w
}

// published is when the message that is queued or waits was published, zero when there is none.
func (t *trace) published() time.Time {
	m := t.queued
	if m == nil {
		m = t.waiting
	}
	if m == nil {
		return time.Time{}
	}
	return m.Published()
}

// bodies are the hashes of the messages that are known to be the intent's. There may be two: a
// replay may have changed it.
func (t *trace) bodies() (known []uint32) {
	if t.story.Known {
		known = append(known, t.story.Now.Body)
	}
	for _, e := range t.story.Events {
		if e.Ruling == ledger.Go {
			known = append(known, e.Mark.Body)
		}
	}
	for _, m := range []*queue.Message{t.queued, t.waiting} {
		if m != nil {
			known = append(known, ledger.BodyOf(m.Packet))
		}
	}
	return known
}

func (w *Whereabouts) add(at time.Time, generation int, worker string, what words) {
	if !at.IsZero() {
		w.Events = append(w.Events, Event{at, what.en, what.zh, generation, worker})
	}
}

func (w *Whereabouts) byLedger(t *trace) {
	for _, e := range t.story.Events {
		if !t.reported(e) {
			w.add(e.Time, e.Generation, e.Worker, describeEvent(e))
		}
	}
	if !t.story.Known {
		return
	}
	now := t.story.Now
	w.Generation, w.Attempts = max(int(now.Generation), 1), int(now.Attempt)
	switch now.Kind {
	case ledger.Start:
		w.State, w.Worker = schema.StateInFlight, t.story.Worker
		if !t.alive[t.story.Worker] {
			w.Detail = "its worker is gone; another takes it over, and treats the attempt as one " +
				"of unknown outcome"
		}
	case ledger.Later: // its attempt is the one to come
		w.State, w.Attempts = schema.StateWaiting, max(w.Attempts-1, 0)
	case ledger.Sent:
		w.State, w.SettledAt = schema.StateSent, t.endedAt()
	case ledger.Dead:
		w.State, w.SettledAt = schema.StateDead, t.endedAt()
	case ledger.Cancelled:
		w.State, w.SettledAt = schema.StateCancelled, t.endedAt()
	default:
		w.State = schema.StateQueued
		if _, dying := now.Kind.Dying(); dying {
			w.State, w.Worker = schema.StateInFlight, t.story.Worker
			w.Detail = "its dead letter is being written"
		}
	}
}

// endedAt is when the ledger noted the intent's last end.
func (t *trace) endedAt() time.Time {
	for _, e := range slices.Backward(t.story.Events) {
		if e.Mark.Kind == t.story.Now.Kind {
			return e.Time.UTC()
		}
	}
	return time.Time{}
}

// reported says whether a letter or a receipt tells of an event, and more of it.
func (t *trace) reported(e ledger.RuledEvent) bool {
	generation := int(e.Mark.Generation)
	if _, dying := e.Mark.Kind.Dying(); dying {
		return t.hasLetter(generation)
	}
	switch e.Mark.Kind {
	case ledger.Dead:
		if t.hasLetter(generation) {
			return true
		}
	case ledger.Sent, ledger.Cancelled:
	default:
		return false
	}
	return slices.ContainsFunc(t.receipts, func(r schema.Receipt) bool {
		return r.Generation == generation && string(r.State) == e.Mark.Kind.String()
	})
}

func (t *trace) hasLetter(generation int) bool {
	for _, i := range t.letters {
		if i.Letter.Generation == generation && i.Letter.Reason != schema.ReasonIDReuse {
			return true
		}
	}
	return false
}

func (w *Whereabouts) byReceipts(t *trace) {
	for _, r := range t.receipts {
		w.add(r.PublishedAt, 1, "", published)
		if r.State != schema.StateDead || !t.hasLetter(r.Generation) {
			w.add(r.SettledAt, r.Generation, "", describeEnd(r.State, r.Reason, ""))
		}
		// The letter of an id-reuse is another message's.
		if r.Reason == schema.ReasonIDReuse && w.State != "" || r.Generation < w.Generation {
			continue
		}
		w.State, w.Generation, w.Attempts = r.State, r.Generation, r.Attempts
		w.Reason, w.Detail, w.Worker, w.PossibleDuplicate = r.Reason, "", "", r.PossibleDuplicate
		w.Errcode, w.Errmsg, w.RID = r.Errcode, r.Errmsg, r.RID
		w.Lane, w.Campaign, w.Source = r.Lane, r.Campaign, r.Source
		w.PublishedAt, w.SettledAt = r.PublishedAt, r.SettledAt
	}
}

func (w *Whereabouts) byLetters(t *trace) {
	for _, i := range t.letters {
		l := i.Letter
		w.add(l.PublishedAt, 1, "", published)
		w.add(l.DiedAt, l.Generation, l.Worker, describeEnd(schema.StateDead, l.Reason, l.Detail))
		for _, a := range l.Attempts {
			w.add(a.At.Add(time.Duration(a.DurationMS*float64(time.Millisecond))), l.Generation,
				a.Worker, describeAttempt(a))
		}
		if l.Reason == schema.ReasonIDReuse && w.State != "" || l.Generation < w.Generation {
			continue
		}
		w.State, w.Generation, w.Attempts = schema.StateDead, l.Generation, deadletter.AttemptsOf(&l)
		w.Worker = ""
		w.Reason, w.Detail, w.PossibleDuplicate = l.Reason, l.Detail, l.PossibleDuplicate
		w.Errcode, w.Errmsg, w.RID = l.Errcode, l.Errmsg, l.RID
		w.Lane, w.Campaign, w.Source = l.Lane, l.Campaign, l.Source
		w.PublishedAt, w.SettledAt = l.PublishedAt, l.DiedAt
	}
}

// byQueue takes in the intent's message, if it still has one.
func (w *Whereabouts) byQueue(t *trace) {
	m, state := t.queued, schema.StateQueued
	if m == nil {
		m, state = t.waiting, schema.StateWaiting
	}
	if m == nil {
		return
	}
	generation := m.Envelope.Generation
	switch {
	case m.Subject.Again:
		w.add(m.Envelope.PublishedAt, 1, "", published)
		if state == schema.StateQueued {
			w.add(m.Stored, generation, "", queuedAgain)
		}
	case t.story.Known: // a producer's message does not know its generation
		generation = t.story.Generation(m.Seq, m.Made)
		fallthrough
	default:
		w.add(m.Stored, generation, "", published)
	}
	switch {
	case generation < w.Generation, generation == w.Generation && w.State.Terminal():
		return // about to be acknowledged: nothing comes of it any more
	case generation > w.Generation: // a new life: what is known is of the one before
		w.State, w.Attempts, w.Worker = state, m.Envelope.Attempt-1, ""
		w.Reason, w.Detail, w.PossibleDuplicate = "", "", false
		w.Errcode, w.Errmsg, w.RID = nil, "", ""
		w.PublishedAt, w.SettledAt = t.published(), time.Time{}
	case w.State != schema.StateInFlight || state == schema.StateWaiting:
		w.State, w.Attempts = state, max(w.Attempts, m.Envelope.Attempt-1)
	}
	w.Generation, w.Stream, w.Sequence, w.Until = generation, m.Stream, m.Seq, m.Until
	if m.Envelope.SendAt.After(w.Until) {
		w.Until = m.Envelope.SendAt
	}
	w.Lane, w.Source = m.Subject.Lane, m.Envelope.Source
	if m.Subject.Lane == schema.LaneBulk {
		w.Campaign = m.Subject.Key
	}
}

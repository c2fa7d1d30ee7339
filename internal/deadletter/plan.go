package deadletter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// App is what a replay has to know of an app's settings.
type App struct {
	ExpireAfter time.Duration // deadline after publishing of what has none of its own; 0 for none
	Limits      schema.Limits // of packets, to tell what was invalid and no longer is
	Held        string        // why the app is held now; "" when it is not
}

// Options of a replay and of its plan.
type Options struct {
	Rate      float64        // letters a second; 0 for as fast as the queue takes them
	Limit     int            // letters at most; 0 for all
	ExpiresIn time.Duration  // a new deadline, from when each is published; 0 keeps the old one
	NewIDs    bool           // send letters whose id is another's under an id of their own
	Apps      map[string]App // by appid
	By        string         // who asks, for the audit

	// Ledger tells what became of ids; nil without a ledger. With Through it must
	// be the one that the plan was given.
	Ledger Ledger

	// Remembered is for how long the ledger, or without one the queue, recognises
	// a repeat; 0 for always. A letter that a replay which was killed may have
	// published longer ago is left in the box, but with AllowDoubles.
	Remembered   time.Duration
	AllowDoubles bool

	// Through is the last sequence in the box that takes part: Plan.Through, or
	// 0 for what is there now. What dies again while a replay runs is not of it.
	Through uint64

	// Progress is called after each letter, by one goroutine at a time; it must
	// not block.
	Progress func(Progress)
}

// Fate is what will probably become of a letter that is replayed.
type Fate string

// The fates of letters. A letter has one, the first that holds in this order.
const (
	CannotBe   Fate = "cannot be replayed" // Notes say why; a replay leaves it in the box
	WillExpire Fate = "expired"            // before its turn; it stays in the box
	WasSent    Fate = "replayed before"    // by a run that did not end; it is taken out
	SameAgain  Fate = "same again"         // its reason is final, and nothing has changed
	WillWait   Fate = "app held"           // it is queued, and waits until the hold ends
	WillBeSent Fate = "will be sent"
)

// Fates lists every fate, the good ones first.
func Fates() []Fate {
	return []Fate{WillBeSent, WillWait, WasSent, SameAgain, WillExpire, CannotBe}
}

// Note is a sentence about several letters.
type Note struct {
	Fate  Fate     `json:"fate,omitempty"`
	Text  string   `json:"text"`
	Count int      `json:"count"`
	IDs   []string `json:"ids"` // of a few of them
}

// Plan says what a replay would do.
type Plan struct {
	Total      int                   `json:"total"`
	Replayable int                   `json:"replayable"` // what a replay would publish
	Reasons    map[schema.Reason]int `json:"reasons"`
	Apps       map[string]int        `json:"apps"`
	Fates      map[Fate]int          `json:"fates"`
	Notes      []Note                `json:"notes,omitempty"` // why not, most frequent first

	// PossibleDuplicates counts those of Replayable that the recipient may have
	// got already: their outcome was never known.
	PossibleDuplicates int `json:"possible_duplicates"`

	// MayDouble counts those of Replayable that a replay which was killed may have
	// published, longer ago than a repeat is recognised.
	MayDouble int `json:"may_double"`

	Oldest  time.Time     `json:"oldest,omitzero"` // when the first of them died
	Newest  time.Time     `json:"newest,omitzero"`
	Takes   time.Duration `json:"-"` // at the rate of the options; 0 without one
	Through uint64        `json:"through"`
}

// Plan looks at every letter the filter chooses and changes nothing.
func (b *Box) Plan(ctx context.Context, filter Filter, o Options, now time.Time) (Plan, error) {
	p := Plan{Reasons: make(map[schema.Reason]int), Apps: make(map[string]int),
		Fates: make(map[Fate]int), Through: o.Through}
	if p.Through == 0 {
		var err error
		if p.Through, err = b.last(ctx); err != nil {
			return Plan{}, err
		}
	}
	o.Through, o.AllowDoubles = p.Through, true // they are counted
	records, err := b.records(ctx, filter, o, true)
	if err != nil {
		return Plan{}, err
	}
	var notes notes
	queues := queues{box: b}
	err = b.from(ctx, filter, 0, p.Through, func(item Item) error {
		if o.Limit > 0 && p.Replayable >= o.Limit {
			return errEnough
		}
		queue, err := queues.has(ctx, item.Letter.AppID)
		if err != nil {
			return err
		}
		p.add(&item.Letter)
		assessed, err := records.assess(ctx, &item, queue, now)
		if err != nil {
			return err
		}
		fate, why := o.foresee(&item, assessed, queue, now, now.Add(o.takes(p.Replayable)))
		p.Fates[fate]++
		if why != "" {
			notes.add(fate, why, item.Letter.ID)
		}
		if fate == CannotBe || fate == WillExpire {
			return nil
		}
		p.Replayable++
		records.notePublished(&item, assessed.target)
		if assessed.mayDouble {
			p.MayDouble++
		}
		if item.Letter.PossibleDuplicate {
			p.PossibleDuplicates++
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return Plan{}, err
	}
	p.Takes = o.takes(p.Replayable)
	p.Notes = notes.sorted()
	return p, nil
}

// errEnough ends a scan at the limit.
var errEnough = errors.New("enough letters")

func (p *Plan) add(l *schema.Letter) {
	p.Total++
	p.Reasons[l.Reason]++
	p.Apps[l.AppID]++
	if p.Oldest.IsZero() || l.DiedAt.Before(p.Oldest) {
		p.Oldest = l.DiedAt
	}
	if l.DiedAt.After(p.Newest) {
		p.Newest = l.DiedAt
	}
}

// takes is how long n letters take at the rate.
func (o Options) takes(n int) time.Duration {
	if o.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(n) / o.Rate * float64(time.Second))
}

// foresee is what becomes of a letter that is replayed at a time, seen from
// now, and why that is no good news. queue says whether its app has one, and
// assessed what came before.
func (o Options) foresee(
	item *Item, assessed assessment, queue bool, now, at time.Time,
) (Fate, string) {
	l := &item.Letter
	if _, err := o.message(item, assessed.target, at); err != nil {
		return CannotBe, err.Error()
	}
	switch {
	case !queue:
		return CannotBe, string(refuseNoQueue)
	case assessed.action == removeLetter:
		return WasSent, ""
	case assessed.action == keepLetter:
		return CannotBe, string(assessed.refusal)
	}
	if deadline := o.deadline(l, at); !deadline.IsZero() && !at.Before(deadline) {
		if now.Before(deadline) {
			return WillExpire, "its deadline passes before its turn comes: raise the rate or " +
				"give a new one"
		}
		return WillExpire, string(refuseExpired)
	}
	if why := o.unchanged(l); why != "" {
		return SameAgain, why
	}
	if why := o.Apps[l.AppID].Held; why != "" {
		return WillWait, why
	}
	return WillBeSent, ""
}

// unchanged says why a letter would die again of what it died of; "" when it
// might not.
func (o Options) unchanged(l *schema.Letter) string {
	switch l.Reason {
	case schema.ReasonInvalid:
		return o.invalid(l)
	case schema.ReasonRejected, schema.ReasonRecipient:
		if l.Errcode == nil {
			return "the API refused it for good"
		}
		// The table may know better today than the kefu that buried it.
		code := wechat.Explain(wechat.CallSend, *l.Errcode)
		switch code.Fault {
		case wechat.FaultMessage:
			return fmt.Sprintf("%d: %s", code.Code, code.En)
		case wechat.FaultRecipient:
			return fmt.Sprintf("%d: %s (unless that has changed since)", code.Code, code.En)
		case wechat.FaultUnlisted:
			return fmt.Sprintf("%d: %s", code.Code, code.En)
		}
	case schema.ReasonPoison:
		return "handling it failed three times"
	}
	return ""
}

// invalid says why a packet still breaks the rules.
func (o Options) invalid(l *schema.Letter) string {
	packet, err := schema.Decode(l.Packet(), o.Apps[l.AppID].Limits)
	if err != nil {
		return err.Error()
	}
	subject, err := wire.ParseSubject(l.Subject)
	if err == nil {
		err = subject.CheckPacket(packet)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// queues remembers which apps have a queue.
type queues struct {
	box   *Box
	known map[string]bool
}

func (q *queues) has(ctx context.Context, appID string) (bool, error) {
	if yes, ok := q.known[appID]; ok {
		return yes, nil
	}
	stream := schema.SendStream(appID)
	has := stream != ""
	if has {
		_, err := q.box.conn.JS.Stream(ctx, stream)
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return false, fmt.Errorf("look at %s: %w", stream, err)
		}
		has = err == nil
	}
	if q.known == nil {
		q.known = make(map[string]bool)
	}
	q.known[appID] = has
	return has, nil
}

// notes gathers sentences about letters.
type notes struct{ list []Note }

const (
	mostNotes = 50 // sentences may quote what a producer chose
	mostIDs   = 5
)

func (n *notes) add(fate Fate, text, id string) {
	at := slices.IndexFunc(n.list, func(o Note) bool { return o.Fate == fate && o.Text == text })
	if at < 0 && len(n.list) >= mostNotes {
		text = "for other reasons"
		at = slices.IndexFunc(n.list, func(o Note) bool { return o.Fate == fate && o.Text == text })
	}
	if at < 0 {
		n.list = append(n.list, Note{Fate: fate, Text: text})
		at = len(n.list) - 1
	}
	note := &n.list[at]
	note.Count++
	if len(note.IDs) < mostIDs && id != "" {
		note.IDs = append(note.IDs, id)
	}
}

func (n *notes) sorted() []Note {
	out := slices.Clone(n.list)
	slices.SortStableFunc(out, func(a, b Note) int { return b.Count - a.Count })
	for i := range out {
		out[i].IDs = slices.Clone(out[i].IDs)
	}
	return out
}

package replay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// Request is what somebody wants to send again.
type Request struct {
	Filter  deadletter.Filter
	Rate    float64 // letters a second, of all apps together; 0 for as fast as the queues take them
	Limit   int     // letters at most, the oldest; 0 for all
	Options Options
}

// Fate is what will probably become of a letter that is replayed.
type Fate string

// The fates of letters. A letter has one, the first that holds in this order.
const (
	CannotBe   Fate = "cannot be replayed" // Notes say why; a replay leaves it in the box
	WillExpire Fate = "expired"            // before its turn; it stays in the box
	WasSent    Fate = "replayed before"    // by a replay that was cut off; it is taken out
	SameAgain  Fate = "same again"         // its reason is final, and nothing has changed
	WillWait   Fate = "app held"           // it is queued, and waits until the hold ends
	WillBeSent Fate = "will be sent"
)

// Fates lists every fate, the good ones first.
func Fates() []Fate {
	return []Fate{WillBeSent, WillWait, WasSent, SameAgain, WillExpire, CannotBe}
}

// Note is a sentence about several letters of a fate.
type Note struct {
	Fate Fate `json:"fate,omitempty"`
	notes.Note
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

	// MayDouble counts those of Replayable that a replay which was cut off may have
	// published, longer ago than a repeat is recognised.
	MayDouble int `json:"may_double"`

	Oldest  time.Time     `json:"oldest,omitzero"` // when the first of them died
	Newest  time.Time     `json:"newest,omitzero"`
	Takes   time.Duration `json:"-"` // at the rate of the request; 0 without one
	Through uint64        `json:"through"`

	made       time.Time      // the box
	replayable map[string]int // by app
	notes      map[Fate]*notes.List
}

// EditError says that the changes of a request do not fit a letter.
type EditError struct {
	ID  string // of the letter
	Err error  // a [*schema.FieldError] when the packet would break a rule
}

func (e *EditError) Error() string {
	return fmt.Sprintf("the change would make %s invalid: %v", e.ID, e.Err)
}

// Unwrap returns the rule that is broken.
func (e *EditError) Unwrap() error { return e.Err }

// errEnough ends a scan at the limit.
var errEnough = errors.New("enough letters")

// NewPlan looks at every letter that a request chooses and changes nothing. A change that does not
// fit one of them is an [*EditError].
func NewPlan(
	ctx context.Context, conn *broker.Conn, r Request, known Known, now time.Time,
) (Plan, error) {
	p := Plan{
		Reasons: make(map[schema.Reason]int), Apps: make(map[string]int),
		Fates: make(map[Fate]int), replayable: make(map[string]int),
		notes: make(map[Fate]*notes.List),
	}
	box := deadletter.Open(conn)
	extent, err := box.Extent(ctx)
	if p.made, p.Through = extent.Made, extent.Last; err != nil || p.Through == 0 {
		return p, err
	}
	r.Options.AllowDoubles = true // they are counted
	records, err := recordsFor(ctx, conn, box, r, known, p)
	if err != nil {
		return p, err
	}
	err = box.Range(ctx, r.Filter, 0, p.Through, func(item deadletter.Item) error {
		if r.Limit > 0 && p.Replayable >= r.Limit {
			p.Through = item.Seq - 1
			return errEnough
		}
		return p.judge(ctx, records, r, &item, now)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return p, err
	}
	p.Takes = r.takes(p.Replayable)
	p.Notes = p.sortedNotes()
	return p, nil
}

// recordsFor gathers what does not depend on single letters, and has the ledger look for those that
// a request chooses.
func recordsFor(
	ctx context.Context, conn *broker.Conn, box *deadletter.Box, r Request, known Known, p Plan,
) (*records, error) {
	records := newRecords(conn, known)
	hands, err := readHands(ctx, conn, p.made)
	if err != nil {
		return nil, err
	}
	for _, h := range hands {
		records.doubtful(doubt{h.Seq, h.NewID}, h.At)
	}
	if known.Ledger == nil {
		return records, nil
	}
	return records, box.Range(ctx, r.Filter, 0, p.Through, func(item deadletter.Item) error {
		l := &item.Letter
		known.Ledger.Want(l.AppID, l.ID, l.PublishedAt)
		if r.Options.NewIDs {
			known.Ledger.Want(l.AppID, newID(l), l.PublishedAt)
		}
		return nil
	})
}

// judge adds a letter to the plan.
func (p *Plan) judge(
	ctx context.Context, records *records, r Request, item *deadletter.Item, now time.Time,
) error {
	if err := records.known.checkEdit(item, r.Options, now); err != nil {
		return err
	}
	at := now.Add(r.takes(p.Replayable))
	v, err := records.judge(ctx, item, r.Options, now, at)
	if err != nil {
		return err
	}
	p.add(&item.Letter)
	fate, why := records.known.foresee(item, v, r.Options, now, at)
	p.Fates[fate]++
	if why != "" {
		if p.notes[fate] == nil {
			p.notes[fate] = new(notes.List)
		}
		p.notes[fate].Add(why, item.Letter.ID)
	}
	if fate == CannotBe || fate == WillExpire {
		return nil
	}
	p.Replayable++
	p.replayable[item.Letter.AppID]++
	records.notePublished(item, v.target)
	if v.mayDouble {
		p.MayDouble++
	}
	if item.Letter.PossibleDuplicate {
		p.PossibleDuplicates++
	}
	return nil
}

// checkEdit says whether the changes fit a letter that could be sent without them.
func (k Known) checkEdit(item *deadletter.Item, o Options, now time.Time) error {
	if len(o.Set) == 0 || item.Broken {
		return nil
	}
	packet, err := o.Set.Apply(item.Letter.Packet())
	if err != nil {
		return &EditError{item.Letter.ID, err}
	}
	msg, err := o.message(item, packet, targetOf(item, o.NewIDs), now)
	if err != nil {
		return nil // nor could it be without them
	}
	if err := k.check(&item.Letter, msg); err != nil {
		return &EditError{item.Letter.ID, err}
	}
	return nil
}

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

func (p *Plan) sortedNotes() (out []Note) {
	for _, fate := range Fates() {
		if list := p.notes[fate]; list != nil {
			for _, n := range *list {
				out = append(out, Note{fate, n})
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Note) int { return cmp.Compare(b.Count, a.Count) })
	return out
}

// takes is how long n letters take at the rate.
func (r Request) takes(n int) time.Duration {
	if r.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(n) / r.Rate * float64(time.Second))
}

// foresee is what becomes of a letter whose turn comes at a time, seen from now, and why that is no
// good news.
func (k Known) foresee(
	item *deadletter.Item, v verdict, o Options, now, at time.Time,
) (Fate, string) {
	l := &item.Letter
	switch {
	case v.action == removeLetter:
		return WasSent, ""
	case errors.Is(v.why, refuseExpired):
		if now.Before(k.deadline(l, o, at)) {
			return WillExpire, "its deadline passes before its turn comes: raise the rate or " +
				"give a new one"
		}
		return WillExpire, v.why.Error()
	case v.action == keepLetter:
		return CannotBe, v.why.Error()
	}
	if why := k.unchanged(l, v, o); why != "" {
		return SameAgain, why
	}
	if why := k.Apps[l.AppID].Held; why != "" {
		return WillWait, why
	}
	return WillBeSent, ""
}

// unchanged says why a letter would die again of what it died of; "" when it
// might not.
func (k Known) unchanged(l *schema.Letter, v verdict, o Options) string {
	switch l.Reason {
	case schema.ReasonInvalid:
		if err := k.check(l, v.msg); err != nil {
			return err.Error()
		}
	case schema.ReasonRejected, schema.ReasonRecipient:
		if l.Errcode == nil {
			return "the API refused it for good"
		}
		// The table may know better today than the kefu that buried it.
		code := wechat.Explain(wechat.CallSend, *l.Errcode)
		switch {
		case code.Fault == wechat.FaultRecipient:
			return fmt.Sprintf("%d: %s (unless that has changed since)", code.Code, code.En)
		case len(o.Set) > 0: // and the message is another one now
		case code.Fault == wechat.FaultMessage, code.Fault == wechat.FaultUnlisted:
			return fmt.Sprintf("%d: %s", code.Code, code.En)
		}
	case schema.ReasonPoison:
		return "handling it failed three times"
	}
	return ""
}

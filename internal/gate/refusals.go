package gate

import (
	"slices"
	"time"
)

// Refusal is a message that was refused with an answer that speaks of the whole app. Whether it
// really does, only other messages can tell.
type Refusal struct {
	ID     string `json:"id"`             // of the intent
	Kind   string `json:"what,omitempty"` // msgtype, and the kf_account that it names
	Answer string `json:"answer"`         // "errcode 40200", "HTTP 302"
}

// Standing is what the app's other messages say about a refusal.
type Standing struct {
	Before bool // the same message was refused with the same answer before
	Proven bool // and after that another message was sent: it is about this message

	// InRow is how many different messages were refused with this answer since one was sent, this
	// one included.
	InRow int

	Selective bool // some messages were refused with this answer lately while others were sent
	OfKind    bool // those, and all of InRow, were of this one's kind, of which none was sent
	Lately    bool // others were sent a moment ago, after some had been refused with this answer
}

const (
	// selectiveFor is how long an answer is known as selective: only some messages are refused with
	// it.
	selectiveFor = time.Hour

	// lately is for how long that still speaks of the account as it is now.
	lately = 10 * time.Second

	// selectiveEvery bounds how often the pool is told of it, but for the end of a hold.
	selectiveEvery = time.Minute

	// mostRefusals bounds what a worker remembers; the oldest is forgotten first, and is then
	// refused once more before it is known again.
	mostRefusals = 256

	// mostShared bounds what a Hold and a Selective tell the pool: 64 ids of 128 bytes, and for
	// each answer as many kinds of 160 bytes at most.
	mostShared = 64
)

// refusals is who was refused with what since a message was sent last. It tells an answer that is
// about the account from one that is about a message: an account that is limited sends nothing, so
// whoever is refused again after another message was sent is refused for its own sake.
//
// "After" is strict: the other call must have begun after the refusal was known, or an account that
// is limited while calls are under way would look like a bad message. Each refusal has a number for
// that, and each Permission carries that of the last refusal before it:
//
//	A begins · A is refused (1) · B begins after 1 · B is sent  → A's refusal is about A
//	A begins · B begins after 0 · A is refused (1) · B is sent  → proves nothing
type refusals struct {
	last  uint64           // number of the last refusal
	list  []refusal        // oldest first
	known map[string]Known // by answer: the selective ones
}

type refusal struct {
	Refusal
	number uint64 // of the first of several
	proven bool
	inRow  bool
	ended  bool // its intent has: it counts in the row, and is of no other use
}

// note takes down a refusal.
func (s *refusals) note(d Refusal, now time.Time) Standing {
	s.last++
	k, known := s.known[d.Answer]
	selective := known && now.Sub(k.At) < selectiveFor
	i := s.find(d)
	if i >= 0 && s.list[i].proven && !selective {
		// So long ago that it says nothing of the account's state now.
		s.list = slices.Delete(s.list, i, i+1)
		i = -1
	}
	st := Standing{Before: i >= 0, Selective: selective, Lately: known && now.Sub(k.At) < lately}
	if i < 0 {
		if e := s.findEnded(d); e >= 0 { // a replay of it: in a row it counts once
			s.list = slices.Delete(s.list, e, e+1)
		}
		i = s.add(refusal{Refusal: d, number: s.last})
	}
	st.Proven = s.list[i].proven
	if !st.Proven {
		s.list[i].inRow = true
	}
	st.OfKind = st.Selective && slices.Contains(k.Kinds, d.Kind)
	for _, other := range s.list {
		if other.inRow && other.Answer == d.Answer {
			st.InRow++
			st.OfKind = st.OfKind && slices.Contains(k.Kinds, other.Kind)
		}
	}
	return st
}

// sent notes that a message of a kind was sent whose permission was given after refusal number
// last. It says whether that proved anything.
func (s *refusals) sent(last uint64, kind string, now time.Time) (proved bool) {
	for i := range s.list {
		e := &s.list[i]
		e.inRow = false
		if e.proven || e.ended || e.number > last {
			continue
		}
		e.proven, proved = true, true
		k := s.known[e.Answer]
		k.At = now.Round(0)
		if e.Kind != "" && !slices.Contains(k.Kinds, e.Kind) {
			k.Kinds = append(slices.Clone(k.Kinds), e.Kind)
			k.Kinds = k.Kinds[max(len(k.Kinds)-mostShared, 0):]
		}
		s.know(e.Answer, k)
	}
	for answer, k := range s.known {
		if now.Sub(k.At) >= selectiveFor {
			delete(s.known, answer)
		} else if i := slices.Index(k.Kinds, kind); i >= 0 {
			proved = true
			kinds := slices.Delete(slices.Clone(k.Kinds), i, i+1)
			s.know(answer, Known{At: now.Round(0), Kinds: kinds})
		}
	}
	s.list = slices.DeleteFunc(s.list, func(e refusal) bool {
		_, known := s.known[e.Answer]
		// Else each message that is sent would be looked at for good.
		return e.ended || e.proven && !known
	})
	return proved
}

// any says whether there is anything that a message which is sent may prove or refute.
func (s *refusals) any() bool { return len(s.list) > 0 || len(s.known) > 0 }

// forget drops what is known of an intent that has ended, but for its place in the row: messages
// that are buried one after the other, and none sent, are a row as well.
func (s *refusals) forget(id string) {
	s.list = slices.DeleteFunc(s.list, func(e refusal) bool {
		return e.ID == id && !e.inRow && !e.ended
	})
	for i := range s.list {
		s.list[i].ended = s.list[i].ended || s.list[i].ID == id
	}
}

// merge takes over what another worker knows. proven says that messages were sent after these
// refusals.
func (s *refusals) merge(theirs []Refusal, proven bool) {
	for _, d := range theirs {
		if e := s.findEnded(d); e >= 0 { // they do not know that it has ended
			s.list[e].inRow = s.list[e].inRow && !proven
			continue
		}
		i := s.find(d)
		if i < 0 {
			s.last++
			i = s.add(refusal{Refusal: d, number: s.last, inRow: !proven})
		}
		if proven {
			s.list[i].proven, s.list[i].inRow = true, false
		}
	}
}

// know takes over what is known of an answer, unless something newer is.
func (s *refusals) know(answer string, k Known) {
	if s.known == nil {
		s.known = make(map[string]Known)
	}
	if old, ok := s.known[answer]; !ok || !k.At.Before(old.At) {
		s.known[answer] = k
	}
}

// newest lists the refusals that are proven, or are not, oldest first; the newest most of them.
func (s *refusals) newest(proven bool, most int) (out []Refusal) {
	for _, e := range s.list {
		if e.proven == proven && !e.ended {
			out = append(out, e.Refusal)
		}
	}
	return out[max(len(out)-most, 0):]
}

func (s *refusals) find(d Refusal) int {
	return slices.IndexFunc(s.list, func(e refusal) bool { return e.is(d) && !e.ended })
}

// findEnded is where a refusal stands whose intent has ended.
func (s *refusals) findEnded(d Refusal) int {
	return slices.IndexFunc(s.list, func(e refusal) bool { return e.is(d) && e.ended })
}

// is says whether it is the same message with the same answer.
func (e refusal) is(d Refusal) bool { return e.ID == d.ID && e.Answer == d.Answer }

// add appends a refusal and returns its place; the oldest makes room for it.
func (s *refusals) add(e refusal) int {
	if len(s.list) >= mostRefusals {
		s.list = slices.Delete(s.list, 0, 1)
	}
	s.list = append(s.list, e)
	return len(s.list) - 1
}

// Rank is how much an intent can tell as the trial of a hold: the lower, the more.
type Rank int

// The ranks.
const (
	Novel   Rank = iota // of a kind of message that was not refused: another msgtype or kf_account
	Another             // not refused itself, though one of its kind was
	Refused             // it was refused before, and tells only whether that is over
	ranks
)

// mostKinds is how many kinds of message may be tried for being novel: what an account-wide problem
// costs in posts.
const mostKinds = 16

// Choice says which intents may try a hold that refused messages caused, and when.
type Choice struct {
	ids, kinds map[string]bool
	from       [ranks]time.Time
	unnamed    bool // nobody knows when the hold ends
}

// Rank is that of an intent, by its id and Refusal.Kind.
func (c Choice) Rank(id, what string) Rank {
	switch {
	case c.ids[id]:
		return Refused
	case c.kinds[what] || len(c.kinds) >= mostKinds:
		return Another
	}
	return Novel
}

// From is when an intent of a rank may be the trial.
func (c Choice) From(r Rank) time.Time { return c.from[r] }

// Seeks says whether it is worth to look for a message of another kind, should none be in sight:
// the hold does not end by itself, and there may be one.
func (c Choice) Seeks() bool { return c.unnamed && len(c.kinds) < mostKinds }

// Refusals is how many intents were refused.
func (c Choice) Refusals() int { return len(c.ids) }

package gate

import (
	"math"
	"time"
)

// account is what the pool shares of an app's rate: the message kefu.rate.<app>.
//
// Each send has a slot, an instant of its own on the broker's clock, and slots follow each other at
// the app's rate. TAT (the theoretical arrival time of the generic cell rate algorithm) is where
// the next one will be. Whoever needs slots moves it on; that two do not get the same is the
// broker's compare-and-set.
type account struct {
	TAT   int64  `json:"tat"`             // nanoseconds since 1970
	Early int64  `json:"early,omitempty"` // likewise, of the slots that live used early
	Lead  int64  `json:"lead,omitempty"`  // nanoseconds: how far ahead workers have to ask, at most
	Trip  int64  `json:"trip,omitempty"`  // the part of Lead that is the round trip to the broker
	By    string `json:"by"`              // the worker that wrote it
}

const (
	// chunk is how much of the rate is taken at once: twenty writes a second for an app that uses
	// all of it, and what a worker that is killed takes with it.
	chunk = 50 * time.Millisecond
	// slowChunk is that of apps below slowRate: a chunk of theirs would hold so few slots that
	// workers are in each other's way.
	slowChunk = 2 * chunk
	slowRate  = 100

	// ahead is how far before its instant a slot may be taken, beside the time that the broker's
	// answer takes. liveAhead lets live be served before bulk when both want more.
	ahead     = 50 * time.Millisecond
	liveAhead = 2*ahead + slowChunk

	// late is by how much a slot may be used late beyond what the burst allows: a timer of a busy
	// machine. It is paid for by exceeding the rate by half a percent of a second's sends.
	late = 5 * time.Millisecond

	// earlyShare bounds the part of the rate at which live may use slots early, whatever its
	// reserve: so they add at most this part of ahead+chunk to a second.
	earlyShare = 0.2
)

// pace is a Rate in the terms of an account. In any second no more than the rate and the burst is
// sent: a slot is used at most idle+late after its instant, and early slots have a budget of their
// own, of the rest of the burst.
type pace struct {
	step      int64 // nanoseconds between two slots
	most      int   // slots in a chunk, where the broker's answers are quick
	idle      int64 // of unused rate that may be made up for: the burst without live's reserve
	age       int64 // after which a slot is worth nothing
	earlyStep int64
	earlyIdle int64

	without heuristic // the heuristics that are off
}

// newPace is the pace of a rate; only a test turns heuristics off.
func newPace(r Rate, without ...heuristic) pace {
	r.Burst = max(r.Burst, 1)
	reserve := min(max(r.LiveReserve, 0), 1)
	p := pace{step: int64(math.Ceil(float64(time.Second) / r.PerSecond))}
	for _, h := range without {
		p.without |= h
	}
	take := chunk
	if r.PerSecond < slowRate && !p.without.has(longSlowChunks) {
		take = slowChunk
	}
	p.most = max(int(int64(take)/p.step), 1)
	p.idle = int64((1 - reserve) * float64(r.Burst) * float64(p.step))
	p.age = p.idle + int64(late)
	if kept := reserve * float64(r.Burst); kept >= 1 && !p.without.has(earlySlots) {
		p.earlyStep = int64(float64(p.step) / min(reserve, earlyShare))
		p.earlyIdle = int64(kept * float64(p.earlyStep))
	}
	return p
}

// slots are sends that this worker may make.
type slots struct {
	at    int64 // instant of the first
	n     int
	early bool // live may use them before their instant
}

// chunk is how many slots to take at once when an answer takes trip. A worker asks one question at
// a time, so the answer must bring more than is used up meanwhile. Where others take slots too,
// every other question is refused, and the account has to be read again before the next:
//
//	write (refused) · read · write: three round trips for one chunk
func (p pace) chunk(trip time.Duration) int {
	return max(p.most, int((3*int64(trip)+p.step-1)/p.step))
}

// grant takes n slots of an account, or returns how long to wait until there are some to take.
// Those that live may use early come first. An answer takes trip; what would be too old when it
// comes is not taken. lead is how long before a request leaves its slot is asked for.
func (p pace) grant(
	a account, now int64, trip, lead time.Duration, n int, live bool,
) (account, []slots, time.Duration) {
	if p.without.has(sharedLead) {
		a.Lead, a.Trip = 0, 0
	}
	// Who is far from the broker must ask earlier than others, and these ask as early. If they
	// asked later they would get nothing, as the far one would have taken everything by then; if
	// the far one asked later, its slots would be too old when they came.
	longest, farthest := max(lead, time.Duration(a.Lead)), max(trip, time.Duration(a.Trip))
	horizon := now + int64(longest+ahead)
	if live && !p.without.has(liveFurther) {
		further := max(int64(liveAhead), int64(2*ahead)+int64(p.chunk(farthest))*p.step)
		horizon = now + int64(longest) + further
	}
	from := max(a.TAT, now+int64(trip)-p.idle)
	if from > horizon {
		return a, nil, time.Duration(from - horizon)
	}
	a.TAT = from + int64(n)*p.step
	// The longest is forgotten by an eighth with each write, when the worker that needed it left.
	a.Lead, a.Trip = int64(longest-(longest-lead)/8), int64(farthest-(farthest-trip)/8)
	if !live || p.earlyStep == 0 || from <= now || from > now+int64(lead+liveAhead) {
		return a, []slots{{at: from, n: n}}, 0
	}
	early := max(a.Early, now-p.earlyIdle)
	k := min(max(int((now-early)/p.earlyStep), 0), n)
	a.Early = early + int64(k)*p.earlyStep
	var out []slots
	if k > 0 {
		out = append(out, slots{at: from, n: k, early: true})
	}
	if k < n {
		out = append(out, slots{at: from + int64(k)*p.step, n: n - k})
	}
	return a, out, 0
}

// hand is what a worker has taken and not used yet, in the order of its instants.
type hand []slots

// drop forgets what is too old, and returns how many slots that were.
func (h *hand) drop(now int64, p pace) (lost int) {
	for len(*h) > 0 {
		first := &(*h)[0]
		n := first.n
		if tooOld := now - p.age - first.at; tooOld <= 0 {
			break
		} else if k := (tooOld + p.step - 1) / p.step; k < int64(n) {
			n = int(k)
		}
		lost += n
		h.use(0, n, p)
	}
	return lost
}

// take uses one slot, or says how long it is until the first may be used (0: there is none).
func (h *hand) take(now int64, live bool, p pace) (ok bool, wait time.Duration) {
	if len(*h) == 0 {
		return false, 0
	}
	if wait = time.Duration((*h)[0].at - now); wait <= 0 {
		h.use(0, 1, p)
		return true, 0
	}
	if live {
		for i, s := range *h {
			if s.early {
				h.use(i, 1, p)
				return true, 0
			}
		}
	}
	return false, wait
}

// spare says whether there is a slot beside the reserved ones: one whose instant is not after
// until, or that live may use early. If not, wait is how long after until there is one (0: there is
// none in hand).
func (h hand) spare(reserved int, until int64, live bool, p pace) (ok bool, wait time.Duration) {
	due, early, before := 0, 0, 0
	for _, s := range h {
		n := 0
		if s.at <= until {
			n = int(min((until-s.at)/p.step+1, int64(s.n)))
		}
		due += n
		if live && s.early {
			early += s.n - n
		}
		if k := reserved - before; k >= 0 && k < s.n {
			wait = time.Duration(s.at + int64(k)*p.step - until)
		}
		before += s.n
	}
	return due+early > reserved, max(wait, 0)
}

func (h *hand) use(i, n int, p pace) {
	s := &(*h)[i]
	s.n -= n
	s.at += int64(n) * p.step
	if s.n == 0 {
		*h = append((*h)[:i], (*h)[i+1:]...)
	}
}

// end is the instant after the last slot; 0 when there is none.
func (h hand) end(p pace) int64 {
	if len(h) == 0 {
		return 0
	}
	last := h[len(h)-1]
	return last.at + int64(last.n)*p.step
}

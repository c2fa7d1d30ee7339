package ledger

import (
	"time"

	"github.com/kefuhq/kefu/schema"
)

// owner is whose ends are counted: a campaign's, or a job's.
type owner struct {
	kind   ownerKind
	number uint64
}

type ownerKind uint8

const (
	ofCampaign ownerKind = iota
	ofJob
)

func (c Campaign) owner() owner { return owner{ofCampaign, uint64(c)} }
func (j Job) owner() owner      { return owner{ofJob, uint64(j)} }

// Counts are how a campaign's intents ended, each id once.
type Counts struct {
	Sent               int                   `json:"sent"`
	Dead               map[schema.Reason]int `json:"dead"`
	Cancelled          int                   `json:"cancelled"`
	PossibleDuplicates int                   `json:"possible_duplicates"` // of all ends

	// Closed is how many of those dead for `recipient` had an answer that the window for
	// replies is closed (45015). It is too low if a worker of an earlier version counted
	// or ended some of them.
	Closed int `json:"closed"`
}

// Progress is what a campaign counts, and how fast that grows.
type Progress struct {
	Counts
	Pace
}

// JobCounts are how the generations that a job published ended, each once.
type JobCounts struct {
	Sent      int
	Dead      int
	Cancelled int
}

// tallies are Counts by End, in which duplicates count beside their end.
type tallies [duplicate + 1]int

func (t *tallies) add(e End, n int) {
	if e == 0 {
		return
	}
	t[e&^duplicate] += n
	if e.PossibleDuplicate() {
		t[duplicate] += n
	}
}

func (t *tallies) addAll(other tallies) {
	for at, n := range other {
		t[at] += n
	}
}

func (t *tallies) counts() Counts {
	c := Counts{
		Sent: t[endSent], Cancelled: t[endCancelled], PossibleDuplicates: t[duplicate],
		Dead: make(map[schema.Reason]int),
	}
	for at, reason := range storedReasons {
		n := t[int(endDead)+at]
		if reason == schema.ReasonRecipient {
			n += t[endClosed]
			// It may seem below zero: who wrote the key before did not know of it.
			c.Closed = max(t[endClosed], 0)
		}
		if n != 0 {
			c.Dead[reason] = n
		}
	}
	return c
}

func (c Counts) tallies() (t tallies) {
	t[endSent], t[endCancelled], t[duplicate] = c.Sent, c.Cancelled, c.PossibleDuplicates
	for reason, n := range c.Dead {
		if end := deadFor(reason); end != 0 {
			t[end] = n
		}
	}
	t[endClosed] = c.Closed
	t[endRecipient] -= c.Closed
	return t
}

func (t *tallies) jobCounts() JobCounts {
	c := JobCounts{Sent: t[endSent], Cancelled: t[endCancelled]}
	for _, n := range t[endDead:duplicate] {
		c.Dead += n
	}
	return c
}

// position is how far a log was read.
type position struct {
	Made time.Time `json:"made"` // the log's stream
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"` // the latest of a message so far
}

// covers says whether a message was read by then. Sequences alone do not say it: a
// log that a power failure has cut back uses some again.
func (p position) covers(message position) bool {
	return p.Made.Equal(message.Made) && message.Seq <= p.Seq && !message.Time.After(p.Time)
}

// counters are what campaigns and jobs count, folded from the log. What a worker that
// has just come finds under a key goes on from the position that stands there: the log
// before it may be gone. It is not safe for concurrent use.
type counters struct {
	of      map[owner]*counter
	now     position  // of the message that is read, or was read last; Time is the latest of all
	message time.Time // of that message

	// rereading says that the log was cut back and is read from its beginning once more:
	// what is counted is not what stands in it up to now, until its end is read.
	rereading bool
	until     uint64

	// lastWithoutCampaign is when a mark of an end last came that does not say its campaign.
	lastWithoutCampaign time.Time
}

// counter is what one owner counts.
type counter struct {
	tallies tallies  // all, once its key was read; before that none
	recent  recent   // a campaign's ends, as the log has them: the key adds nothing
	from    position // up to which they were read from the key
	read    bool     // the key was read, or there is none
	pending []change // until then

	changed position // when they changed last
	stored  position // what stands under the key goes so far, as far as is known
	rev     uint64   // of the key in KEFU_STATE; 0: none
}

// change is what the marks of one message of the log change.
type change struct {
	at      position
	tallies tallies
}

func newCounters() *counters { return &counters{of: make(map[owner]*counter)} }

// startReading is told of each reading of the log, after anew was.
func (c *counters) startReading(made time.Time, last uint64) {
	switch {
	case !made.Equal(c.now.Made):
		c.now, c.until = position{Made: made}, 0
	case c.rereading:
		c.now.Seq, c.until = 0, last
		for _, n := range c.of {
			n.stored, n.changed = position{}, position{Made: made, Seq: last, Time: c.now.Time}
		}
	}
	c.rereading = false
}

// complete says whether what is counted is what stands in the log up to now.
func (c *counters) complete() bool { return !c.rereading && c.now.Seq >= c.until }

// reads is told of each message of the log before its marks are.
func (c *counters) reads(seq uint64, at time.Time) {
	c.now.Seq, c.message = seq, at
	if at.After(c.now.Time) {
		c.now.Time = at
	}
}

// counter is that of an owner, who may be new.
func (c *counters) counter(o owner) *counter {
	n := c.of[o]
	if n == nil {
		n = &counter{}
		c.of[o] = n
	}
	return n
}

// ended counts as one end what was counted as another.
func (c *counters) ended(o owner, before, after End) {
	n := c.counter(o)
	if o.kind == ofCampaign && before == 0 {
		n.recent.add(c.message)
	}
	at := c.now
	at.Time = c.message
	if !n.read {
		if last := len(n.pending) - 1; last < 0 || n.pending[last].at != at {
			n.pending = append(n.pending, change{at: at})
		}
		last := &n.pending[len(n.pending)-1]
		last.tallies.add(before, -1)
		last.tallies.add(after, +1)
		return
	}
	if n.from.covers(at) {
		return
	}
	n.tallies.add(before, -1)
	n.tallies.add(after, +1)
	n.changed = at
}

// total is what is counted so far, and what would be added to a key that was not
// read yet.
func (n *counter) total() tallies {
	all := n.tallies
	for _, change := range n.pending {
		all.addAll(change.tallies)
	}
	return all
}

// adopt takes over what stands under the owner's key.
func (n *counter) adopt(k keyed) {
	n.stored, n.rev = k.Log, k.rev
	if n.read {
		return
	}
	n.read, n.from, n.tallies = true, k.Log, k.tallies()
	for _, change := range n.pending {
		if !n.from.covers(change.at) {
			n.tallies.addAll(change.tallies)
			n.changed = change.at
		}
	}
	n.pending = nil
}

// due says whether there is something to store.
func (n *counter) due() bool {
	return n.read && n.changed != position{} && !n.stored.covers(n.changed)
}

// idle says whether there was no end since a time.
func (n *counter) idle(since time.Time) bool {
	return n.read && n.changed.Time.Before(since) && n.stored.Time.Before(since)
}

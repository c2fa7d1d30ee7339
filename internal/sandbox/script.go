package sandbox

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// RuleStatus is a rule of the script and what it has done.
type RuleStatus struct {
	ID   int  `json:"id"`
	Seen int  `json:"seen"` // calls it selected that no earlier rule had taken
	Hits int  `json:"hits"` // calls it acted on
	Rule Rule `json:"rule"`
}

// script is the ordered list of rules.
type script struct {
	seed uint64

	// What the hot path reads without the lock: how many rules there are, by when they are asked.
	unread atomic.Int32
	others atomic.Int32

	mu    sync.Mutex
	last  int
	rules []*scripted
}

// scripted is a rule and where it stands. The rule itself never changes, so answers may go on using
// it without the lock.
type scripted struct {
	rule   Rule
	id     int
	seen   int
	hits   int
	random *seededRandom
}

// ruleHit is the rule that acts on a call, or nothing.
type ruleHit struct {
	rule  *Rule
	id    int
	delay time.Duration
}

func newScript(seed uint64) *script { return &script{seed: seed} }

func (s *script) add(r Rule) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.rules = append(s.rules,
		&scripted{rule: r, id: s.last, random: newSeededRandom(s.seed, uint64(s.last))})
	s.count()
	return s.last
}

func (s *script) remove(id int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.rules)
	s.rules = slices.DeleteFunc(s.rules, func(r *scripted) bool { return r.id == id })
	s.count()
	return len(s.rules) < before
}

// clear empties the script and starts the numbers again, so that a script added after it draws the
// same shares and delays as the first.
func (s *script) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules, s.last = nil, 0
	s.count()
}

func (s *script) count() {
	var unread int32
	for _, r := range s.rules {
		if r.rule.Reset == ResetUnread {
			unread++
		}
	}
	s.unread.Store(unread)
	s.others.Store(int32(len(s.rules)) - unread)
}

func (s *script) status() []RuleStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]RuleStatus, 0, len(s.rules))
	for _, r := range s.rules {
		all = append(all, RuleStatus{ID: r.id, Seen: r.seen, Hits: r.hits, Rule: r.rule})
	}
	return all
}

// matchUnread asks the rules that reset before the body is read. They come before all others,
// wherever they stand.
func (s *script) matchUnread(q *request) (ruleHit, bool) {
	if s.unread.Load() == 0 {
		return ruleHit{}, false
	}
	return s.first(q, true)
}

// match asks all other rules.
func (s *script) match(q *request) (ruleHit, bool) {
	if s.others.Load() == 0 {
		return ruleHit{}, false
	}
	return s.first(q, false)
}

func (s *script) first(q *request, unread bool) (ruleHit, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if (r.rule.Reset == ResetUnread) != unread || !r.rule.selects(q) || !r.due() {
			continue
		}
		return ruleHit{rule: &r.rule, id: r.id,
			delay: r.random.between(r.rule.Delay, r.rule.DelayMax)}, true
	}
	return ruleHit{}, false
}

// due counts a call that the rule selects and says whether the rule acts on it.
func (r *scripted) due() bool {
	r.seen++
	k := r.seen - r.rule.After
	switch {
	case k <= 0,
		r.rule.Times > 0 && r.hits >= r.rule.Times,
		r.rule.Every > 1 && k%r.rule.Every != 0,
		r.rule.Share > 0 && r.rule.Share < 1 && r.random.float() >= r.rule.Share:
		return false
	}
	r.hits++
	return true
}

// seededRandom is a seeded source of chance. Each rule has its own, so that what one rule draws
// does not depend on how often others do.
type seededRandom struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newSeededRandom(seed, stream uint64) *seededRandom {
	return &seededRandom{rng: rand.New(rand.NewPCG(seed, stream))}
}

func (d *seededRandom) float() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.Float64()
}

// between draws from lo..hi, and is exactly lo when hi is not above it.
func (d *seededRandom) between(lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return lo + time.Duration(d.rng.Int64N(int64(hi-lo)+1))
}

package ledger

import (
	"math"
	"slices"
	"time"
)

// epochs is into how many maps the remembered time is cut. An expired map is
// dropped whole: deleting a million keys one by one would stop every send
// meanwhile, and a map does not give its memory back.
const epochs = 8

// index is the log as a map. It is not safe for concurrent use.
type index struct {
	keep    time.Duration // zero: for ever
	maps    []epoch       // newest first
	ids     map[string]uint16
	names   []string
	numbers map[scope]uint16
	latest  uint16  // number of the scope that was asked for last: marks come in runs
	scopes  []scope // by number; 0 is for what is not known
	jobs    bool    // one of them has a job

	// ended is told of each change of what a campaign or a job counts: what it counted
	// as one end it counts as another. Zero is none. nil: nobody wants to know.
	ended func(o owner, before, after End)
}

// scope is the stream whose sequences a mark counts in, the campaign, and the job
// that published the generation.
type scope struct {
	stream   int64 // when it was made; 0: not known
	campaign Campaign
	job      Job
}

// mostCampaigns is how many campaigns of streams have a number of their own. For
// more, nobody notices that an id goes on in another campaign.
const mostCampaigns = math.MaxUint16 / 2

// epoch holds the entries that changed last between its begin and the begin of
// the next.
type epoch struct {
	begin   time.Time
	entries map[Key]Entry
}

func newIndex(keep time.Duration) *index {
	return &index{
		keep: keep, maps: []epoch{{entries: make(map[Key]Entry)}}, ids: make(map[string]uint16),
		numbers: map[scope]uint16{{}: 0}, scopes: []scope{{}},
	}
}

// advance goes on to the time of the next mark. An entry lives for keep after
// its last change, and up to an eighth more: until its epoch's end is that old.
// Epochs begin at the same times in every worker, so they forget alike.
func (x *index) advance(now time.Time) {
	step := x.keep / epochs
	begin := now.Truncate(step) // for ever is one epoch
	newest := &x.maps[0]
	if newest.begin.IsZero() {
		newest.begin = begin
	}
	if step <= 0 || !begin.After(newest.begin) {
		return
	}
	x.maps = slices.Insert(x.maps, 0, epoch{begin: begin, entries: make(map[Key]Entry)})
	x.maps = slices.DeleteFunc(x.maps,
		func(e epoch) bool { return now.Sub(e.begin) >= step+x.keep })
}

func (x *index) get(k Key) (Entry, bool) {
	e, at := x.find(k)
	return e, at >= 0
}

func (x *index) find(k Key) (Entry, int) {
	for at := range x.maps {
		if e, ok := x.maps[at].entries[k]; ok {
			return e, at
		}
	}
	return Entry{}, -1
}

func (x *index) len() int {
	n := 0
	for _, m := range x.maps {
		n += len(m.entries)
	}
	return n
}

// worker is the number that stands for a worker's name.
func (x *index) worker(name string) uint16 {
	id, ok := x.ids[name]
	if !ok {
		// Past 65,535 processes in one process's life the last ones share a number.
		// They look alike to applyStart: a take-over among them is not noticed.
		id = uint16(min(len(x.names), math.MaxUint16))
		if int(id) == len(x.names) {
			x.names = append(x.names, name)
		}
		x.ids[name] = id
	}
	return id
}

// scope is the number that stands for a scope. Past 65,535 of them the last
// ones share a number, and are taken for one.
func (x *index) scope(s scope) uint16 {
	if x.scopes[x.latest] == s {
		return x.latest
	}
	number, ok := x.numbers[s]
	switch {
	case ok:
	case s.campaign != 0 && len(x.scopes) > mostCampaigns:
		return x.scope(scope{stream: s.stream, job: s.job})
	default:
		number = uint16(min(len(x.scopes), math.MaxUint16))
		if int(number) == len(x.scopes) {
			x.scopes, x.jobs = append(x.scopes, s), x.jobs || s.job != 0
		}
		x.numbers[s] = number
	}
	x.latest = number
	return number
}

// source is what is known of a mark besides what it says, where e is remembered of
// its intent.
func (x *index) source(e Entry, m Mark, worker, number uint16) source {
	before := x.scopes[e.message.scope()]
	return source{
		worker: worker, scope: number, age: ageOf(before.stream, m.Stream),
		elsewhere: before.campaign != 0 && m.Campaign != 0 && before.campaign != m.Campaign,
	}
}

// ageOf says how a stream made at one time stands to one made before; 0 is one
// that is not known.
func ageOf(before, made int64) age {
	switch {
	case before == 0 || made == 0 || before == made:
		return sameStream
	case made > before:
		return newerStream
	}
	return olderStream
}

// peek says what a Start would be told of a worker that has nothing to do with
// the intent yet.
func (x *index) peek(m Mark) Standing {
	m.Kind = Start
	e, at := x.find(m.Key)
	c := x.source(e, m, noWorker, 0)
	next, ruling := apply(e, at >= 0, m, c)
	return x.standing(e, next, at >= 0, ruling, m, c)
}

// noWorker is a worker's number that no entry has, but for the last ones of more
// workers than there are numbers.
const noWorker = math.MaxUint16

// mark applies one mark of a worker and answers it.
func (x *index) mark(m Mark, w uint16) Standing {
	e, at := x.find(m.Key)
	known := at >= 0
	c := x.source(e, m, w, x.scope(scope{m.Stream, m.Campaign, m.Job}))
	next, ruling := apply(e, known, m, c)
	if next != e {
		if before := account(e, known, m, c); before != next.account() && x.ended != nil &&
			m.Campaign > NoCampaign {
			x.ended(m.Campaign.owner(), before, next.account())
		}
		if x.jobs {
			next = x.keepJob(e, next)
			x.tellJobs(e, next, m.Before)
		}
		if at > 0 {
			delete(x.maps[at].entries, m.Key)
		}
		x.maps[0].entries[m.Key] = next
	}
	s := x.standing(e, next, known, ruling, m, c)
	s.Overtaken = ruling == 0 && (next.Kind != m.Kind || next.Worker != w)
	return s
}

// keepJob has the next entry of a generation name the job that published it. Not
// every mark does: none of a worker of an earlier version, nor that of a producer's
// repeat that goes on in the place of the job's message.
func (x *index) keepJob(e, next Entry) Entry {
	before, after := e.message.scope(), next.message.scope()
	if before == after || next.Generation != e.Generation {
		return next
	}
	if job := x.scopes[before].job; job != 0 && job != x.scopes[after].job {
		s := x.scopes[after]
		s.job = job
		next.message = next.message.in(x.scope(s))
	}
	return next
}

// tellJobs tells what a mark that has made next of e changes for the jobs that
// published the two. last is how the generation before the mark's ended, as it says.
func (x *index) tellJobs(e, next Entry, last End) {
	earlier, job := x.scopes[e.message.scope()].job, x.scopes[next.message.scope()].job
	if earlier == 0 && job == 0 || x.ended == nil {
		return
	}
	if end := e.passed(next, last); end != 0 && earlier != 0 {
		x.ended(earlier.owner(), 0, end)
	}
	before, after := e.endOf(next.Generation), next.endOf(next.Generation)
	if earlier != job { // it is nobody's: no mark of it named a job
		before = 0
	}
	if job != 0 && after != 0 && after != before {
		x.ended(job.owner(), before, after)
	}
}

// standing is the answer to a mark that has turned one entry into another.
func (x *index) standing(e, next Entry, known bool, ruling Ruling, m Mark, c source) Standing {
	s := Standing{
		Ruling: ruling, Generation: int(next.Generation), Kind: e.Kind,
		Suspects: int(next.suspects()), Before: next.account(),
		Inherited: (ruling == Go || ruling == Started || ruling == Doomed) && e.inherits(m, c) &&
			next.Generation == e.Generation,
	}
	if known {
		s.Worker = x.names[e.Worker]
		s.Reason, _ = e.Kind.Dying()
	}
	if (ruling == Repeat || s.Inherited) && c.age == sameStream && e.queued() {
		s.Carrier = e.message.seq()
	}
	switch {
	case ruling == Go:
		s.Attempts, s.Unknown = max(int(next.Attempt)-1, 0), int(next.Unknown)
	case known:
		s.Attempts, s.Unknown = int(e.Attempt), int(e.Unknown)
	}
	return s
}

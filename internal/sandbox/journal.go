package sandbox

import (
	"iter"
	"maps"
	"strings"
	"sync"
	"time"
)

// journal is the memory of what was received: a ring of entries, totals, and who is in flight. One
// mutex guards it all; it is held for a few hundred nanoseconds per call, so it is far from being
// the limit.
type journal struct {
	keep       int
	dropBodies bool

	mu         sync.Mutex
	since      time.Time
	last       int       // number of the newest entry ever
	pages      [][]entry // the ring, made page by page as calls come
	recipients map[recipientKey]*recipient
	waiters    map[*waiter]struct{}
	calls      map[string]*CallStats
	delivered  int
	overlaps   int
	inFlight   int
	peak       int
	aborted    int
}

// pageSize is how many entries the ring grows by.
const pageSize = 1024

type recipientKey struct{ appID, openID string }

// recipient is somebody who was sent something. It stays until what was received is forgotten.
type recipient struct {
	openID   string // a copy: a part of a body would keep the whole body in memory
	inFlight int
}

// callInFlight stands for one call in flight.
type callInFlight struct {
	recipient *recipient
	open      bool
	n         int
}

// waiter is closed when enough calls have come.
type waiter struct {
	filter    Filter
	remaining int
	done      chan struct{}
}

func newJournal(keep int, dropBodies bool) *journal {
	j := &journal{keep: keep, dropBodies: dropBodies, waiters: map[*waiter]struct{}{}}
	j.clear()
	return j
}

// clear forgets everything but who waits and what is in flight.
func (j *journal) clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.since = time.Now()
	j.last, j.pages = 0, nil
	j.recipients = map[recipientKey]*recipient{}
	j.calls = map[string]*CallStats{}
	j.delivered, j.overlaps, j.aborted = 0, 0, 0
	j.peak = j.inFlight
}

// add records a call that has been read and takes it as in flight until done.
func (j *journal) add(q *request, o *outcome) callInFlight {
	e := entry{
		at: q.at.UnixNano(), route: q.route, appID: q.appID, msgType: q.msgType, body: q.body,
		errcode: o.errcode, rule: int32(o.ruleID), status: int16(o.status), fault: o.fault,
		answered: o.answered, delivered: o.delivered, escaped: q.packet.escaped,
	}
	if o.rule != nil && (o.rule.Reset != "" || o.rule.Hang) {
		e.status, e.errcode = 0, 0 // decided, but nobody will see it
	}
	if j.dropBodies && q.body != "" {
		e.hash, e.body = hashOf(q.body), ""
	}
	if j.dropBodies && msgTypes[e.msgType] == "" {
		e.msgType = strings.Clone(e.msgType)
	}

	j.mu.Lock()
	defer j.mu.Unlock()
	t := callInFlight{open: true}
	switch {
	case q.openID == "":
	case q.route.call != CallSend:
		e.openID = strings.Clone(q.openID)
	default:
		t.recipient = j.recipient(q.appID, q.openID)
		e.openID = t.recipient.openID
		e.overlap = t.recipient.inFlight > 0
		t.recipient.inFlight++
	}
	j.inFlight++
	j.peak = max(j.peak, j.inFlight)
	j.total(&e)
	j.last++
	if j.keep > 0 {
		*j.slot(j.last) = e
	}
	for w := range j.waiters {
		w.count(j.last, &e)
	}
	t.n = j.last
	return t
}

// done ends a call in flight; a second time does nothing.
func (j *journal) done(t *callInFlight) {
	if !t.open {
		return
	}
	t.open = false
	j.mu.Lock()
	defer j.mu.Unlock()
	j.inFlight--
	if t.recipient != nil {
		t.recipient.inFlight--
	}
}

// countAborted counts a call that never became one.
func (j *journal) countAborted() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.aborted++
}

func (j *journal) recipient(appID, openID string) *recipient {
	r := j.recipients[recipientKey{appID, openID}]
	if r == nil {
		r = &recipient{openID: strings.Clone(openID)}
		j.recipients[recipientKey{appID, r.openID}] = r
	}
	return r
}

func (j *journal) total(e *entry) {
	c := j.calls[e.route.call]
	if c == nil {
		c = &CallStats{Errcodes: map[int]int{}, Faults: map[string]int{}}
		j.calls[e.route.call] = c
	}
	c.Total++
	if e.answered {
		c.Errcodes[e.errcode]++
	}
	if e.fault != "" {
		c.Faults[e.fault]++
	}
	if e.delivered {
		j.delivered++
	}
	if e.overlap {
		j.overlaps++
	}
}

// slot returns the place of entry n in the ring, where it replaces the one that is keep calls
// older.
func (j *journal) slot(n int) *entry {
	i := (n - 1) % j.keep
	for i/pageSize >= len(j.pages) {
		j.pages = append(j.pages, make([]entry, min(pageSize, j.keep-len(j.pages)*pageSize)))
	}
	return &j.pages[i/pageSize][i%pageSize]
}

// oldest returns the number of the oldest entry still there; above last when there is none.
func (j *journal) oldest() int { return max(1, j.last-j.keep+1) }

// numbered is an entry with its number.
type numbered struct {
	n int
	entry
}

// all yields the entries that the filter selects, oldest first. The lock is taken for one batch at
// a time, so a reader of a million entries does not hold up the calls that go on meanwhile; what
// the ring loses under the reader is left out.
func (j *journal) all(f Filter) iter.Seq[numbered] {
	return func(yield func(numbered) bool) {
		next := f.Since + 1
		batch := make([]numbered, 0, 256)
		for more := true; more; {
			batch, next, more = j.batch(&f, next, batch[:0])
			for _, e := range batch {
				if !yield(e) {
					return
				}
			}
		}
	}
}

func (j *journal) batch(
	f *Filter, next int, batch []numbered,
) (_ []numbered, after int, more bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	next = max(next, j.oldest())
	// A filter that selects little must let go of the lock too: at most 16 entries are looked at
	// for each there is room for.
	for end := next + 16*cap(batch); next <= j.last && next < end &&
		len(batch) < cap(batch); next++ {
		if e := j.slot(next); f.selects(next, e) {
			batch = append(batch, numbered{next, *e})
		}
	}
	return batch, next, next <= j.last
}

// newest returns the last n entries that the filter selects, oldest first.
func (j *journal) newest(f Filter, n int) []numbered {
	ring := make([]numbered, 0, min(n, 1024))
	start := 0
	for e := range j.all(f) {
		if len(ring) < n {
			ring = append(ring, e)
			continue
		}
		ring[start] = e
		start = (start + 1) % n
	}
	return append(ring[start:], ring[:start]...)
}

func (j *journal) stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	st := Stats{
		Since: j.since, Delivered: j.delivered, OpenIDs: len(j.recipients), Overlaps: j.overlaps,
		InFlight: j.inFlight, PeakInFlight: j.peak, Aborted: j.aborted,
		Kept: j.last - j.oldest() + 1, Forgotten: j.oldest() - 1,
		Calls: make(map[string]CallStats, len(j.calls)),
	}
	for name, c := range j.calls {
		st.Calls[name] = CallStats{Total: c.Total, Errcodes: maps.Clone(c.Errcodes),
			Faults: maps.Clone(c.Faults)}
	}
	st.Sends = st.Calls[CallSend].Total
	return st
}

// waitSends counts by the totals, which forget nothing.
func (j *journal) waitSends(n int) *waiter {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := &waiter{filter: Filter{Call: CallSend}, remaining: n, done: make(chan struct{})}
	if c := j.calls[CallSend]; c != nil {
		w.remaining -= c.Total
	}
	j.addWaiter(w)
	return w
}

// waitFor counts what is kept, under one lock with enlisting, so that no call is counted twice or
// missed.
func (j *journal) waitFor(f Filter, n int) *waiter {
	j.mu.Lock()
	defer j.mu.Unlock()
	w := &waiter{filter: f, remaining: n, done: make(chan struct{})}
	for k := max(f.Since+1, j.oldest()); k <= j.last; k++ {
		if f.selects(k, j.slot(k)) {
			w.remaining--
		}
	}
	j.addWaiter(w)
	return w
}

func (j *journal) addWaiter(w *waiter) {
	if w.remaining <= 0 {
		close(w.done)
		return
	}
	j.waiters[w] = struct{}{}
}

// count counts a new entry. Below zero the channel is closed already.
func (w *waiter) count(n int, e *entry) {
	if !w.filter.selects(n, e) {
		return
	}
	if w.remaining--; w.remaining == 0 {
		close(w.done)
	}
}

func (j *journal) drop(w *waiter) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.waiters, w)
}

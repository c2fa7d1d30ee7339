package worker

import (
	"iter"
	"slices"

	"github.com/kefuhq/kefu/schema"
)

// recipients keep the order of each live recipient's intents: one has its turn,
// later ones wait behind it.
type recipients map[string]*recipient

// recipient is a live user with an intent on its way.
type recipient struct {
	line  *line
	later []*delivery
}

// admit says whether it is a delivery's turn; if not, it waits behind the earlier
// ones.
func (r recipients) admit(d *delivery) bool {
	if before := r[d.subject.Key]; before != nil {
		before.later = append(before.later, d)
		return false
	}
	r[d.subject.Key] = &recipient{line: d.line}
	return true
}

// release ends the turn of a delivery, and returns the one whose turn it is now,
// if there is one.
func (r recipients) release(d *delivery) *delivery {
	who := r[d.subject.Key]
	if who == nil {
		return nil
	}
	if len(who.later) == 0 {
		delete(r, d.subject.Key)
		return nil
	}
	next := who.later[0]
	who.later = who.later[1:]
	return next
}

// forget clears what waits of one line. Recipients with an intent under way keep
// their turn.
func (r recipients) forget(l *line, underWay map[string]bool) {
	for key, who := range r {
		switch {
		case who.line != l:
		case underWay[key]:
			who.later = nil
		default:
			delete(r, key)
		}
	}
}

// line is what the scheduler knows of a lane: a live shard, or bulk.
type line struct {
	index    int // among those of its app
	kind     schema.Lane
	ready    queue
	recalled queue // ready, to be cancelled with their campaigns; of bulk
	running  int   // deliveries that have a slot
	inHand   int   // deliveries in hand
	claimed  bool  // this worker reads it; always for bulk
	draining bool  // the claim was asked back
	pausing  int   // its own pauses that are not over
}

// queue is a list of deliveries that can grow at both ends.
type queue struct {
	front []*delivery // in reverse order
	back  []*delivery
	head  int // of back
}

func (q *queue) len() int { return len(q.front) + len(q.back) - q.head }

func (q *queue) pushBack(d *delivery) { q.back = append(q.back, d) }

func (q *queue) pushFront(d *delivery) { q.front = append(q.front, d) }

// all yields its deliveries, first to last.
func (q *queue) all() iter.Seq[*delivery] {
	return func(yield func(*delivery) bool) {
		for _, d := range slices.Backward(q.front) {
			if !yield(d) {
				return
			}
		}
		for _, d := range q.back[q.head:] {
			if !yield(d) {
				return
			}
		}
	}
}

// first is the next one that popFront would return; the queue must not be empty.
func (q *queue) first() *delivery {
	if n := len(q.front); n > 0 {
		return q.front[n-1]
	}
	return q.back[q.head]
}

// remove takes one out of wherever it stands.
func (q *queue) remove(d *delivery) {
	if q.len() > 0 && q.first() == d {
		q.popFront()
	} else if i := slices.Index(q.front, d); i >= 0 {
		q.front = slices.Delete(q.front, i, i+1)
	} else if i := slices.Index(q.back, d); i >= q.head {
		q.back = slices.Delete(q.back, i, i+1)
	}
}

func (q *queue) popFront() *delivery {
	if n := len(q.front); n > 0 {
		d := q.front[n-1]
		q.front[n-1] = nil
		q.front = q.front[:n-1]
		return d
	}
	d := q.back[q.head]
	q.back[q.head] = nil
	q.head++
	if q.head >= 64 && 2*q.head >= len(q.back) {
		// The queue of a lane with a backlog is never empty: what was popped must go all
		// the same.
		n := copy(q.back, q.back[q.head:])
		clear(q.back[n:])
		q.back, q.head = q.back[:n], 0
	}
	return d
}

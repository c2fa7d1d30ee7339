package worker

import (
	"cmp"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

// scheduler knows what this worker has in hand of one app, and whose turn it is.
// It has no lock, no timer and no broker: the app calls it with its lock held, and
// carries out what it commands, in that order.
//
//	         admit          begin         finish
//	arrived ──────→ ready ────────→ inSlot ──────→ settling → settled
//	                 ↑  ↑             │  │
//	                 │  └── waiting ←─┘  └→ returned
//	                 │     (retryNow)
//	   waitingBehindRecipient
//	          (release)
//
// Which intent goes next is decided here by line (nextLine) and within a line by
// its queue. Between apps slots.grant decides, while a hold is tried chooseTrial,
// and among those that wait for the rate the gate.
//
// The app is open, or closing (held or stopping: nothing is pulled or started, and
// what is under way ends), or closed (everything that had not been started was
// given back, in the order of the queue). A hold thus occupies nothing, and what
// was handed out before it comes again in order after it.
type scheduler struct {
	phase      phase
	stopping   bool
	lines      []*line // live shards, then bulk
	turn       int     // live line to look at first
	inHand     map[uint64]*delivery
	recipients recipients
	running    int
	pausing    int // pullers that may still deliver
	slot       slotTime
	passing    passing // of what hides other kinds of message in a hold
	cancelled  func(campaign string) bool
	liveFirst  bool // live that is ready goes before what is to be cancelled, this time
	commands   []command
}

// phase is where an app stands between its holds.
type phase uint8

const (
	open phase = iota
	closing
	closed
)

// commandKind is what the app has to do.
type commandKind uint8

const (
	// The line's puller: pause it with those of all lines, then scheduler.pausing--;
	// pause it alone, then line.pausing--; resume it.
	commandPause commandKind = iota + 1
	commandPauseOne
	commandResume

	commandRemake       // make the line's consumer anew: what is not settled comes again
	commandRelease      // release the line's claim
	commandNak          // give the delivery back to the broker
	commandMarkHarmless // the delivery is released in good health
	commandDrop         // it is in hand no more; inHand is how many of its line are
	commandWait         // bring the delivery back after a delay
	commandWake         // schedule again at a time
	commandIdle         // stopping, and nothing is in hand any more
)

// command is one thing that the app has to do, and what it is about.
type command struct {
	kind     commandKind
	line     *line
	delivery *delivery
	delay    time.Duration
	at       time.Time
	inHand   int // commandDrop: what the line has in hand now
}

func newScheduler(shards int) *scheduler {
	s := &scheduler{
		inHand: make(map[uint64]*delivery), recipients: make(recipients),
		cancelled: func(string) bool { return false },
	}
	for i := range shards {
		s.lines = append(s.lines, &line{index: i, kind: schema.LaneLive})
	}
	s.lines = append(s.lines, &line{index: shards, kind: schema.LaneBulk, claimed: true})
	return s
}

func (s *scheduler) command(c command) { s.commands = append(s.commands, c) }

// bulk is the line of bulk.
func (s *scheduler) bulk() *line { return s.lines[len(s.lines)-1] }

// shards are the live lines.
func (s *scheduler) shards() []*line { return s.lines[:len(s.lines)-1] }

// admit takes a delivery in hand. Not while the app is closed.
func (s *scheduler) admit(d *delivery) {
	s.inHand[d.seq] = d
	d.line.inHand++
	if s.phase == open && !d.line.draining {
		s.enqueue(d)
	}
}

// enqueue puts a delivery where it waits for its turn.
func (s *scheduler) enqueue(d *delivery) {
	if d.live() && !s.recipients.admit(d) {
		d.place = waitingBehindRecipient
		return
	}
	s.makeReady(d, (*queue).pushBack)
}

// makeReady puts a delivery into the queue where it waits for its turn: to be sent, or
// to be cancelled with its campaign.
func (s *scheduler) makeReady(d *delivery, push func(*queue, *delivery)) {
	d.place = ready
	if s.isCancelled(d) {
		push(&d.line.recalled, d)
	} else {
		push(&d.line.ready, d)
	}
}

// purpose is what an intent gets its slot for.
type purpose uint8

const (
	toSend   purpose = iota // with a permission
	toPutOff                // it hides others while a hold is tried
	toCancel                // with its campaign
)

// next is the line that the next intent comes from: the one whose turn it is, or
// while a hold is being tried that of the intent which is to try it. d is nil for
// the first of the line, which is to be sent.
func (s *scheduler) next(c conditions) (l *line, d *delivery, why purpose) {
	if d := s.nextRecalled(); d != nil {
		return d.line, d, toCancel
	}
	if !c.trial.choosing {
		s.passing = passing{}
		return s.nextLine(c), nil, toSend
	}
	d, again := chooseTrial(s.lines, c)
	if d == nil {
		var later time.Time
		d, later = s.passing.choosePassed(s.bulk(), c)
		again, why = earlierKnown(again, later), toPutOff
	}
	if !again.IsZero() {
		s.command(command{kind: commandWake, at: again})
	}
	if d == nil {
		return nil, nil, toSend
	}
	return d.line, d, why
}

// nextLine is the line whose turn it is: live before bulk, live shards in turn.
func (s *scheduler) nextLine(c conditions) *line {
	shards := s.shards()
	for i := range shards {
		l := shards[(s.turn+i)%len(shards)]
		if l.ready.len() == 0 || l.draining {
			continue
		}
		if !c.startable(l) { // it is lost in a moment, or its lease is renewed
			s.command(command{kind: commandWake, at: c.now.Add(minLaterDelay)})
			continue
		}
		s.turn = (s.turn + i + 1) % len(shards)
		return l
	}
	bulk := s.bulk()
	if bulk.ready.len() == 0 || bulk.running >= c.forBulk {
		return nil
	}
	if !c.startable(bulk) {
		s.command(command{kind: commandWake, at: c.now.Add(minLaterDelay)})
		return nil
	}
	return bulk
}

// begin gives a ready delivery its slot.
func (s *scheduler) begin(d *delivery, p gate.Permission, why purpose, now time.Time) {
	if why == toCancel {
		d.line.recalled.remove(d)
	} else {
		d.line.ready.remove(d)
	}
	d.place, d.permission, d.begunAt = inSlot, p, now
	d.passing, d.recalled = why == toPutOff, why == toCancel
	s.running++
	d.line.running++
}

// afterwards is what happens to a delivery when its slot is given back.
type afterwards struct {
	place           place         // settling, waiting or returned
	delay           time.Duration // waiting: until it is tried again
	blocksRecipient bool          // waiting: the recipient's later intents wait as well

	reached bool // the API was reached, and gave no reason to hold the app
}

// finish takes a delivery out of its slot.
func (s *scheduler) finish(d *delivery, next afterwards, now time.Time) {
	s.running--
	d.line.running--
	if !d.passing && !d.recalled {
		s.slot.ended(now, now.Sub(d.begunAt))
	}
	if d.place == inSlot { // its settlement may be over already
		d.place = next.place
	}
	lost := !d.line.claimed // then it is somebody else's now
	switch next.place {
	case waiting:
		if s.phase == open && !lost && !d.line.draining {
			s.command(command{kind: commandWait, delivery: d, delay: next.delay})
		}
		if !next.blocksRecipient {
			s.release(d)
		}
	case settling:
		s.release(d)
	}
	if lost && (d.place == returned || d.place == waiting) {
		s.release(d)
		s.discard(d)
	}
}

// requeue puts a delivery first again that was returned for a hold which is over
// already. It says whether there was anything to do.
func (s *scheduler) requeue(d *delivery) bool {
	if d.place != returned || s.phase != open || d.line.draining {
		return false
	}
	s.makeReady(d, (*queue).pushFront)
	return true
}

// release lets the recipient's next intent have its turn.
func (s *scheduler) release(d *delivery) {
	if !d.live() || d.released {
		return
	}
	d.released = true
	if next := s.recipients.release(d); next != nil {
		next.place = ready
		next.line.ready.pushFront(next)
	}
}

// retryNow brings a delivery back that waited in the process.
func (s *scheduler) retryNow(d *delivery) {
	if d.place != waiting || s.phase != open || d.line.draining {
		return
	}
	if d.released {
		d.released = false
		s.enqueue(d)
		return
	}
	s.makeReady(d, (*queue).pushFront)
}

// drop forgets a delivery.
func (s *scheduler) drop(d *delivery) {
	if s.inHand[d.seq] != d {
		return
	}
	delete(s.inHand, d.seq)
	d.line.inHand--
	d.place = forgotten
	s.command(command{kind: commandDrop, delivery: d, inHand: d.line.inHand})
}

// discard drops a delivery that somebody else has by now.
func (s *scheduler) discard(d *delivery) {
	s.command(command{kind: commandMarkHarmless, delivery: d})
	s.drop(d)
}

// releaseUnsettled gives a delivery back whose end cannot be stored, when this worker
// has to let go of it anyway: it stops, or another one is to read the shard.
func (s *scheduler) releaseUnsettled(d *delivery) bool {
	if !s.stopping && !d.line.draining {
		return false
	}
	s.returnAll([]*delivery{d})
	return true
}

// turnPhase opens or closes the app: shut says whether it must be shut.
func (s *scheduler) turnPhase(shut bool) {
	if s.phase == open && shut {
		s.phase = closing
		for _, l := range s.lines {
			if l.claimed {
				s.pausing++
				s.command(command{kind: commandPause, line: l})
			}
		}
	}
	if s.phase == closing && s.running == 0 && s.pausing == 0 {
		s.giveBack()
		s.phase = closed
	}
	switch {
	case s.phase != closed:
	case s.stopping:
		if len(s.inHand) == 0 {
			s.command(command{kind: commandIdle})
		}
	case !shut:
		s.phase = open
		for _, l := range s.lines {
			s.command(command{kind: commandResume, line: l})
		}
	}
	for _, l := range s.lines {
		s.releaseDrained(l)
	}
}

// giveBack returns everything that has not been started to the broker. That of a
// live shard only at the end. Given back in a hold, it would come again behind
// what an earlier hold gave back and this one found not handed out yet: hold 1
// gives back {3,4}; hold 2, with {1,2} in hand, gives them back; then 3,4,1,2. So
// it is dropped, and the consumer made anew when the hold is over: then everything
// that is not settled comes again in the order of the queue.
func (s *scheduler) giveBack() {
	for _, l := range s.lines {
		back := s.unstarted(l)
		if l.kind == schema.LaneLive && !s.stopping && len(back) > 0 && l.claimed {
			s.command(command{kind: commandRemake, line: l})
			for _, d := range back {
				s.discard(d)
			}
		} else {
			s.returnAll(back)
		}
		l.ready, l.recalled = queue{}, queue{}
	}
	clear(s.recipients)
}

// unstarted is what has no slot and no end yet, of one line.
func (s *scheduler) unstarted(l *line) (out []*delivery) {
	for _, d := range s.inHand {
		if d.place != settling && d.place != inSlot && d.line == l {
			out = append(out, d)
		}
	}
	return out
}

// returnAll gives deliveries back, oldest first: they come again in the order in
// which they are given back. Without a connection the broker hands them out again
// by itself.
func (s *scheduler) returnAll(back []*delivery) {
	slices.SortFunc(back, func(x, y *delivery) int { return cmp.Compare(x.seq, y.seq) })
	for _, d := range back {
		s.command(command{kind: commandMarkHarmless, delivery: d})
		s.command(command{kind: commandNak, delivery: d})
		s.drop(d)
	}
}

// beginReading begins to read a live shard.
func (s *scheduler) beginReading(l *line) { l.claimed, l.draining = true, false }

// beginDraining begins to drain a live shard whose claim was asked back.
func (s *scheduler) beginDraining(l *line) {
	if l.draining || !l.claimed {
		return
	}
	l.draining = true
	if !s.stopping { // its pullers pause as it is
		l.pausing++
		s.command(command{kind: commandPauseOne, line: l})
	}
}

// releaseDrained lets go of a shard that was asked back when nothing of it is in hand any
// more.
func (s *scheduler) releaseDrained(l *line) {
	if !l.draining || l.pausing > 0 || l.running > 0 || s.pausing > 0 {
		return
	}
	s.returnAll(s.unstarted(l))
	s.forget(l)
	if l.inHand > 0 { // what is being settled
		return
	}
	l.claimed, l.draining = false, false
	s.command(command{kind: commandRelease, line: l})
}

// loseShard lets go of a live shard at once: somebody else reads it.
func (s *scheduler) loseShard(l *line) {
	l.claimed, l.draining = false, false
	for _, d := range s.unstarted(l) {
		s.discard(d)
	}
	s.forget(l)
}

// forget clears what waits in a line of which nothing is left but what is under
// way or being settled.
func (s *scheduler) forget(l *line) {
	l.ready, l.recalled = queue{}, queue{}
	underWay := make(map[string]bool)
	for _, d := range s.inHand {
		if d.line == l && d.place != settling {
			underWay[d.subject.Key] = true
		}
	}
	s.recipients.forget(l, underWay)
}

// forgetOldQueue forgets what is in hand of a queue that was deleted before another one
// was made under its name, and returns what of it has begun: that ends, and is
// not acknowledged, since its sequence belongs to another intent now.
func (s *scheduler) forgetOldQueue(made time.Time) (begun []*delivery) {
	for _, l := range s.lines {
		for _, d := range s.unstarted(l) {
			if d.stored.Before(made) {
				s.drop(d)
			}
		}
		s.forget(l)
		// What is left is of the new queue: of bulk, another worker may have made the
		// consumer already.
		for _, d := range s.unstarted(l) {
			if d.place == ready {
				s.makeReady(d, (*queue).pushBack)
			}
		}
	}
	for _, d := range s.inHand {
		if d.stored.Before(made) {
			begun = append(begun, d)
			s.drop(d)
		}
	}
	return begun
}

// slotTime is for how long an intent has a slot.
type slotTime struct {
	usual time.Duration // on average of late; 0 before the first
	last  time.Time     // when the last one was given back
}

func (t *slotTime) ended(now time.Time, took time.Duration) {
	t.last = now
	if t.usual == 0 {
		t.usual = took
	} else {
		t.usual += (took - t.usual) / 16
	}
}

// now is for how long an intent has a slot, as far as that is known: an API that
// has become slow shows before the first of its calls ends. 0: nobody knows.
func (t *slotTime) now(now time.Time, running int) time.Duration {
	if t.usual == 0 || running == 0 {
		return t.usual
	}
	return max(t.usual, now.Sub(t.last))
}

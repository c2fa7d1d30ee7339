package worker

import (
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wire"
)

// A hold that the answer to a message drew is tried with another message, since
// it may be about that one only. To have one to choose, the app is open while
// such a hold waits for its trial, with a bounded number of intents in hand.

// lookAhead is how far each lane is looked into for a message that can tell more
// than the first one. What is behind it is seen when these have ended, or in bulk
// have been passed.
const lookAhead = 128

// trialChoice is which intents may try the hold in force.
type trialChoice struct {
	gate.Choice
	choosing bool // false: no hold is to be tried by an intent that has to be chosen
}

// conditions are those under which the next intent is chosen.
type conditions struct {
	now       time.Time
	startable func(*line) bool // an intent of the line may be started
	forBulk   int              // slots that bulk may have at once
	trial     trialChoice

	// While an intent is chosen for a trial.
	laterFull bool // KEFU_LATER has no room for the app
	window    int  // how many of bulk may be ready at once
}

// passing bounds how many intents of bulk are put off in a hold because they hide
// what is behind them.
type passing struct {
	left  int           // of this round
	next  time.Time     // the next round
	pause time.Duration // before it
}

// A round passes as many as are looked at; the pause after it doubles. A thousand
// are passed in two minutes, two thousand in an hour: an app whose every message
// is refused does not have its whole queue moved about.
const (
	firstPassPause = time.Second
	maxPassPause   = 10 * time.Minute
)

// choosePassed finds an intent of bulk that is to be put off, where all that is in sight
// is of kinds that were refused, and more may be behind it; or says when to look
// again (zero: after a change). Live has its order, and only what waits for a retry
// is overtaken there.
func (p *passing) choosePassed(bulk *line, c conditions) (d *delivery, again time.Time) {
	if !c.trial.Seeks() || c.laterFull || bulk.ready.len() < max(c.window, 1) {
		return nil, time.Time{}
	}
	if p.left == 0 {
		if c.now.Before(p.next) {
			return nil, p.next
		}
		p.left, p.pause = lookAhead, min(max(2*p.pause, firstPassPause), maxPassPause)
		p.next = c.now.Add(p.pause)
	}
	p.left--
	return bulk.ready.first(), time.Time{}
}

// chooseTrial finds the intent that may try the hold now and tells the most, or says
// when to look again (zero: after a change). For each live recipient only the first
// that is not sent yet is looked at, so none is overtaken.
func chooseTrial(lines []*line, c conditions) (best *delivery, again time.Time) {
	least := gate.Rank(-1)
	for _, l := range lines {
		if l.draining || l.ready.len() == 0 {
			continue
		}
		if !c.startable(l) {
			again = earlierKnown(again, c.now.Add(minLaterDelay))
			continue
		}
		for d := range l.ready.all() {
			r := c.trial.Rank(d.glance())
			if from := c.trial.From(r); c.now.Before(from) {
				again = earlierKnown(again, from)
			} else if best == nil || r < least {
				best, least = d, r
			}
		}
	}
	return best, again
}

// glance returns a delivery's id and the kind of its message, without a slot:
// nothing is checked.
func (d *delivery) glance() (id, kind string) {
	if !d.seen.glanced {
		// The id of a broken header can be read all the same, or there is none.
		env, _ := wire.ParseEnvelope(d.msg.Header, d.subject.Again)
		if env.ID == "" {
			env.ID = wire.DefaultID(d.queueMade, d.seq)
		}
		d.seen = seen{id: env.ID, kind: kindOf(d.msg.Data), glanced: true}
	}
	return d.seen.id, d.seen.kind
}

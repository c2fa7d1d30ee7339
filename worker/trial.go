package worker

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

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

// few is how many intents of each lane may be in hand while a hold is being
// tried; 0 for no hold.
func (a *app) few(now time.Time) int {
	if c, choosing := a.gate.Choice(now); choosing {
		return lookAhead + c.Drawn()
	}
	if a.gate.Trying(now) {
		return 1
	}
	return 0
}

// next is where the next intent comes from: the lane whose turn it is, or while
// a hold is being tried that of the intent which is to try it. d is nil for the
// first of the lane. passed says that it is not to be sent, but to be put off.
// a.mu is held.
func (a *app) next(now time.Time) (l *lane, d *delivery, passed bool) {
	c, choosing := a.gate.Choice(now)
	if !choosing {
		a.passing = passing{}
		return a.nextLane(now), nil, false
	}
	if d = a.choose(c, now); d == nil {
		d, passed = a.pass(c, now), true
	}
	if d == nil {
		return nil, nil, false
	}
	return d.lane, d, passed
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
	passFirst = time.Second
	passTop   = 10 * time.Minute
	passedFor = time.Minute // then they are behind all others
)

// pass finds an intent of bulk that is to be put off, where all that is in sight
// is of kinds that were refused, and more may be behind it. Live has its order,
// and only what waits for a retry is overtaken there. a.mu is held.
func (a *app) pass(c gate.Choice, now time.Time) *delivery {
	bulk, p := a.lanes[len(a.lanes)-1], &a.passing
	if !c.Seeks() || a.later.isFull() || bulk.ready.len() < max(bulk.window(lookAhead+c.Drawn()), 1) {
		return nil
	}
	if p.left == 0 {
		if now.Before(p.next) {
			a.wake(p.next)
			return nil
		}
		p.left, p.pause = lookAhead, min(max(2*p.pause, passFirst), passTop)
		p.next = now.Add(p.pause)
	}
	p.left--
	for d := range bulk.ready.all() {
		return d
	}
	return nil
}

// choose finds the intent that may try the hold at now and tells the most. For
// each live recipient only the first that is not sent yet is looked at, so none
// is overtaken. a.mu is held.
func (a *app) choose(c gate.Choice, now time.Time) (best *delivery) {
	var next time.Time // when one that may not yet, may
	least := gate.Rank(-1)
	for _, l := range a.lanes {
		if l.leaving || l.ready.len() == 0 {
			continue
		}
		if !l.startable(now) {
			a.wake(now.Add(soon))
			continue
		}
		for d := range l.ready.all() {
			id, kind := a.glance(d)
			r := c.Rank(id, kind)
			if from := c.From(r); now.Before(from) {
				if next.IsZero() || from.Before(next) {
					next = from
				}
			} else if best == nil || r < least {
				best, least = d, r
			}
		}
	}
	if best == nil && !next.IsZero() {
		a.wake(next)
	}
	return best
}

// seen is what is known of a delivery before it is read.
type seen struct {
	id, kind string
	glanced  bool
}

// glance is a delivery's id and the kind of its message, without a slot: nothing is
// checked. app.mu is held.
func (a *app) glance(d *delivery) (id, kind string) {
	if !d.seen.glanced {
		env, _ := wire.ParseEnvelope(d.msg.Header, d.subject.Again) // its id can be read all the same, or it has none
		if env.ID == "" {
			env.ID = wire.DefaultID(*a.created.Load(), d.seq)
		}
		d.seen = seen{id: env.ID, kind: kindOf(d.msg.Data), glanced: true}
	}
	return d.seen.id, d.seen.kind
}

// kindOf tells messages apart that WeChat may treat differently: the msgtype of
// a packet, and the kf_account that it names. "" when it cannot be read. Nothing
// else of the packet is checked.
func kindOf(packet []byte) string {
	var p struct {
		MsgType       string `json:"msgtype"`
		CustomService struct {
			KFAccount string `json:"kf_account"`
		} `json:"customservice"`
	}
	if json.Unmarshal(packet, &p) != nil {
		return ""
	}
	kind := strings.TrimSpace(p.MsgType + " " + p.CustomService.KFAccount)
	if len(kind) > maxKind || strings.ContainsFunc(kind, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return kind
}

// maxKind bounds a kind in bytes: it is stored with the hold and logged.
const maxKind = 160

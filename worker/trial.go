package worker

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

// A hold that the answer to a message drew is tried with another message, since
// it may be about that one only. To have one to choose, the app is open while
// such a hold waits for its trial, with a bounded number of intents in hand.

// lookAhead is how far each lane is looked into for a message that can tell more
// than the first one. What is behind it is seen when these have ended.
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
// first of the lane. a.mu is held.
func (a *app) next(now time.Time) (l *lane, d *delivery) {
	c, choosing := a.gate.Choice(now)
	if !choosing {
		return a.nextLane(now), nil
	}
	if d = a.choose(c, now); d == nil {
		return nil, nil
	}
	return d.lane, d
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
			id, kind := d.glance()
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
func (d *delivery) glance() (id, kind string) {
	if !d.seen.glanced {
		env, _ := schema.ParseEnvelope(d.msg.Header, d.subject.Again) // its id can be read all the same, or it has none
		if env.ID == "" {
			env.ID = schema.DefaultID(*d.app.created.Load(), d.seq)
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

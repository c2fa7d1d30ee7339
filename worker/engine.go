package worker

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/wechat"
)

// engine carries the intents of one app through their lives: it does what
// life.next orders and knows no policy.
type engine struct {
	*services
	appID      string
	settings   *atomic.Pointer[App]       // in force; they may change while an intent is under way
	queueMade  *atomic.Pointer[time.Time] // when the app's stream was made
	gate       *gate.Gate
	laterShare *laterShare
	quota      dayQuota
	sent       atomic.Int64 // messages
	pulse      *pulse.App
	waiters    rateWaiters // intents that wait for the rate in their slots
	holder     holder
}

// holder is who has the deliveries in hand.
type holder interface {
	inHand(seq uint64) bool                  // a message is in hand
	countUnreachable(fault wechat.Fault) int // counts calls in a row that could not leave
	settled(d *delivery)                     // forgets what was acknowledged, or is another's
	releaseUnsettled(d *delivery) bool       // gives back what cannot end here, if it has to
}

func (e *engine) cfg() *App { return e.settings.Load() }

// errGrace ends the calls that are still under way when grace is over.
var errGrace = errors.New("grace period over")

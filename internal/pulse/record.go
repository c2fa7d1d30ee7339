package pulse

import (
	"sync"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Recorder counts what one worker does.
type Recorder struct {
	mu   sync.Mutex
	apps map[string]*App
}

// NewRecorder makes one.
func NewRecorder() *Recorder { return &Recorder{apps: make(map[string]*App)} }

// App is where what is done for an app is counted. It is the same for each call with an appid.
func (r *Recorder) App(appID string) *App {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.apps[appID]
	if a == nil {
		a = &App{}
		r.apps[appID] = a
	}
	return a
}

// App counts what a worker does for one app. Its methods wait for nothing but each other.
type App struct {
	mu    sync.Mutex
	dirty bool // since it was written down
	hour  *hour
}

// NotMeasured is how long an intent took whose time says nothing of kefu.
const NotMeasured time.Duration = -1

// Ended counts the end of an intent at a time, and how long it took.
func (a *App) Ended(at time.Time, lane schema.Lane, state schema.State, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, b := a.at(at)
	switch state {
	case schema.StateSent:
		m.sent++
	case schema.StateDead:
		m.dead++
	case schema.StateCancelled:
		m.cancelled++
	}
	if took < 0 {
		return
	}
	a.hour.latest.observe(took)
	if lane == schema.LaneLive {
		b.live.observe(took)
	} else {
		b.bulk.observe(took)
	}
}

// Called counts a call of the API that ended at a time, and how long it took.
func (a *App) Called(at time.Time, took time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m, b := a.at(at)
	m.calls++
	b.call.observe(took)
}

// at finds where something is counted. a.mu is held.
func (a *App) at(at time.Time) (*minute, *block) {
	a.dirty = true
	if a.hour == nil {
		a.hour = &hour{}
	}
	return a.hour.at(minuteOf(at))
}

// hour is what was counted in the last hour, and some of what was before it.
type hour struct {
	minutes [Minutes]minute
	blocks  [blocks]*block
	newest  int64     // minute
	latest  histogram // of it, live and bulk
}

// minute is what was counted in one minute.
type minute struct {
	number                       int64 // since 1970
	sent, dead, cancelled, calls uint32
	p99                          uint8 // of live and bulk: its bucket and 1; 0: of none
}

// block is how long what ended in a block took.
type block struct {
	number           int64
	live, bulk, call histogram
}

// at finds a minute and its block. What stood in their places is more than an hour old, or a clock
// was set back.
func (h *hour) at(number int64) (*minute, *block) {
	m := &h.minutes[number%Minutes]
	if m.number != number {
		h.closeMinute()
		*m = minute{number: number}
		h.newest, h.latest = number, histogram{}
	}
	return m, h.block(number / blockMinutes)
}

// closeMinute notes how long what ended in the newest minute took.
func (h *hour) closeMinute() {
	if m := &h.minutes[h.newest%Minutes]; m.number == h.newest {
		m.p99 = max(m.p99, h.latest.p99())
	}
}

func (h *hour) block(number int64) *block {
	p := &h.blocks[number%blocks]
	if *p == nil || (*p).number != number {
		*p = &block{number: number}
	}
	return *p
}

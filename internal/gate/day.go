package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

const (
	// The day's budget is taken in blocks. One is at most a thousandth of it and at most a
	// twentieth of what is left: a worker that is killed takes no more with it, and the last of it
	// is not stranded with one that has no use for it.
	blockOfDay  = 1000
	blockOfLeft = 20

	dayKeep = 48 * time.Hour // a key outlives its day, and not its app
)

// Day is what an app has sent on one day of the platform's: key day.<app> of KEFU_STATE.
type Day struct {
	End  time.Time `json:"end"`  // the platform's midnight that ends it
	Used int64     `json:"used"` // sends, with what workers have taken and not used yet
}

func dayKey(appID string) string { return "day." + appID }

// take is the block that a worker may have of a day's budget. A day that has begun elsewhere is not
// begun again by a clock that is behind.
func (d Day) take(now time.Time, perDay int64) (next Day, n int64) {
	if end := NextDay(now); end.After(d.End) {
		d = Day{End: end}
	}
	left := perDay - d.Used
	if left <= 0 {
		return d, 0
	}
	n = max(min(left/blockOfLeft, perDay/blockOfDay), 1)
	d.Used += n
	return d, n
}

// daily is one worker's part in an app's budget of a day.
type daily struct {
	pool      *common // nil: nobody to share with
	key       string
	log       *slog.Logger
	onArrival func() // a block came, or the word that there is none

	mu     sync.Mutex
	perDay int64
	end    time.Time // of the day that left and inFlight belong to
	left   int64     // sends in hand

	inFlight int64 // spent, and may come back
	usedUp   bool  // the pool has no more of the day's budget
	waiting  bool  // somebody waits for onArrival, or for what comes back
	fetching bool

	failing bool // the fetching goroutine's
}

// available says whether one more may be sent today; spend spends it. If not, over is when the day
// ends whose budget is used up; zero: ask again when onArrival is called, or returned has said so.
func (d *daily) available(now time.Time) (ok bool, over time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !now.Before(d.end) {
		d.turnTo(NextDay(now))
		d.usedUp = false
		if d.pool == nil {
			d.left = d.perDay
		}
	}
	if d.left > 0 {
		return true, time.Time{}
	}
	switch {
	case !d.usedUp && d.pool != nil:
		if !d.fetching {
			d.fetching = true
			d.pool.run(func() { d.fetch(now) })
		}
	case d.inFlight == 0:
		return false, d.end
	}
	d.waiting = true
	return false, time.Time{}
}

// turnTo leaves what belongs to another day behind. d.mu is held.
func (d *daily) turnTo(end time.Time) {
	if !d.end.Equal(end) {
		d.end, d.left, d.inFlight = end, 0, 0
	}
}

// remains says whether something of the day at now is in hand here, or may come back.
func (d *daily) remains(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return now.Before(d.end) && (d.left > 0 || d.inFlight > 0)
}

func (d *daily) limit() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.perDay
}

// set changes the budget. One that was used up may not be any more.
func (d *daily) set(perDay int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pool == nil && !d.end.IsZero() {
		d.left += perDay - d.perDay
	}
	d.perDay, d.usedUp = perDay, false
}

// askAgain has the pool asked once more: a worker may have given something back.
func (d *daily) askAgain() {
	d.mu.Lock()
	d.usedUp = false
	d.mu.Unlock()
}

// spend spends what available found, and returns the end of the day that it is of.
func (d *daily) spend() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	d.inFlight++
	return d.end
}

// returned hears what became of one that was spent: unless it was used, or its day is over, it
// comes back. It says whether somebody waits for that.
func (d *daily) returned(day time.Time, used bool) (tell bool) {
	if day.IsZero() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !day.Equal(d.end) {
		return false
	}
	d.inFlight--
	if !used {
		d.left++
	}
	tell = d.waiting && (!used || d.inFlight == 0)
	d.waiting = d.waiting && !tell
	return tell
}

// fetch asks until there is an answer.
func (d *daily) fetch(now time.Time) {
	begun := time.Now()
	for {
		perDay := d.limit()
		var n int64
		day, err := d.revise(d.pool.ctx, func(day Day) (Day, bool) {
			day, n = day.take(now.Add(time.Since(begun)), perDay)
			return day, n > 0
		})
		d.report(err)
		if err == nil {
			d.mu.Lock()
			d.turnTo(day.End)
			d.left += n                             // to what came back meanwhile
			d.usedUp = n == 0 && perDay == d.perDay // else it was asked for by the old budget
			d.fetching, d.waiting = false, false
			d.mu.Unlock()
			d.onArrival()
			return
		}
		pause := askPause
		if errors.Is(err, broker.ErrOvertaken) {
			pause = d.pool.jitter()
		}
		select {
		case <-d.pool.ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// revise makes one attempt to change the pool's count of the day. An answer that is lost may cost a
// block.
func (d *daily) revise(ctx context.Context, change func(Day) (Day, bool)) (Day, error) {
	if !d.pool.conn.Connected() {
		return Day{}, broker.ErrAway
	}
	day, _, err := revise(ctx, timed{d.pool.conn, d.pool.trips}, d.key, dayKeep, change)
	return day, err
}

// report says once when the broker begins to keep the day's budget from us, and once when that
// ends.
func (d *daily) report(err error) {
	expected := errors.Is(err, broker.ErrAway) || errors.Is(err, broker.ErrOvertaken) ||
		d.pool.ctx.Err() != nil
	switch {
	case err != nil && !d.failing && !expected:
		d.failing = true
		d.log.Warn("nothing is sent: the day's budget cannot be reached", "error", err)
	case err == nil && d.failing:
		d.failing = false
		d.log.Info("the day's budget can be reached again")
	}
}

// giveBack returns what was taken and not used, for the rest of the pool.
func (d *daily) giveBack(ctx context.Context) {
	d.mu.Lock()
	end, left := d.end, d.left
	d.left = 0
	d.mu.Unlock()
	for range 10 { // each time somebody else may be first
		if left == 0 {
			return
		}
		_, err := d.revise(ctx, func(day Day) (Day, bool) {
			day.Used -= left
			return day, day.End.Equal(end)
		})
		if !errors.Is(err, broker.ErrOvertaken) {
			return
		}
	}
}

// Days reads what each app has sent today, for people and for a comparison with the platform's own
// count. An app whose day has ended is not among them.
func Days(ctx context.Context, conn *broker.Conn, now time.Time) (map[string]Day, error) {
	entries, err := conn.ReadState(ctx, "day.")
	if err != nil {
		return nil, err
	}
	out := make(map[string]Day)
	for _, e := range entries {
		var d Day
		if err := json.Unmarshal(e.Value, &d); err != nil {
			return nil, fmt.Errorf("%s: %w", e.Key, err)
		}
		if now.Before(d.End) {
			out[strings.TrimPrefix(e.Key, "day.")] = d
		}
	}
	return out, nil
}

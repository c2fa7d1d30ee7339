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
	pool    *sharing // nil: nobody to share with
	key     string
	log     *slog.Logger
	arrived func()

	mu     sync.Mutex
	perDay int64
	end    time.Time // of the day that left and flying belong to
	left   int64
	flying int64 // spent, and may come back
	spent  bool  // the pool has no more of the day's budget
	wanted bool  // somebody waits for arrived
	asking bool

	// the asking goroutine's
	failing bool
}

// take says whether one more may be sent today; use spends it. If not, over is when the day ends
// whose budget is used up; zero: ask again when arrived is called, or landed has said so.
func (d *daily) take(now time.Time) (ok bool, over time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !now.Before(d.end) {
		d.begin(NextDay(now))
		d.spent = false
		if d.pool == nil {
			d.left = d.perDay
		}
	}
	if d.left > 0 {
		return true, time.Time{}
	}
	switch {
	case !d.spent && d.pool != nil:
		if !d.asking {
			d.asking = true
			d.pool.run(func() { d.fetch(now) })
		}
	case d.flying == 0:
		return false, d.end
	}
	d.wanted = true
	return false, time.Time{}
}

// begin leaves what belongs to another day behind. d.mu is held.
func (d *daily) begin(end time.Time) {
	if !d.end.Equal(end) {
		d.end, d.left, d.flying = end, 0, 0
	}
}

// remains says whether something of the day at now is in hand here, or may come back.
func (d *daily) remains(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return now.Before(d.end) && (d.left > 0 || d.flying > 0)
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
	d.perDay, d.spent = perDay, false
}

// doubt has the pool asked once more: a worker may have given something back.
func (d *daily) doubt() {
	d.mu.Lock()
	d.spent = false
	d.mu.Unlock()
}

// use spends what take found, and returns the end of the day that it is of.
func (d *daily) use() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	d.flying++
	return d.end
}

// landed hears what became of one that was spent: unless it was used, or its day is over, it comes
// back. It says whether somebody waits for that.
func (d *daily) landed(day time.Time, used bool) (tell bool) {
	if day.IsZero() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !day.Equal(d.end) {
		return false
	}
	d.flying--
	if !used {
		d.left++
	}
	tell = d.wanted && (!used || d.flying == 0)
	d.wanted = d.wanted && !tell
	return tell
}

// fetch asks until there is an answer.
func (d *daily) fetch(now time.Time) {
	begun := time.Now()
	for {
		perDay := d.limit()
		day, n, err := d.try(d.pool.ctx, now.Add(time.Since(begun)), func(day Day, now time.Time) (Day, int64) { return day.take(now, perDay) })
		d.report(err)
		if err == nil {
			d.mu.Lock()
			d.begin(day.End)
			d.left += n                            // to what came back meanwhile
			d.spent = n == 0 && perDay == d.perDay // else it was asked for by the old measure
			d.asking, d.wanted = false, false
			d.mu.Unlock()
			d.arrived()
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

// try makes one attempt to change the day's count. An answer that is lost may cost a block.
func (d *daily) try(ctx context.Context, now time.Time, change func(Day, time.Time) (Day, int64)) (Day, int64, error) {
	if !d.pool.conn.Connected() {
		return Day{}, 0, broker.ErrAway
	}
	var day Day
	var e broker.StateEntry
	err := d.pool.trips.ask(ctx, func(ctx context.Context) (err error) {
		e, err = d.pool.conn.LastState(ctx, d.key)
		return err
	})
	switch {
	case errors.Is(err, broker.ErrNoMessage):
	case err != nil:
		return Day{}, 0, err
	case !e.Deleted:
		if err := json.Unmarshal(e.Value, &day); err != nil {
			return Day{}, 0, fmt.Errorf("%s: %w", d.key, err)
		}
	}
	next, n := change(day, now)
	if n == 0 {
		return next, 0, nil
	}
	body, err := json.Marshal(next)
	if err != nil {
		return Day{}, 0, err
	}
	err = d.pool.trips.ask(ctx, func(ctx context.Context) error {
		_, err := d.pool.conn.Swap(ctx, broker.PutState(d.key, body, dayKeep), e.Seq)
		return err
	})
	return next, n, err
}

func (d *daily) report(err error) {
	away := errors.Is(err, broker.ErrAway) || errors.Is(err, broker.ErrOvertaken) || d.pool.ctx.Err() != nil
	switch {
	case err != nil && !d.failing && !away:
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
		_, _, err := d.try(ctx, time.Time{}, func(day Day, _ time.Time) (Day, int64) {
			if !day.End.Equal(end) {
				return day, 0
			}
			day.Used -= left
			return day, left
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

package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// App is what the feeding of campaigns depends on in the settings of an app.
type App struct {
	Room       Room
	Remembered time.Duration // for which workers recognise an id that is published again
}

// Work feeds campaigns for the pool: it puts their rows into the app's queue, about as fast as they
// are sent. It is a [job.Work].
type Work struct {
	conn     *broker.Conn
	book     *ledger.Ledger // nil without a ledger
	settings func(appID string) App

	// ends are how what a job has fed ended; false when nobody counts.
	ends func(jobID, appID string) (ends, bool)
	// shown are those that are stored as counts, which lag behind.
	shown func(ctx context.Context, jobID, appID string) (ends, error)

	mu    sync.Mutex
	feeds map[string]*feed // by job
}

// NewWork makes the work of a worker. settings is asked before each step; book is nil without a
// ledger.
func NewWork(
	conn *broker.Conn, book *ledger.Ledger, settings func(appID string) App,
) *Work {
	w := &Work{conn: conn, book: book, settings: settings, feeds: make(map[string]*feed)}
	w.ends, w.shown = w.counted, w.countsStored
	return w
}

// spec is what the pool must know of a campaign that is ordered.
type spec struct {
	Campaign  string    `json:"campaign"`
	Upload    string    `json:"upload"`
	Source    string    `json:"source,omitempty"`
	SendAt    time.Time `json:"send_at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Quiet     Quiet     `json:"quiet,omitzero"`
	Halt      Halt      `json:"halt,omitzero"`
	Unkeyed   bool      `json:"unkeyed,omitempty"` // its ids are those of an earlier version
	Cancels   bool      `json:"cancels,omitempty"` // nothing is fed: what is queued is ended
}

func encodeSpec(s spec) (json.RawMessage, error) { return json.Marshal(s) }

// step is a range of rows that are fed together.
type step struct {
	From uint64    `json:"from"` // a cursor
	Rows int       `json:"rows"`
	At   time.Time `json:"at"` // when it was chosen
}

// feed is what a worker knows of a campaign while it feeds it.
type feed struct {
	spec spec
	ids  func(openID string) string

	looked time.Time     // at the queue
	cycle  time.Duration // between two looks, of late
	full   time.Time     // since when all of the first sends are fed
	search search        // for what has not ended
	halts  int           // of which the audit knows
	stored time.Time     // since when all ends that this worker knows are stored as counts
	asked  time.Time     // the pool how long a call takes
	call   time.Duration // how long one takes

	chunk int // that rows are of
	rows  []chunkRow
	read  time.Time // when they were
}

// feed is that of a job, which may be new to this worker.
func (w *Work) feed(ctx context.Context, o job.Order, appID string) (*feed, error) {
	w.mu.Lock()
	f := w.feeds[o.ID]
	w.mu.Unlock()
	if f != nil {
		return f, nil
	}
	f = &feed{}
	if err := json.Unmarshal(o.Spec, &f.spec); err != nil {
		return nil, fmt.Errorf("read the order: %w", err)
	}
	var err error
	if f.ids, err = idsOf(ctx, w.conn, appID, f.spec.Campaign, !f.spec.Unkeyed); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.feeds[o.ID] = f
	return f, nil
}

// idsOf returns the function that makes the ids of a campaign's intents.
func idsOf(
	ctx context.Context, conn *broker.Conn, appID, campaign string, keyed bool,
) (func(openID string) string, error) {
	if !keyed {
		return func(openID string) string { return schema.CampaignID(appID, campaign, openID) }, nil
	}
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return nil, err
	}
	return func(openID string) string { return ID(pseudonyms, appID, campaign, openID) }, nil
}

// Notes of rows that are not fed.
const (
	noteExpired   = "expired before its turn"
	noteForgotten = "the person was forgotten"
)

const (
	// lookQuietly is between two looks at a campaign that has nothing to be fed just now.
	lookQuietly = 500 * time.Millisecond
	// askPool is between two questions how long a call takes: workers say it every few seconds.
	askPool = 2 * time.Second
)

// Choose says which rows are fed next. It implements [job.Work].
func (w *Work) Choose(
	ctx context.Context, o job.Order, p job.Part, _ []job.Step,
) (job.Choice, error) {
	f, err := w.feed(ctx, o, p.AppID)
	if err != nil {
		return job.Choice{}, err
	}
	now := time.Now()
	left := o.Apps[p.AppID] - p.Published - p.Left
	ends, counted := w.ends(o.ID, p.AppID)
	switch {
	case left > 0 && !f.spec.ExpiresAt.IsZero() && !now.Before(f.spec.ExpiresAt):
		expired := job.Result{Left: left}
		expired.Notes = append(expired.Notes, notes.Note{Text: noteExpired, Count: left})
		return job.Choice{Result: expired}, nil
	case now.Before(f.spec.SendAt), f.spec.Quiet.Ends(now).After(now):
		return job.Choice{}, nil
	case now.Sub(f.looked) < f.pause(left):
		return job.Choice{}, nil
	case left <= 0:
		f.looked = now
		done, err := w.ended(ctx, f, o, p, ends, counted, now)
		return job.Choice{Result: job.Result{Done: done}}, err
	}
	room := -1
	if counted {
		t := f.spec.Halt.judge(ends, p.Published, o.Apps[p.AppID], f.fullSince(p, o, now), now,
			o.Resumes > 0)
		if t.halt != "" {
			err := w.auditHalt(ctx, f, o, p, t.halt)
			return job.Choice{Result: job.Result{Halt: t.halt}}, err
		}
		room = t.room
	}
	return w.choose(ctx, f, o, p, left, room, now)
}

// pause is how long after a look the next one comes.
func (f *feed) pause(left int) time.Duration {
	if left <= 0 {
		return lookQuietly
	}
	return 0
}

// fullSince is since when all of the first sends are fed; zero before that.
func (f *feed) fullSince(p job.Part, o job.Order, now time.Time) time.Time {
	switch {
	case p.Published < min(firstSends, o.Apps[p.AppID]):
		f.full = time.Time{}
	case f.full.IsZero():
		f.full = now
	}
	return f.full
}

// countsStored are the ends of a job that are stored as counts.
func (w *Work) countsStored(ctx context.Context, jobID, appID string) (ends, error) {
	of := ledger.JobOf(jobID, appID)
	stored, err := ledger.ReadJobCounts(ctx, w.conn, of)
	c := stored[of]
	return ends{c.Sent, c.Dead, c.Cancelled}, err
}

// counted are the ends that the worker has counted.
func (w *Work) counted(jobID, appID string) (ends, bool) {
	if w.book == nil {
		return ends{}, false
	}
	c := w.book.JobCounts(ledger.JobOf(jobID, appID))
	return ends{c.Sent, c.Dead, c.Cancelled}, true
}

// choose chooses as many rows as the queue has room for.
func (w *Work) choose(
	ctx context.Context, f *feed, o job.Order, p job.Part, left, room int, now time.Time,
) (job.Choice, error) {
	queued, err := queued(ctx, w.conn, p.AppID, f.spec.Campaign)
	if err != nil {
		return job.Choice{}, err
	}
	if cycle := now.Sub(f.looked); cycle < windowMost {
		f.cycle += (cycle - f.cycle) / 4
	}
	f.looked = now
	if now.Sub(f.asked) >= askPool {
		f.asked = now
		// Without an answer it goes on as before: nothing depends on it but the speed.
		if workers, err := pool.Workers(ctx, w.conn); err == nil {
			f.call = callTime(workers, p.AppID)
		}
	}
	n := min(left, w.settings(p.AppID).Room.window(o.Rate, f.cycle, f.call)-queued)
	if room >= 0 {
		n = min(n, room)
	}
	if n <= 0 {
		return job.Choice{}, nil
	}
	body, err := json.Marshal(step{From: p.Cursor, Rows: n, At: now.UTC()})
	return job.Choice{Step: body}, err
}

// ended says whether everything that was fed has ended, and shows in the status.
func (w *Work) ended(
	ctx context.Context, f *feed, o job.Order, p job.Part, e ends, counted bool, now time.Time,
) (bool, error) {
	if !counted || e.all() < p.Published {
		// For what nobody counts, and for what was recognised as a repeat and is counted elsewhere,
		// it has to do that nothing of the campaign is found, neither queued nor waiting.
		if gone, err := w.gone(ctx, f, p.AppID, now); err != nil || !gone {
			return false, err
		}
	}
	if !counted {
		return true, nil
	}
	// The counts are stored a moment later, by another worker, which may be lost.
	shown, err := w.shown(ctx, o.ID, p.AppID)
	if err != nil {
		return false, err
	}
	if shown.all() < e.all() {
		f.stored = time.Time{}
		return false, nil
	}
	if f.stored.IsZero() {
		f.stored = now // those of the campaign are stored with those of the job, if not before
	}
	return f.stored.Before(now), nil
}

// queued counts what the app's queue holds of a campaign, with what is in flight.
func queued(ctx context.Context, conn *broker.Conn, appID, campaign string) (int, error) {
	n, err := conn.Count(ctx, schema.SendStream(appID),
		wire.LaneFilter(appID, schema.LaneBulk, campaign))
	if errors.Is(err, broker.ErrNoStream) {
		return 0, nil
	}
	return int(n), err
}

var (
	_ job.Work   = (*Work)(nil)
	_ job.Tidier = (*Work)(nil)
)

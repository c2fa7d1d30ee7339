package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pause"
)

// Members are the workers of the pool.
type Members interface {
	// Alive says whether a worker may still be at work.
	Alive(worker string) bool
	// First says whether this worker is the one of those alive that carries out the
	// jobs of an app.
	First(appID string) bool
}

// Work is a kind of job. Its functions are called by several goroutines, but one at
// a time for each part.
type Work interface {
	// Choose says which step of a part comes next. It changes nothing. others are
	// the steps under way of other jobs of the app: what stands there is theirs.
	Choose(ctx context.Context, o Order, p Part, others []Step) (Choice, error)

	// Carry carries out a step and says what it has come to. A step that ended with
	// an error is carried out again. When begin ends, maybe before Carry is called,
	// nothing more is to be begun: the result is that of what was, and what the step
	// has not begun is chosen anew.
	Carry(ctx, begin context.Context, t Task) (Result, error)

	// Ended is called when a job has ended, before that is stored: once more if the
	// worker is lost between the two, or after an error.
	Ended(ctx context.Context, j Job) error
}

// Choice is what comes next in a part.
type Choice struct {
	Step []byte // to be carried out; nil for none

	// Result counts what needs no step, when Step is nil. One that says nothing
	// means that there is nothing to do just now.
	Result Result
}

// Task is a step to carry out.
type Task struct {
	Order Order
	Part  Part
	Step  Step

	// Again says that the step may have been begun before, by a worker that was lost
	// or before an error. What was done then is not to be done once more, but to be
	// counted.
	Again bool

	Pace *rate.Limiter // for each item
}

const (
	// lookEvery is how often a runner looks whether something is its own now: a
	// worker that was lost is noticed by nothing that is written here.
	lookEvery = time.Second

	// emptyPause is between two choices while there is nothing to choose.
	emptyPause = 100 * time.Millisecond

	firstRetry, maxRetry = 200 * time.Millisecond, 5 * time.Second

	// grace is for how long a worker that stops waits for what it has begun.
	grace = 3 * time.Second
)

// Runner carries out the jobs of the apps whose turn falls to this worker.
type Runner struct {
	conn    *broker.Conn
	self    string
	members Members
	works   map[Kind]Work
	log     *slog.Logger

	wake chan struct{}

	mu      sync.Mutex
	board   *board
	seats   map[string]*seat
	running map[place]context.CancelFunc // each ends what its part has under way
	tasks   sync.WaitGroup
}

// place is the part of a job in an app.
type place struct{ job, appID string }

// NewRunner makes the runner of the worker that is called self in the pool.
func NewRunner(
	conn *broker.Conn, self string, members Members, works map[Kind]Work, log *slog.Logger,
) *Runner {
	return &Runner{
		conn: conn, self: self, members: members, works: works, log: log,
		wake: make(chan struct{}, 1), board: newBoard(),
		seats: make(map[string]*seat), running: make(map[place]context.CancelFunc),
	}
}

// Run carries out jobs until ctx ends, and returns when what it had under way is
// counted, or given up.
func (r *Runner) Run(ctx context.Context) error {
	o := broker.FollowOptions{Log: r.log, Anew: r.anew}
	for _, prefix := range []string{jobKeys, deskKeys} { // the bucket holds more than jobs
		w, err := r.conn.WatchJobs(ctx, prefix, o, r.apply)
		if err != nil {
			return fmt.Errorf("jobs: %w", err)
		}
		defer w.Stop()
	}
	defer r.tasks.Wait()
	r.tasks.Go(func() { r.tidy(ctx) })
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		r.look(ctx)
		select {
		case <-r.wake:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// anew forgets what stood in a bucket that is gone.
func (r *Runner) anew() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.board = newBoard()
	for _, interrupt := range r.running {
		interrupt()
	}
}

func (r *Runner) apply(e broker.StateEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.board.apply(e); err != nil {
		r.log.Error("what is stored of a job cannot be read", "error", err)
	}
	for at, interrupt := range r.running {
		if j, ok := r.board.job(at.job); !ok || !j.goesOn() {
			interrupt()
		}
	}
	r.wakeUp()
}

func (r *Runner) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// look begins what is this worker's to do.
func (r *Runner) look(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, j := range r.board.all() {
		if r.works[j.Kind] == nil || !j.Ended.IsZero() {
			continue
		}
		open := false
		for _, appID := range j.AppIDs() {
			p, known := r.board.parts[j.ID][appID]
			if known && p.Ended.IsZero() {
				open = true
			}
			if t := j.turn(p, r.board.step(j.ID, appID)); t == idle || t == end && !known {
				continue
			}
			r.begin(ctx, place{j.ID, appID}, appID, r.part)
		}
		if j.State().Final() && !open {
			r.begin(ctx, place{job: j.ID}, j.AppIDs()[0], r.finish)
		}
	}
}

// begin has a goroutine do something for a job unless one does already, or it is
// another worker's to do. r.mu is held.
func (r *Runner) begin(
	ctx context.Context, at place, appID string, do func(work, steps context.Context, at place) error,
) {
	if r.running[at] != nil || ctx.Err() != nil || !r.members.First(appID) {
		return
	}
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	steps, interrupt := context.WithCancel(ctx)
	late := context.AfterFunc(ctx, func() { time.AfterFunc(grace, end) })
	r.running[at] = interrupt
	r.tasks.Go(func() {
		defer late()
		defer end()
		defer interrupt()
		err := do(work, steps, at)
		r.mu.Lock()
		delete(r.running, at)
		r.mu.Unlock()
		switch {
		case err == nil:
			r.wakeUp() // it may have changed its mind meanwhile
		case errors.Is(err, errTaken), errors.Is(err, broker.ErrOvertaken), ctx.Err() != nil:
		default:
			r.log.Warn("job", "job", at.job, "app", at.appID, "error", err)
		}
	})
}

// finish writes down that a job has ended.
func (r *Runner) finish(ctx, _ context.Context, at place) error {
	r.mu.Lock()
	j, ok := r.board.job(at.job)
	r.mu.Unlock()
	if !ok {
		return nil
	}
	// The order goes last, by its time of life as well: a part that is missing would be
	// begun anew.
	for _, p := range j.Parts {
		if err := r.count(ctx, &p, keepEnded); err != nil {
			return err
		}
	}
	o := j.Order
	o.Ended = time.Now().UTC()
	if err := r.works[j.Kind].Ended(ctx, j); err != nil {
		return err
	}
	o.Spec = nil // it may name a recipient
	revision, err := put(ctx, r.conn, orderKey(o.ID), o, o.revision, keepEnded)
	if err != nil {
		return err
	}
	o.revision = revision
	r.mu.Lock()
	defer r.mu.Unlock()
	r.board.orders[o.ID] = o
	return nil
}

// part carries out the part of a job in an app until there is nothing to do.
func (r *Runner) part(work, steps context.Context, at place) error {
	s := r.seat(at.appID)
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(firstRetry), backoff.WithMaxInterval(maxRetry),
		backoff.WithMaxElapsedTime(0))
	return backoff.RetryNotify(func() error {
		err := r.walk(work, steps, at, s, wait.Reset)
		if errors.Is(err, errTaken) || errors.Is(err, broker.ErrOvertaken) {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(wait, steps), func(err error, _ time.Duration) {
		r.log.Warn("a step of a job is tried again", "job", at.job, "app", at.appID, "error", err)
	})
}

func (r *Runner) seat(appID string) *seat {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.seats[appID]
	if s == nil {
		s = &seat{conn: r.conn, appID: appID, self: r.self, alive: r.members.Alive}
		r.seats[appID] = s
	}
	return s
}

// walk goes from step to step. work ends with the worker, steps when nothing more is
// to be begun; stepped is called after each step that was counted.
func (r *Runner) walk(
	work, steps context.Context, at place, s *seat, stepped func(),
) error {
	if err := s.take(work); err != nil {
		return err
	}
	w := walk{Runner: r, at: at, seat: s, again: true,
		part: Part{Job: at.job, AppID: at.appID, Started: time.Now().UTC()}}
	var err error
	if w.part.revision, err = get(work, r.conn, partKey(at.job, at.appID), &w.part); err != nil {
		return err
	}
	for {
		j, ok := r.job(at.job, w.part)
		if !ok {
			return nil
		}
		open := s.step(at.job)
		switch j.turn(w.part, open) {
		case idle:
			return w.drop(work, open)
		case end:
			if err := w.drop(work, open); err != nil {
				return err
			}
			w.part.Ended = time.Now().UTC()
			return r.count(work, &w.part, 0)
		case carry:
			if err := w.carry(work, steps, j, *open); err != nil {
				return err
			}
			stepped()
		case choose:
			if steps.Err() != nil || !r.members.First(at.appID) {
				return w.drop(work, open)
			}
			if err := w.choose(work, steps, j); err != nil {
				return err
			}
		}
		w.again = false
	}
}

// walk is one worker's way through the steps of a part.
type walk struct {
	*Runner
	at    place
	seat  *seat
	part  Part
	pace  *rate.Limiter
	again bool // an open step may have been begun before
}

// drop takes a step that is counted off the desk.
func (w *walk) drop(ctx context.Context, open *Step) error {
	if open == nil {
		return nil
	}
	return w.seat.close(ctx, w.at.job)
}

// carry has a step carried out, and counts it.
func (w *walk) carry(ctx, steps context.Context, j Job, open Step) error {
	if w.pace == nil {
		w.pace = newPace(j.Share(w.at.appID))
	}
	begin, end := context.WithCancel(steps)
	defer end()
	if !j.goesOn() {
		end()
	}
	result, err := w.works[j.Kind].Carry(ctx, begin, Task{
		Order: j.Order, Part: w.part, Step: open, Again: w.again, Pace: w.pace,
	})
	if err != nil {
		return err
	}
	w.part = w.part.after(result, j.Order)
	if err := w.count(ctx, &w.part, 0); err != nil {
		return err
	}
	return w.seat.close(ctx, w.at.job)
}

// choose opens the next step, or counts what needs none.
func (w *walk) choose(work, steps context.Context, j Job) error {
	c, err := w.seat.open(work, w.at.job, w.part.Steps+1, func(others []Step) (Choice, error) {
		return w.works[j.Kind].Choose(steps, j.Order, w.part, others)
	})
	switch {
	case err != nil || c.Step != nil:
		return err
	case c.Result.empty():
		_ = pause.For(steps, emptyPause) // the next look notices that steps ended
		return nil
	}
	w.part = w.part.with(c.Result, j.Order)
	return w.count(work, &w.part, 0)
}

// count stores a part.
func (r *Runner) count(ctx context.Context, p *Part, ttl time.Duration) error {
	revision, err := put(ctx, r.conn, partKey(p.Job, p.AppID), p, p.revision, ttl)
	if err != nil {
		return err
	}
	p.revision = revision
	r.mu.Lock()
	defer r.mu.Unlock()
	r.board.put(*p)
	return nil
}

// job is a job with a part that this worker has counted.
func (r *Runner) job(id string, p Part) (Job, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.revision > 0 {
		r.board.put(p)
	}
	return r.board.job(id)
}

// newPace makes up for up to a fifth of a second, such as between two steps: without that, a job
// would be slower than asked. It begins with nothing to make up for.
func newPace(perSecond float64) *rate.Limiter {
	if perSecond <= 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	burst := int(math.Ceil(perSecond / 5))
	pace := rate.NewLimiter(rate.Limit(perSecond), burst)
	pace.AllowN(time.Now(), burst)
	return pace
}

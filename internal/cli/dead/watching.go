package dead

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/replay"
)

const (
	// watchEvery is between two looks at a replay.
	watchEvery = 250 * time.Millisecond

	// quiet is for how long nothing may change until a replay that does not go on counts as settled:
	// what a worker has in hand is counted within that, and so is what leaves the queue.
	quiet = 3 * time.Second
)

// readReplay reads a replay; one that is not there is exit code 3.
func readReplay(ctx context.Context, conn *broker.Conn, id string) (replay.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, cli.LookWait)
	defer cancel()
	s, err := replay.Read(ctx, conn, id)
	if errors.Is(err, job.ErrNoJob) || err == nil && s.Kind != job.KindReplay {
		return s, cli.Nothingf("no replay has the id %q: kefu dead replays lists them", id)
	}
	return s, err
}

// watching follows replays.
type watching struct {
	streams *cli.Streams
	conn    *broker.Conn
	workers cli.Carriers
}

func newWatching(s *cli.Streams, conn *broker.Conn, id string) *watching {
	return &watching{s, conn,
		cli.Carriers{Streams: s, Conn: conn, Kind: "replays", Job: "replay " + id}}
}

// leave tells how to come back to a replay that is not watched.
func (w *watching) leave(ctx context.Context, id string) error {
	s, err := readReplay(ctx, w.conn, id)
	if err != nil {
		return err
	}
	w.workers.Look(ctx, s.Apps)
	return w.streams.Answer(s,
		"replay %s is ordered: kefu dead replays watch %[1]s follows it\n", s.Job)
}

// follow shows how far a replay has come until it goes on no more, or ctx ends, and returns its
// status.
func (w *watching) follow(ctx context.Context, id string) (replay.Status, error) {
	s, err := readReplay(ctx, w.conn, id)
	if err != nil {
		return s, err
	}
	bar := w.streams.Progress(s.Chosen, "replaying", "")
	defer bar.End()
	away := false
	progress := progress{}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if progress.over(s, time.Now()) {
			return s, nil
		}
		if goesOn(s) {
			w.workers.Look(ctx, s.Apps)
		}
		bar.Show(s.Published+s.Left+s.Gone, w.beside(s, away))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, nil
		}
		next, err := readReplay(ctx, w.conn, id)
		var exit *cli.ExitError
		switch {
		case err == nil:
			s, away = next, false
		case errors.As(err, &exit): // there is no such replay any more
			return s, err
		default: // the broker is away: the replay is not over by that
			if !away && ctx.Err() == nil {
				w.streams.Warn("the broker does not answer: how far the replay is shows when it does")
			}
			away = true
		}
	}
}

// beside is what the bar says besides how many letters are dealt with.
func (w *watching) beside(s replay.Status, away bool) string {
	switch {
	case away:
		return "the broker does not answer"
	case len(w.workers.Missing()) > 0 && goesOn(s):
		return "no worker for " + strings.Join(w.workers.Missing(), ", ")
	case s.Sent == nil || s.Dead == nil:
		return ""
	}
	return fmt.Sprintf("%s sent, %s dead again", cli.Grouped(int64(*s.Sent)),
		cli.Grouped(int64(*s.Dead)))
}

// goesOn says whether more of a replay will be carried out as it stands.
func goesOn(s replay.Status) bool {
	return s.State == job.StatePlanned || s.State == job.StateRunning
}

// progress tells when a replay does not move any more.
type progress struct {
	last  tally
	moved time.Time
}

// tally is what moves.
type tally struct {
	state            job.State
	published, ended int
	left, gone       int
}

// over says whether nothing more is to be waited for, at a time: the replay does not go on, and all
// that it has published has ended, or nothing has moved for a while.
func (p *progress) over(s replay.Status, now time.Time) bool {
	if t := (tally{s.State, s.Published, ended(s), s.Left, s.Gone}); t != p.last || p.moved.IsZero() {
		p.last, p.moved = t, now
	}
	switch {
	case goesOn(s):
		return false
	case s.State.Final() && !s.FinishedAt.IsZero() && onTheirWay(s) == 0:
		return true
	}
	return now.Sub(p.moved) >= quiet
}

// ended is how many of the messages of a replay have ended, as far as that is counted.
func ended(s replay.Status) int {
	if s.Sent == nil || s.Dead == nil || s.Cancelled == nil {
		return 0
	}
	return *s.Sent + *s.Dead + *s.Cancelled
}

// onTheirWay is how many of the messages of a replay have not ended yet; 0 when nobody counts.
func onTheirWay(s replay.Status) int {
	if s.Sent == nil || s.Dead == nil || s.Cancelled == nil {
		return 0
	}
	return max(s.Published-ended(s), 0)
}

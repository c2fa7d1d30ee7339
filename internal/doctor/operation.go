package doctor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// stateSubjects is what a read of KEFU_STATE publishes to.
var stateSubjects = []string{directGet + wire.StreamState}

const directGet = "$JS.API.DIRECT.GET."

// workersSeen is who sends, and what for.
type workersSeen struct {
	workers []pool.Worker
	queued  map[string]uint64 // by the apps that are looked at
}

func seeWorkers(ctx context.Context, s *scene) (seen workersSeen, err error) {
	conn, streams, err := s.stored(wire.StreamState)
	if err != nil {
		return seen, err
	}
	seen.queued = make(map[string]uint64)
	for _, app := range s.Apps {
		seen.queued[app.AppID] = 0
		if info := streams[schema.SendStream(app.AppID)]; info != nil {
			seen.queued[app.AppID] = info.State.Msgs
		}
	}
	err = s.ask(ctx, stateSubjects, func(ctx context.Context) (err error) {
		seen.workers, err = pool.Workers(ctx, conn)
		return err
	})
	return seen, err
}

func judgeWorkers(w workersSeen) []Finding {
	queued := uint64(0)
	for _, n := range w.queued {
		queued += n
	}
	switch {
	case len(w.workers) == 0 && queued > 0:
		return []Finding{bad("no worker is alive, and "+counted(int64(queued), "intent")+
			be(int(queued))+" queued", "Start kefu worker.")}
	case len(w.workers) == 0:
		return []Finding{risky("no worker is alive: nothing would be sent", "Start kefu worker.")}
	}
	var found []Finding
	var versions []string
	for _, v := range w.workers {
		if !slices.Contains(versions, v.Version) {
			versions = append(versions, v.Version)
		}
	}
	for _, app := range slices.Sorted(maps.Keys(w.queued)) {
		if len(pool.Serving(w.workers, app)) > 0 {
			continue
		}
		f := risky("no worker that is alive has the app in its configuration",
			"Give the workers the configuration that this command has; SIGHUP has them read it.")
		if w.queued[app] > 0 {
			f.State = Error
		}
		f.App = app
		found = append(found, f)
	}
	if len(versions) > 1 {
		found = append(found, risky(
			"workers of several versions run: "+strings.Join(versions, ", "),
			"During an upgrade this is as it should be; else stop the older ones."))
	}
	return or(found, "%s alive", counted(len(w.workers), "worker"))
}

// stored returns the connection and the streams for a check of what a stream holds.
func (s *scene) stored(stream string) (*broker.Conn, streamInfos, error) {
	conn, err := s.jetstream()
	if err != nil {
		return nil, nil, err
	}
	streams, err := s.streams()
	if err == nil && streams[stream] == nil {
		err = skipf("%s is not there", stream)
	}
	return conn, streams, err
}

// holdsSeen are the holds by app, with what can be done about them.
type holdsSeen struct {
	holds  map[string][]gate.Hold
	advice func([]gate.Hold) string
}

func seeHolds(ctx context.Context, s *scene) (seen holdsSeen, err error) {
	conn, _, err := s.stored(wire.StreamState)
	if err != nil {
		return seen, err
	}
	var all map[string][]gate.Hold
	err = s.ask(ctx, stateSubjects, func(ctx context.Context) (err error) {
		all, err = gate.Holds(ctx, conn)
		return err
	})
	seen = holdsSeen{make(map[string][]gate.Hold), s.Advice}
	for _, app := range s.Apps {
		if held := all[app.AppID]; len(held) > 0 {
			seen.holds[app.AppID] = held
		}
	}
	return seen, err
}

func judgeHolds(h holdsSeen) []Finding {
	var found []Finding
	for _, app := range slices.Sorted(maps.Keys(h.holds)) {
		for _, hold := range h.holds[app] {
			f := risky(fmt.Sprintf("held since %s (%s): %s",
				hold.Since.Local().Format("Jan 2 15:04"), hold.Kind, hold.Reason),
				"kefu app status "+app+" tells more.")
			if h.advice != nil {
				f.Fix = sentence(h.advice([]gate.Hold{hold}))
			}
			if hold.Kind == gate.Config || hold.Kind == gate.Upstream {
				f.State = Error
			}
			f.App = app
			found = append(found, f)
		}
	}
	return or(found, "no app is held")
}

// queueSeen is how full the queue of an app is.
type queueSeen struct {
	app             string
	messages, bytes uint64
	maxMessages     int64 // none: 0 and below
	maxBytes        int64
}

func seeQueues(_ context.Context, s *scene) ([]queueSeen, error) {
	if _, err := s.jetstream(); err != nil {
		return nil, err
	}
	streams, err := s.streams()
	if err != nil {
		return nil, err
	}
	var seen []queueSeen
	for _, app := range s.Apps {
		if info := streams[schema.SendStream(app.AppID)]; info != nil {
			seen = append(seen, queueSeen{app.AppID, info.State.Msgs, info.State.Bytes,
				info.Config.MaxMsgs, info.Config.MaxBytes})
		}
	}
	if len(seen) == 0 {
		return nil, skipf("no app has a queue")
	}
	return seen, nil
}

// nearlyFull is how much of a limit is used when a warning is due.
const nearlyFull = 0.8

func judgeQueues(queues []queueSeen) []Finding {
	var found []Finding
	queued := uint64(0)
	for _, q := range queues {
		queued += q.messages
		full := max(share(q.messages, q.maxMessages), share(q.bytes, q.maxBytes))
		if full < nearlyFull {
			continue
		}
		f := risky(fmt.Sprintf("the queue is full to %.0f %%, with %s: when it is full, producers "+
			"are refused", 100*full, counted(int64(q.messages), "intent")),
			"Start more workers or raise the app's rate; or raise queue.messages and queue.bytes "+
				"and run kefu setup.")
		if full >= 1 {
			f.State = Error
		}
		f.App = q.app
		found = append(found, f)
	}
	return or(found, "%s queued", counted(int64(queued), "intent"))
}

// share is how much of a limit is used; 0 without one.
func share(used uint64, limit int64) float64 {
	if limit <= 0 {
		return 0
	}
	return float64(used) / float64(limit)
}

// lettersSeen is how full the box of dead letters is.
type lettersSeen struct {
	deadletter.Level
	now time.Time
}

func seeLetters(ctx context.Context, s *scene) (seen lettersSeen, err error) {
	conn, _, err := s.stored(schema.StreamDead)
	if err != nil {
		return seen, err
	}
	seen.now = time.Now()
	asked := []string{streamInfo + schema.StreamDead}
	err = s.ask(ctx, asked, func(ctx context.Context) (err error) {
		seen.Level, err = deadletter.Open(conn).Level(ctx)
		return err
	})
	return seen, err
}

func judgeLetters(l lettersSeen) []Finding {
	var found []Finding
	for _, text := range l.Warnings(l.now) {
		f := risky(text, "Replay or discard what is there (kefu dead groups), keep it elsewhere "+
			"(kefu dead export), or raise the limits of "+schema.StreamDead+".")
		if l.Full() >= 1 {
			f.State = Error
		}
		found = append(found, f)
	}
	return or(found, "%s", counted(int64(l.Letters), "letter"))
}

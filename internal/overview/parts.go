package overview

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// atOnce is how many questions about apps the broker is asked at the same time.
const atOnce = 16

// stand is how things stand: what is cheap to read.
type stand struct {
	apps    []apps.App
	holds   map[string][]gate.Hold
	days    map[string]gate.Day
	workers []pool.Worker
	claims  []pool.Held
	lags    map[string]broker.Lags
	level   deadletter.Level
	dead    map[string]uint64                     // letters, by app
	acked   map[string]deadletter.Acknowledgement // of groups, by their ids
	waiting uint64                                // intents in KEFU_LATER
	ahead   time.Duration                         // the broker's clock of ours
}

func readStand(ctx context.Context, conn *broker.Conn, cfg *config.Config) (stand, error) {
	var s stand
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if s.apps, err = apps.Known(ctx, conn, cfg); err != nil {
			return err
		}
		s.lags, err = readLags(ctx, conn, s.apps)
		return err
	})
	group.Go(func() (err error) {
		s.holds, err = gate.Holds(ctx, conn)
		return err
	})
	group.Go(func() (err error) {
		s.days, err = gate.Days(ctx, conn, time.Now())
		return err
	})
	group.Go(func() (err error) {
		s.workers, s.claims, err = pool.Read(ctx, conn)
		return err
	})
	group.Go(func() error { return s.readLetters(ctx, conn) })
	group.Go(func() (err error) {
		s.acked, err = deadletter.Open(conn).Acknowledged(ctx)
		return err
	})
	group.Go(func() error { return s.readLater(ctx, conn) })
	err := group.Wait()
	return s, err
}

// readLags reads what is queued of each app.
func readLags(
	ctx context.Context, conn *broker.Conn, known []apps.App,
) (map[string]broker.Lags, error) {
	return eachApp(ctx, known, func(ctx context.Context, app apps.App) (broker.Lags, error) {
		lags, err := conn.Lags(ctx, app.AppID)
		if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, broker.ErrNoStream) {
			err = nil // it was removed meanwhile
		}
		return lags, err
	})
}

// eachApp asks something about each app that has a queue.
func eachApp[T any](
	ctx context.Context, known []apps.App, ask func(context.Context, apps.App) (T, error),
) (map[string]T, error) {
	var mu sync.Mutex
	out := make(map[string]T, len(known))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, app := range known {
		if !app.HasQueue {
			continue
		}
		group.Go(func() error {
			answer, err := ask(ctx, app)
			mu.Lock()
			defer mu.Unlock()
			out[app.AppID] = answer
			return err
		})
	}
	err := group.Wait()
	return out, err
}

// readLetters reads how full the box is, and of which apps the letters are.
func (s *stand) readLetters(ctx context.Context, conn *broker.Conn) (err error) {
	if s.level, err = deadletter.Open(conn).Level(ctx); err != nil {
		return err
	}
	subjects, err := conn.Subjects(ctx, schema.StreamDead,
		wire.DeadFilter(wire.AnyToken, wire.AnyToken))
	s.dead = make(map[string]uint64)
	for subject, n := range subjects {
		if tokens := strings.Split(subject, "."); len(tokens) == 4 {
			s.dead[tokens[2]] += n
		}
	}
	return err
}

// readLater reads how much waits, and what time it is at the broker.
func (s *stand) readLater(ctx context.Context, conn *broker.Conn) error {
	asked := time.Now()
	stream, err := conn.JS.Stream(ctx, wire.StreamLater)
	if err != nil {
		return fmt.Errorf("stream %s of the broker: %w", wire.StreamLater, err)
	}
	answered := time.Now()
	info := stream.CachedInfo()
	s.waiting = info.State.Msgs
	if at := info.TimeStamp; at.Before(asked) {
		s.ahead = at.Sub(asked)
	} else if at.After(answered) {
		s.ahead = at.Sub(answered)
	}
	return nil
}

// queued is what is queued of an app.
func (s *stand) queued(appID string) (all broker.Lag) {
	lags := s.lags[appID]
	all = lags.Live()
	all.Add(lags.Bulk)
	return all
}

// waits is what waits, by app, as far as a look at every message of it is too dear to be made
// often.
type waits struct {
	waiting  map[string]uint64
	expiring map[string]*Expiring
}

func readWaits(ctx context.Context, conn *broker.Conn, s stand) (w waits, err error) {
	now := time.Now()
	if s.waiting > 0 {
		count := func(ctx context.Context, app apps.App) (uint64, error) {
			return conn.Count(ctx, wire.StreamLater, wire.LaterWaitFilter(app.AppID))
		}
		w.waiting, err = eachApp(ctx, s.apps, count)
		if err != nil {
			return w, err
		}
	}
	look := func(ctx context.Context, app apps.App) (*Expiring, error) {
		holds, lag := s.holds[app.AppID], s.queued(app.AppID)
		if lag.Queued == 0 || len(holds) == 0 && now.Sub(*lag.Oldest) < waitsLong {
			return nil, nil //nolint:nilnil // nothing waits for long
		}
		return expiring(ctx, conn, app, lag.Queued, looksUntil(holds, now))
	}
	w.expiring, err = eachApp(ctx, s.apps, look)
	return w, err
}

// died is what died since a time, in groups.
type died struct {
	since  time.Time
	groups []deadletter.Group
}

// diedWithin is of how long the groups are.
const diedWithin = 24 * time.Hour

func readDied(ctx context.Context, conn *broker.Conn) (died, error) {
	now := time.Now()
	since := now.Add(-diedWithin)
	groups, err := deadletter.Open(conn).Groups(ctx, deadletter.Filter{Since: since}, now)
	return died{since.UTC().Truncate(time.Second), groups}, err
}

// work is what is carried out.
type work struct {
	replays   []replay.Status
	campaigns []campaign.Status
	more      int // campaigns
}

// mostCampaigns is how many are shown.
const mostCampaigns = 20

func readWork(ctx context.Context, conn *broker.Conn, s stand) (w work, err error) {
	if w.replays, err = replay.Running(ctx, conn); err != nil {
		return w, err
	}
	var bulk []string
	for _, app := range s.apps {
		if s.lags[app.AppID].Bulk.Queued > 0 {
			bulk = append(bulk, app.AppID)
		}
	}
	w.campaigns, w.more, err = campaign.Running(ctx, conn, bulk, mostCampaigns)
	return w, err
}

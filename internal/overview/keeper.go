package overview

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/pulse"
)

// How often each part is read while somebody looks. A part that takes long is read less often: a
// twentieth of the time at most.
const (
	standEvery = 2 * time.Second
	hoursEvery = 5 * time.Second // as often as workers write
	workEvery  = 5 * time.Second
	waitsEvery = 10 * time.Second
	diedEvery  = 10 * time.Second
)

// Keeper keeps an overview fresh while somebody looks at it, however many that are.
type Keeper struct {
	conn *broker.Conn
	load func() *config.Config

	keep    context.Context // of what runs in the background
	stop    context.CancelFunc
	running sync.WaitGroup

	stand *part[stand]
	hours *part[pulse.Hours]
	waits *part[waits]
	died  *part[died]
	work  *part[work]
}

// NewKeeper makes one; load returns the configuration of now. It asks the broker nothing until
// somebody looks, and nothing any more some seconds after the last look.
func NewKeeper(conn *broker.Conn, load func() *config.Config) *Keeper {
	k := &Keeper{conn: conn, load: load}
	k.keep, k.stop = context.WithCancel(context.Background())
	k.stand = newPart(standEvery, func(ctx context.Context) (stand, error) {
		return readStand(ctx, conn, load())
	})
	k.hours = newPart(hoursEvery, func(ctx context.Context) (pulse.Hours, error) {
		return pulse.Read(ctx, conn)
	})
	k.waits = newPart(waitsEvery, func(ctx context.Context) (waits, error) {
		s, err := k.standing(ctx)
		if err != nil {
			return waits{}, err
		}
		return readWaits(ctx, conn, s)
	})
	k.work = newPart(workEvery, func(ctx context.Context) (work, error) {
		s, err := k.standing(ctx)
		if err != nil {
			return work{}, err
		}
		return readWork(ctx, conn, s)
	})
	k.died = newPart(diedEvery, func(ctx context.Context) (died, error) {
		return readDied(ctx, conn)
	})
	return k
}

// standing is how things stand, for the parts that go by that.
func (k *Keeper) standing(ctx context.Context) (stand, error) {
	r, err := k.stand.fresh(ctx, k.keep, &k.running)
	if err == nil && r.at.IsZero() {
		err = r.err
	}
	return r.value, err
}

// Look returns the newest overview, which is shared and must not be changed, and has it kept fresh
// for some seconds. It waits when nobody has looked for a while, and then for what is cheap to read
// only: what is counted from the letters says when that was, and whether it is still being counted.
func (k *Keeper) Look(ctx context.Context) (Overview, error) {
	if err := k.keep.Err(); err != nil {
		return Overview{}, err
	}
	hours := k.hours.look(k.keep, &k.running)
	s := snapshot{
		waits: k.waits.look(k.keep, &k.running),
		died:  k.died.look(k.keep, &k.running),
		work:  k.work.look(k.keep, &k.running),
	}
	var err error
	if s.stand, err = k.stand.fresh(ctx, k.keep, &k.running); err != nil {
		return Overview{}, err
	}
	if s.hours = hours; hours.stale(hoursEvery) {
		if s.hours, err = k.hours.fresh(ctx, k.keep, &k.running); err != nil {
			return Overview{}, err
		}
	}
	if s.stand.at.IsZero() {
		return Overview{}, s.stand.err
	}
	return s.compose(k.load(), time.Now()), nil
}

// Close ends what runs in the background, and waits for it.
func (k *Keeper) Close() {
	k.stop()
	k.running.Wait()
}

// Read reads all of it once. With a million letters that takes seconds, see [Keeper].
func Read(ctx context.Context, conn *broker.Conn, cfg *config.Config) (Overview, error) {
	var s snapshot
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		if s.stand, err = once(ctx, func(ctx context.Context) (stand, error) {
			return readStand(ctx, conn, cfg)
		}); err != nil {
			return err
		}
		if s.waits, err = once(ctx, func(ctx context.Context) (waits, error) {
			return readWaits(ctx, conn, s.stand.value)
		}); err != nil {
			return err
		}
		s.work, err = once(ctx, func(ctx context.Context) (work, error) {
			return readWork(ctx, conn, s.stand.value)
		})
		return err
	})
	group.Go(func() (err error) {
		s.hours, err = once(ctx, func(ctx context.Context) (pulse.Hours, error) {
			return pulse.Read(ctx, conn)
		})
		return err
	})
	group.Go(func() (err error) {
		s.died, err = once(ctx, func(ctx context.Context) (died, error) {
			return readDied(ctx, conn)
		})
		return err
	})
	if err := group.Wait(); err != nil {
		return Overview{}, fmt.Errorf("overview: %w", err)
	}
	return s.compose(cfg, time.Now()), nil
}

// once is a part that is read once.
func once[T any](
	ctx context.Context, read func(context.Context) (T, error),
) (reading[T], error) {
	p := newPart(0, read)
	p.once(ctx)
	return p.last, p.last.err
}

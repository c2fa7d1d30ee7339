package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/schema"
)

func TestMain(m *testing.M) {
	brokertest.Overlap()
	goleak.VerifyTestMain(m)
}

// items publishes the items from one number to another into an app's queue, as a
// replay does with letters: under an id of each item's own.
type items struct {
	conn *broker.Conn
	halt int // after so many; 0: never
}

type itemsSpec struct{ From, To int }

func (w items) Choose(ctx context.Context, o Order, p Part, others []Step) (Choice, error) {
	var spec itemsSpec
	if err := json.Unmarshal(o.Spec, &spec); err != nil {
		return Choice{}, err
	}
	if w.halt > 0 && p.Published >= w.halt && o.Resumes == 0 {
		return Choice{Result: Result{Halt: "enough for now"}}, nil
	}
	var taken []int
	for _, s := range others {
		var theirs []int
		if err := json.Unmarshal(s.Body, &theirs); err != nil {
			return Choice{}, err
		}
		taken = append(taken, theirs...)
	}
	var chosen []int
	next := max(int(p.Cursor)+1, spec.From)
	for ; next <= spec.To && len(chosen) < 7; next++ {
		if slices.Contains(taken, next) {
			break
		}
		_, err := w.conn.Last(ctx, schema.SendStream(p.AppID), subject(p.AppID, next))
		switch {
		case errors.Is(err, broker.ErrNoMessage):
			chosen = append(chosen, next)
		case err != nil:
			return Choice{}, err
		case len(chosen) == 0:
			return Choice{Result: Result{Cursor: uint64(next), Left: 1,
				Notes: notes.List{{Text: "another's", Count: 1}}}}, nil
		default:
			next = spec.To
		}
	}
	switch {
	case len(chosen) > 0:
		body, err := json.Marshal(chosen)
		return Choice{Step: body}, err
	case next > spec.To:
		return Choice{Result: Result{Done: true}}, nil
	}
	return Choice{}, nil
}

func (w items) Carry(ctx, begin context.Context, t Task) (r Result, err error) {
	var chosen []int
	if err := json.Unmarshal(t.Step.Body, &chosen); err != nil {
		return r, err
	}
	for _, n := range chosen {
		_, err := w.conn.Last(ctx, schema.SendStream(t.Part.AppID), subject(t.Part.AppID, n))
		before := err == nil
		if err != nil && !errors.Is(err, broker.ErrNoMessage) {
			return r, err
		}
		if !before && t.Pace.Wait(begin) != nil {
			return r, nil
		}
		if !before || !t.Again {
			m := nats.NewMsg(subject(t.Part.AppID, n))
			m.Header.Set(schema.HeaderMsgID, "item-"+strconv.Itoa(n))
			ack, err := w.conn.Outbox.PublishWait(ctx, m)
			if err != nil {
				return r, err
			}
			if ack.Duplicate && !t.Again {
				return r, fmt.Errorf("item %d was another's", n)
			}
		}
		r.Published++
		r.Cursor = uint64(n)
	}
	return r, nil
}

func (items) Ended(context.Context, Job) error { return nil }

func subject(appID string, n int) string {
	return "kefu.again." + appID + ".bulk.item-" + strconv.Itoa(n)
}

// crew is the workers of a pool, as each of them sees it.
type crew struct {
	mu    sync.Mutex
	alive []string // the first of them carries out everything
}

type member struct {
	*crew
	name string
}

func (m member) Alive(worker string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Contains(m.alive, worker)
}

func (m member) First(string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.alive) > 0 && m.alive[0] == m.name
}

func (c *crew) lose(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alive = slices.DeleteFunc(c.alive, func(n string) bool { return n == name })
}

// bed is a broker with two apps, and a crew of workers.
type bed struct {
	*require.Assertions
	t      *testing.T
	broker *brokertest.Broker
	conn   *broker.Conn
	crew   *crew
	halt   int
	works  func(items) Work // nil: as it is
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := brokertest.Start(t, "wx1", "wx2")
	return &bed{Assertions: require.New(t), t: t, broker: b, conn: b.Connect(), crew: &crew{}}
}

// worker starts a worker, and returns what ends it: in order, or at once with its
// connection.
func (b *bed) worker(name string) (stop, kill func()) {
	b.t.Helper()
	conn := b.broker.Connect()
	b.crew.mu.Lock()
	b.crew.alive = append(b.crew.alive, name)
	b.crew.mu.Unlock()
	ctx, cancel := context.WithCancel(b.t.Context())
	var work Work = items{conn, b.halt}
	if b.works != nil {
		work = b.works(items{conn, b.halt})
	}
	r := NewRunner(conn, name, member{b.crew, name}, map[Kind]Work{KindReplay: work},
		slog.New(slog.DiscardHandler))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			b.NoError(<-ended)
			b.crew.lose(name)
			conn.Close()
		})
	}
	kill = func() {
		once.Do(func() {
			conn.NC.Close()
			cancel()
			b.t.Log(name, "was killed:", <-ended)
			b.crew.lose(name)
			conn.Close()
		})
	}
	b.t.Cleanup(stop)
	return stop, kill
}

func (b *bed) order(from, to int, rate float64, appIDs ...string) string {
	b.t.Helper()
	spec, err := json.Marshal(itemsSpec{from, to})
	b.NoError(err)
	o := Order{ID: NewID(), Kind: KindReplay, By: "test", At: time.Now(), Rate: rate, Spec: spec,
		Apps: make(map[string]int)}
	for _, appID := range appIDs {
		o.Apps[appID] = to - from + 1
	}
	b.NoError(Submit(b.t.Context(), b.conn, o))
	return o.ID
}

// until waits for a job to be as f says.
func (b *bed) until(id string, f func(Job) bool) (job Job) {
	b.t.Helper()
	b.Eventually(func() bool {
		j, err := Read(b.t.Context(), b.conn, id)
		if err == nil { // else the broker is away
			job = j
		}
		return err == nil && f(j)
	}, time.Minute, time.Millisecond)
	return job
}

func (b *bed) tell(id string, c Command) {
	b.t.Helper()
	_, err := Tell(b.t.Context(), b.conn, id, c)
	b.NoError(err)
}

func ended(j Job) bool { return !j.Ended.IsZero() }

func published(n int) func(Job) bool {
	return func(j Job) bool { return j.Counts().Published >= n }
}

// queued is how often each item lies in an app's queue.
func (b *bed) queued(appID string) (n int) {
	b.t.Helper()
	seen := make(map[string]bool)
	o := broker.ScanOptions{Subject: "kefu.again." + appID + ".bulk.*"}
	b.NoError(b.conn.Scan(b.t.Context(), schema.SendStream(appID), o, func(s broker.Stored) error {
		name := s.Subject[strings.LastIndex(s.Subject, ".")+1:]
		b.False(seen[name], "%s was published twice", name)
		seen[name] = true
		return nil
	}))
	return len(seen)
}

func TestAJobIsCarriedOutByThePool(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	id := b.order(1, 30, 0, "wx1", "wx2")
	j, err := Read(t.Context(), b.conn, id)
	b.NoError(err)
	b.Equal(StatePlanned, j.State(), "nobody is there")
	b.worker("one")
	b.worker("two")

	j = b.until(id, ended)
	b.Equal(StateDone, j.State())
	b.Equal(Counts{Chosen: 60, Published: 60}, j.Counts())
	b.Equal(30, b.queued("wx1"))
	b.Equal(30, b.queued("wx2"))
	b.Positive(j.Ended.Sub(j.At))

	all, err := List(t.Context(), b.conn, KindReplay)
	b.NoError(err)
	b.Len(all, 1)
	b.Equal(j.Counts(), all[0].Counts())
}

func TestAJobIsGovernedWhileItRuns(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.worker("one")
	id := b.order(1, 100_000, 100, "wx1")
	b.until(id, published(10))

	b.tell(id, Pause)
	b.until(id, func(j Job) bool { return j.State() == StatePaused })
	b.Eventually(b.quiet, time.Minute, time.Millisecond)
	j, err := Read(t.Context(), b.conn, id)
	b.NoError(err)
	b.Equal(j.Counts().Published, b.queued("wx1"), "what had begun is counted")
	b.tell(id, Pause) // changes nothing

	b.tell(id, Resume)
	b.until(id, published(j.Counts().Published+10))

	b.tell(id, Abort)
	j = b.until(id, ended)
	b.Equal(StateAborted, j.State())
	b.Equal(j.Counts().Published, b.queued("wx1"))

	_, err = Tell(t.Context(), b.conn, id, Resume)
	b.ErrorIs(err, ErrFinal)
	_, err = Tell(t.Context(), b.conn, "nosuch", Abort)
	b.ErrorIs(err, ErrNoJob)
}

// quiet says whether no step is under way in the first app.
func (b *bed) quiet() bool {
	var d desk
	_, err := get(b.t.Context(), b.conn, deskKey("wx1"), &d)
	b.NoError(err)
	return len(d.Steps) == 0
}

func TestAJobThatHaltsByItselfGoesOnWhenItIsResumed(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.halt = 14
	b.worker("one")
	id := b.order(1, 50, 0, "wx1")
	j := b.until(id, func(j Job) bool { return j.State() == StateHalted })
	b.Equal("enough for now", j.Halted())
	b.Equal(14, b.queued("wx1"))
	b.tell(id, Resume)
	j = b.until(id, ended)
	b.Equal(50, j.Counts().Published)
}

func TestAStopHandsTheJobOn(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop, _ := b.worker("one")
	b.worker("two")
	id := b.order(1, 60, 200, "wx1")
	b.until(id, published(10))
	stop()
	j := b.until(id, ended)
	b.Equal(Counts{Chosen: 60, Published: 60}, j.Counts())
	b.Equal(60, b.queued("wx1"))
}

func TestWorkersAreKilledAndEveryItemIsPublishedOnceAndCountedOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	id := b.order(1, 300, 1000, "wx1")
	_, kill := b.worker("worker-0")
	for i := range 12 {
		before, err := Read(t.Context(), b.conn, id)
		b.NoError(err)
		// Anywhere in the steps: the time between two of their writes is about 5 ms.
		b.until(id, published(min(before.Counts().Published+1+rand.IntN(20), 299)))
		_, next := b.worker("worker-" + strconv.Itoa(i+1))
		kill()
		kill = next
	}
	j := b.until(id, ended)
	b.Equal(Counts{Chosen: 300, Published: 300}, j.Counts())
	b.Equal(300, b.queued("wx1"))
}

func TestAWorkerThatIsTakenForDeadCountsNothingMore(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.worker("one")
	id := b.order(1, 200, 500, "wx1")
	b.until(id, published(20))
	b.worker("two")
	b.crew.lose("one") // it works on, and believes that it is the first
	b.crew.mu.Lock()
	b.crew.alive = []string{"two"}
	b.crew.mu.Unlock()
	j := b.until(id, ended)
	b.Equal(Counts{Chosen: 200, Published: 200}, j.Counts())
	b.Equal(200, b.queued("wx1"))
}

func TestTwoJobsThatOverlapPublishNoItemTwiceAndAddUp(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.worker("one")
	first, second := b.order(1, 150, 400, "wx1"), b.order(51, 200, 600, "wx1")
	j, k := b.until(first, ended), b.until(second, ended)
	b.Equal(200, b.queued("wx1"))
	b.Equal(200, j.Counts().Published+k.Counts().Published)
	b.Equal(150, j.Counts().Published+j.Counts().Left)
	b.Equal(150, k.Counts().Published+k.Counts().Left)
}

func TestAJobSurvivesTheRestartOfTheBroker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.worker("one")
	id := b.order(1, 100, 200, "wx1")
	b.until(id, published(20))
	b.broker.Restart()
	j := b.until(id, ended)
	b.Equal(Counts{Chosen: 100, Published: 100}, j.Counts())
	b.Equal(100, b.queued("wx1"))
}

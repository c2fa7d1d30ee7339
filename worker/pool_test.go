package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

// hand starts a further worker, with a connection of its own; cut ends that
// connection for good, as a machine does that has lost its network.
func (b *bed) hand(name string) (w *Worker, stop func() error, cut func()) {
	b.t.Helper()
	return b.handAt(name, b.url)
}

// handAt is hand by another way to the broker.
func (b *bed) handAt(name, url string) (w *Worker, stop func() error, cut func()) {
	b.t.Helper()
	conn, err := broker.Connect(b.t.Context(), broker.Options{URL: url, Name: name})
	b.NoError(err)
	b.t.Cleanup(conn.Close)
	w, err = New(Config{Process: pool.Worker{Name: pool.NewName(name), Started: time.Now()},
		Apps: []App{b.app}, Concurrency: 128,
		Grace: b.grace, Receipts: ReceiptsAll, Ledger: true, LedgerKeep: time.Hour}, conn)
	b.NoError(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, nil) }()
	stop = func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(time.Minute):
			panic("worker does not stop")
		}
	}
	return w, stop, conn.NC.Close
}

// reads is how many live shards a worker reads.
func (w *Worker) reads() (n int) {
	now := time.Now()
	for _, a := range w.current() {
		for _, l := range a.lanes {
			if l.live() && l.mayStart(now) {
				n++
			}
		}
	}
	return n
}

// inOrder checks that no recipient's intent went out before an earlier one.
func (b *bed) inOrder() {
	b.t.Helper()
	b.api.mu.Lock()
	defer b.api.mu.Unlock()
	next := make(map[string]int)
	for _, text := range b.api.order {
		to, number, _ := strings.Cut(text, " ")
		var i int
		_, err := fmt.Sscan(number, &i)
		b.NoError(err)
		if i < next[to] {
			continue // once more, after an unknown outcome
		}
		b.Equal(next[to], i, "%s: one went out before its turn", to)
		next[to]++
	}
}

func TestOrderHoldsWhileWorkersJoinAndLeave(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		cut  bool // the first is cut off instead of stopped
	}{
		{"a worker stops in order", false},
		{"a worker is cut off", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.app.Rate.PerSecond, b.app.Rate.Burst = 1000, 20
			b.api.answer = func(_ string, n int) error {
				time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond) // the API's own time
				if n == 1 && rand.IntN(20) == 0 {
					return apiError(-1)
				}
				return nil
			}
			const recipients, each = 40, 25
			one, stopOne, cut := b.hand("one")
			two, stopTwo, _ := b.hand("two")
			wait := func(f func() bool, what string) {
				b.t.Helper()
				b.Eventually(f, time.Minute, 5*time.Millisecond, what)
			}
			wait(func() bool { return one.reads() == 2 && two.reads() == 2 },
				"the shards are spread")
			done := make(map[string]bool)
			ended := func(n int) {
				b.t.Helper()
				for len(done) < n {
					select {
					case r := <-b.receipts:
						b.Equal(schema.StateSent, r.State)
						done[r.ID] = true
					case <-time.After(time.Minute):
						b.FailNow("receipts are missing", "%d of %d", len(done), n)
					}
				}
			}
			for i := range each {
				for r := range recipients {
					to := fmt.Sprint("user", r)
					b.publish(live+to, fmt.Sprintf("%s-%d", to, i), fmt.Sprintf("%s %d", to, i), to)
				}
				switch i {
				case each / 3:
					if c.cut {
						cut()
					} else {
						b.NoError(stopOne())
					}
				case 2 * each / 3:
					_, stopThree, _ := b.hand("three")
					defer func() { b.NoError(stopThree()) }()
				}
			}
			ended(recipients * each)
			b.inOrder()
			if c.cut {
				wait(func() bool { return one.reads() == 0 },
					"the one that was cut off knows that it has lost its shards")
				_ = stopOne()
			}
			b.NoError(stopTwo())
		})
	}
}

func TestALeaseThatEndsUnderTheWorkerChangesNoOrder(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.api.answer = func(_ string, n int) error {
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond) // the API's own time
		if n == 1 && rand.IntN(20) == 0 {
			return apiError(-1)
		}
		return nil
	}
	stop := b.start()
	const recipients, each = 30, 30
	b.Eventually(func() bool { return b.worker.reads() == 4 }, time.Minute, time.Millisecond,
		"it has joined the pool")
	for i := range each {
		for r := range recipients {
			to := fmt.Sprint("user", r)
			b.publish(live+to, fmt.Sprintf("%s-%d", to, i), fmt.Sprintf("%s %d", to, i), to)
		}
		if i%10 == 5 { // as the broker does when the worker was silent for too long
			newest := uint64(0)
			anew := func(after uint64) func() bool {
				return func() bool {
					claims := b.worker.pool.Claims()
					for _, c := range claims {
						if newest = max(newest, c.Revision); c.Revision <= after {
							return false
						}
					}
					return len(claims) == 4
				}
			}
			b.Eventually(anew(0), time.Minute, time.Millisecond, "it reads all shards")
			before := newest
			b.NoError(b.conn.SaveState(t.Context(),
				broker.DeleteState("pool.worker."+b.worker.cfg.Process.Name)))
			b.Eventually(anew(before), time.Minute, time.Millisecond, "it has claimed them anew")
		}
	}
	done := make(map[string]bool)
	for len(done) < recipients*each {
		select {
		case r := <-b.receipts:
			b.Equal(schema.StateSent, r.State)
			b.False(r.PossibleDuplicate, "the same worker has it again")
			done[r.ID] = true
		case <-time.After(time.Minute):
			b.FailNow("receipts are missing", "%d", len(done))
		}
	}
	b.inOrder()
	b.Eventually(func() bool { return b.worker.reads() == 4 }, time.Minute, 5*time.Millisecond,
		"it reads all shards again")
	b.NoError(stop())
	for text, n := range b.api.posts {
		b.LessOrEqual(n, 2, text)
	}
}

// idle is a worker that takes its shards of the pool and reads none.
type idle struct{}

func (idle) Acquired(*pool.Claim)  {}
func (idle) Release(c *pool.Claim) { c.Released() }
func (idle) Lost(*pool.Claim)      {}

func TestALaneThatCannotBeReadTroublesItsReaderOnly(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	wait := func(f func() bool, what string) {
		b.t.Helper()
		b.Eventually(f, time.Minute, 5*time.Millisecond, what)
	}
	wait(func() bool { return b.worker.reads() == 4 }, "all shards are read")
	s, err := b.conn.JS.Stream(t.Context(), schema.SendStream(appID))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	b.NoError(b.conn.JS.DeleteStream(t.Context(), cfg.Name))
	wait(func() bool { return len(b.worker.Troubles()) == 5 },
		"none can be read any more, nor bulk")
	other, err := pool.Join(t.Context(), b.conn, pool.Worker{Name: "other"}, nil)
	b.NoError(err)
	other.Serve(idle{}, map[string]int{appID: 4})
	wait(func() bool { return len(b.worker.Troubles()) == 3 },
		"two of them are another worker's now")
	other.Leave(t.Context())
	_, err = b.conn.JS.CreateStream(t.Context(), cfg)
	b.NoError(err)
	wait(func() bool { return b.worker.reads() == 4 && len(b.worker.Troubles()) == 0 },
		"all are read again")
	b.NoError(stop())
}

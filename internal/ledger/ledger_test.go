package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

func open(t testing.TB, conn *broker.Conn, worker string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), conn, Options{Worker: worker, Keep: brokertest.Keep})
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

// answer is what came of a mark.
type answer struct {
	s   Standing
	err error
}

// send writes a mark; a second answer fails the test.
func send(t testing.TB, l *Ledger, m Mark) <-chan answer {
	t.Helper()
	ch := make(chan answer, 1)
	l.Write(m, func(s Standing, err error) {
		select {
		case ch <- answer{s, err}:
		default:
			t.Error("answered twice")
		}
	})
	return ch
}

func write(t testing.TB, l *Ledger, m Mark) Standing {
	t.Helper()
	a := brokertest.Await(t, send(t, l, m), "the word of the ledger")
	require.NoError(t, a.err)
	return a.s
}

func TestAMarkIsAnsweredAndRemembered(t *testing.T) {
	t.Parallel()
	l := open(t, brokertest.New(t), "a")
	key := KeyOf("wx1", "id-1")
	require.Equal(t, Standing{Ruling: Go, Generation: 1},
		l.Peek(Mark{Key: key, Seq: 10, Attempt: 1}))
	require.Equal(t, Standing{Ruling: Go, Generation: 1},
		write(t, l, Mark{Key: key, Kind: Start, Seq: 10, Attempt: 1}))
	require.Equal(t, Standing{Ruling: Started, Generation: 1, Attempts: 1, Kind: Start,
		Worker: "a"}, l.Peek(Mark{Key: key, Seq: 10, Attempt: 1}))
	require.Equal(t, 1, l.Len())
	write(t, l, Mark{Key: key, Kind: Sent, Seq: 10, Generation: 1, Attempt: 1})
	require.Equal(t, Ended, write(t, l, Mark{Key: key, Kind: Start, Seq: 10, Attempt: 1}).Ruling)
	l.Write(Mark{Key: key, Kind: Clear, Seq: 10, Generation: 1}, nil) // nobody need wait
}

func TestOpenReadsThePast(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l := open(t, b.Connect(), "a")
	const n, intents = 3000, 50
	var last <-chan answer
	for i := range n {
		last = send(t, l, Mark{Key: Key(i), Kind: Start, Seq: 10, Attempt: 1})
	}
	brokertest.Await(t, last, "the last mark")
	l.Close()

	later := open(t, b.Connect(), "b")
	require.Equal(t, n, later.Len())
	s := write(t, later, Mark{Key: 7, Kind: Start, Seq: 10, Attempt: 1})
	require.Equal(t, Started, s.Ruling)
	require.Equal(t, "a", s.Worker)
}

func TestTwoLedgersOnOneBrokerSeeEachOther(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one, two := open(t, b.Connect(), "one"), open(t, b.Connect(), "two")
	require.Equal(t, Go, write(t, one, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1}).Ruling)
	s := write(t, two, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	require.Equal(t, Started, s.Ruling)
	require.Equal(t, "one", s.Worker)
	write(t, one, Mark{Key: 1, Kind: Sent, Seq: 10, Generation: 1, Attempt: 1})
	require.Equal(t, Ended, write(t, two, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1}).Ruling)
}

func TestOfRacingWorkersExactlyOneGetsGoThoughTheBrokerRestarts(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	const workers, keys = 4, 4000
	var (
		wg       sync.WaitGroup
		ledgers  [workers]*Ledger
		rulings  [workers][keys]Standing
		answered = make(chan struct{}, workers*keys)
	)
	for w := range workers {
		ledgers[w] = open(t, b.Connect(), fmt.Sprint("w", w))
	}
	for w := range workers {
		wg.Go(func() {
			slots := make(chan struct{}, 64)
			order := rand.New(rand.NewPCG(uint64(w), 1)).Perm(keys)
			var mine sync.WaitGroup
			for i := range keys {
				k := i
				if w%2 == 1 { // half of them in the same order, half not
					k = order[i]
				}
				slots <- struct{}{}
				mine.Add(1)
				ledgers[w].Write(Mark{Key: Key(k), Kind: Start, Seq: uint64(k), Attempt: 1},
					func(s Standing, err error) {
						defer mine.Done()
						if err != nil {
							t.Error(err)
						}
						rulings[w][k] = s
						answered <- struct{}{}
						<-slots
					})
			}
			mine.Wait()
		})
	}
	for range 2 {
		for range workers * keys / 4 {
			brokertest.Await(t, answered, "answers")
		}
		b.Restart()
	}
	wg.Wait()
	for k := range keys {
		winner := ""
		for w := range workers {
			if rulings[w][k].Ruling == Go {
				require.Empty(t, winner, "two workers got Go for key %d", k)
				winner = fmt.Sprint("w", w)
			}
		}
		require.NotEmpty(t, winner, "nobody got Go for key %d", k)
		for w := range workers {
			if s := rulings[w][k]; s.Ruling != Go {
				require.Equal(t, Started, s.Ruling)
				require.Equal(t, winner, s.Worker, "all agree on who was first")
			}
		}
	}
}

// TestRandomMarksOfRacingWorkers has several workers write whatever they like
// about few intents, and a referee read the log afterwards.
func TestRandomMarksOfRacingWorkers(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	const workers, marks = 3, 3000
	var wg sync.WaitGroup
	for w := range workers {
		l := open(t, b.Connect(), fmt.Sprint("w", w))
		r := rand.New(rand.NewPCG(uint64(w), 3))
		wg.Go(func() {
			var last <-chan answer
			for range marks {
				m := randomMark(r, 20)
				m.Generation = min(m.Generation, 1)
				last = send(t, l, m)
				if r.IntN(50) == 0 {
					<-last
				}
			}
			<-last
		})
	}
	wg.Wait()
	conn := b.Connect()
	x, f := newIndex(time.Hour), newReferee(t)
	total := 0
	require.NoError(t, conn.Scan(t.Context(), wire.StreamLedger, broker.ScanOptions{},
		func(s broker.Stored) error {
			readBatch(s.Data, func(m Mark) {
				total++
				w := x.worker(s.Subject)
				f.watch(m, w, x.mark(m, w))
			})
			return nil
		}))
	require.Equal(t, workers*marks, total)
}

func TestMarksStandInTheLogInTheOrderInWhichTheyWereWritten(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	p := brokertest.NewProxy(t, b)
	l := open(t, p.Connect(), "a")
	const n, intents = 3000, 50
	var last <-chan answer
	for i := range n {
		last = send(t, l, Mark{Key: Key(i % intents), Kind: Start, Seq: uint64(i), Attempt: 1})
		switch i % 1000 {
		case 500: // answers are lost on their way, and then the connection
			p.Deafen()
		case 600:
			p.Cut()
			p.Mend()
		}
		if i%100 == 99 && i%1000 < 500 {
			brokertest.Await(t, last, "an answer")
		}
	}
	brokertest.Await(t, last, "the last answer")
	// A batch that another overtook stands there, too, and counts for nothing: its
	// marks come again.
	top, counted := uint64(0), 0
	next := make(map[Key]uint64)
	require.NoError(t, b.Connect().Scan(t.Context(), wire.StreamLedger, broker.ScanOptions{},
		func(s broker.Stored) error {
			number, err := checkBatch(s.Data)
			require.NoError(t, err)
			if number <= top {
				return nil
			}
			top = number
			readBatch(s.Data, func(m Mark) {
				require.Equal(t, uint64(m.Key)+intents*next[m.Key], m.Seq,
					"neither out of order nor twice")
				next[m.Key]++
				counted++
			})
			return nil
		}))
	require.Equal(t, n, counted)
}

func TestDrainWaitsUntilEveryMarkStandsInTheLog(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l := open(t, b.Connect(), "a")
	require.NoError(t, l.Drain(t.Context()), "nothing is on its way")
	b.Stop()
	const n = 2*maxBatch + 1
	for i := range Key(n) {
		l.Write(Mark{Key: i, Kind: Start, Seq: 10, Attempt: 1}, nil)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	require.ErrorIs(t, l.Drain(ended), context.Canceled)
	b.Start()
	require.NoError(t, l.Drain(t.Context()))
	require.Equal(t, n, open(t, b.Connect(), "b").Len())
	l.Close()
	require.ErrorIs(t, l.Drain(t.Context()), ErrClosed)
}

func TestCloseAnswersWhatIsLeft(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l := open(t, b.Connect(), "a")
	write(t, l, Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1})
	b.Stop()
	waiting := make([]<-chan answer, 0, 1500)
	for i := range cap(waiting) {
		waiting = append(waiting, send(t, l, Mark{Key: Key(i), Kind: Start, Seq: 10, Attempt: 1}))
	}
	l.Close()
	for _, ch := range waiting {
		require.ErrorIs(t, brokertest.Await(t, ch, "an answer").err, ErrClosed)
	}
	require.ErrorIs(t, brokertest.Await(t, send(t, l, Mark{Key: 1, Kind: Sent}), "an answer").err,
		ErrClosed)
	l.Close() // twice does no harm
	l.Write(Mark{Key: 1, Kind: Sent}, nil)
}

func TestAnAnswerMayWriteTheNextMark(t *testing.T) {
	t.Parallel()
	l := open(t, brokertest.New(t), "a")
	done := make(chan Standing, 1)
	l.Write(Mark{Key: 1, Kind: Start, Seq: 10, Attempt: 1}, func(Standing, error) {
		l.Write(Mark{Key: 1, Kind: Sent, Seq: 10, Generation: 1, Attempt: 1},
			func(s Standing, _ error) { done <- s })
	})
	require.Equal(t, Start, brokertest.Await(t, done, "the second answer").Kind)
}

func TestHistoryTellsTheStoryOfOneIntent(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	one, two := open(t, b.Connect(), "one"), open(t, b.Connect(), "two")
	story := []Mark{
		{Key: 5, Kind: Start, Seq: 10, Body: 3, Attempt: 1},
		{Key: 5, Kind: Later, Seq: 10, Body: 3, Generation: 1, Attempt: 2},
		{Key: 5, Kind: Start, Seq: 20, Body: 3, Generation: 1, Attempt: 2, Again: true},
		{Key: 5, Kind: Sent, Seq: 20, Body: 3, Generation: 1, Attempt: 2, Unknown: 1, Again: true},
	}
	for i, m := range story {
		write(t, []*Ledger{one, two}[i/2], m)
		write(t, one, Mark{Key: 6, Kind: Suspect, Seq: 1})
	}
	events, err := History(t.Context(), b.Connect(), 5)
	require.NoError(t, err)
	require.Len(t, events, len(story))
	for i, e := range events {
		require.Equal(t, story[i], e.Mark)
		require.Equal(t, []string{"one", "two"}[i/2], e.Worker)
		require.WithinDuration(t, time.Now(), e.Time, time.Minute)
	}
	events, err = History(t.Context(), b.Connect(), 99)
	require.NoError(t, err)
	require.Empty(t, events)
}

func TestOpenWithoutItsStreamFails(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	_, err := Open(t.Context(), conn, Options{Worker: "a", Keep: time.Hour})
	require.ErrorContains(t, err, "ledger: follow KEFU_LEDGER")
}

func TestOffAllowsEverythingAndRemembersNothing(t *testing.T) {
	t.Parallel()
	var l Off
	for range 2 {
		l.Write(Mark{Key: 1, Kind: Start, Attempt: 2, Unknown: 1}, func(s Standing, err error) {
			require.NoError(t, err)
			require.Equal(t, Standing{Ruling: Go, Generation: 1, Attempts: 1, Unknown: 1}, s)
		})
	}
	l.Write(Mark{Key: 1, Kind: Sent}, nil)
	require.Zero(t, l.Peek(Mark{Key: 1}).Kind)
}

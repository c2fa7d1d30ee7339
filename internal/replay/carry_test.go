package replay

import (
	"context"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
)

// stepTask is the first step of a replay, as a worker that has written it down would carry it out.
func (b *bed) stepTask(w *Work, r Request) job.Task {
	b.t.Helper()
	j, err := job.Read(b.t.Context(), b.conn, b.submit(r))
	b.NoError(err)
	part := job.Part{Job: j.ID, AppID: app}
	c, err := w.Choose(b.t.Context(), j.Order, part, nil)
	b.NoError(err)
	b.NotNil(c.Step, c.Result)
	return job.Task{
		Order: j.Order, Part: part, Step: job.Step{N: 1, Body: c.Step},
		Pace: rate.NewLimiter(rate.Inf, 0),
	}
}

func TestAStepThatIsCarriedOutAgainCountsAndSendsNothingTwice(t *testing.T) {
	t.Parallel()
	sent := Life{Generation: 2, Ended: true, Same: true}
	for what, c := range map[string]struct {
		before func(b *bed, items []Item) // what the worker that was lost had done
		known  Ledger
		want   []int // published, left, messages in the queue in the end
	}{
		"nothing was done": {func(*bed, []Item) {}, remembering{}, []int{3, 0, 3}},
		"one was published": {
			func(b *bed, items []Item) { b.handOver(items[0]) }, remembering{}, []int{3, 0, 3},
		},
		"one was published and taken out": {
			func(b *bed, items []Item) {
				b.handOver(items[0])
				b.NoError(b.box.Delete(b.t.Context(), items[0].Seq))
			}, remembering{}, []int{3, 0, 3},
		},
		"one was published, taken out and sent": {
			func(b *bed, items []Item) { b.NoError(b.box.Delete(b.t.Context(), items[0].Seq)) },
			remembering{"order-000": sent}, []int{3, 0, 2},
		},
		"one was published and sent": {
			func(*bed, []Item) {}, remembering{"order-000": sent}, []int{3, 0, 2},
		},
		"one was discarded before it was published": {
			func(b *bed, items []Item) { b.NoError(b.box.Delete(b.t.Context(), items[0].Seq)) },
			remembering{}, []int{2, 0, 2},
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 1000)
			b.known = Known{Ledger: remembering{}, Remembered: time.Hour}
			b.buryMany(3)
			w := b.work()
			task := b.stepTask(w, Request{})
			items := b.items()
			c.before(b, items)
			b.known.Ledger = c.known
			task.Again = true
			r, err := w.Carry(t.Context(), t.Context(), task)
			b.NoError(err)
			b.Equal(c.want, []int{r.Published, r.Left, len(b.queued())})
			b.Equal(items[2].Seq, r.Cursor)
			b.Empty(b.ids())
		})
	}
}

// handOver publishes the message of a letter, as a replay that is cut off then.
func (b *bed) handOver(item Item) {
	b.t.Helper()
	msg, err := again(Options{}, &item, time.Now())
	b.NoError(err)
	_, err = b.conn.Outbox.PublishWait(b.t.Context(), msg)
	b.NoError(err)
}

func TestAStepOfWhichNothingMoreIsToBeBegunCountsWhatWas(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.buryMany(3)
	w := b.work()
	task := b.stepTask(w, Request{})
	items := b.items()
	b.handOver(items[1])
	b.handOver(items[2])
	b.NoError(b.box.Delete(t.Context(), items[2].Seq))
	task.Again = true
	begin, end := context.WithCancel(t.Context())
	end()
	r, err := w.Carry(t.Context(), begin, task)
	b.NoError(err)
	b.Equal(job.Result{Published: 2}, r, "the cursor stays: the first is chosen again")
	b.Equal([]string{"order-000"}, b.ids())
	b.Len(b.queued(), 2)
}

func TestAReplaySendsNothingThatWasDiscardedMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10_000)
	b.buryMany(100)
	w := b.work()
	task := b.stepTask(w, Request{})
	_, err := b.box.Discard(t.Context(), Filter{}, deadletter.DiscardOptions{Limit: 40})
	b.NoError(err)
	r, err := w.Carry(t.Context(), t.Context(), task)
	b.NoError(err)
	b.Equal([]int{60, 0}, []int{r.Published, r.Left})
	b.Equal(deadletter.NoteTakenOut, r.Notes[0].Text)
	b.Equal(40, r.Notes[0].Count)
	b.Len(b.queued(), 60)
	b.Empty(b.ids())
}

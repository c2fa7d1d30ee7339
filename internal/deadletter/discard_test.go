package deadletter

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/schema"
)

func (b *bed) discard(f Filter, o DiscardOptions) DiscardResult {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), brokertest.Patience)
	defer cancel()
	result, err := b.box.Discard(ctx, f, o)
	b.NoError(err)
	return result
}

func TestADiscardTakesOutWhatTheFilterChooses(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.bury(letter("a"), letter("b", of(schema.ReasonExpired)), letter("c"), letter("d"))
	filter := Filter{Reasons: []schema.Reason{schema.ReasonExhausted}, OpenID: openid}
	plan, err := b.box.PlanDiscard(t.Context(), filter, DiscardOptions{})
	b.NoError(err)
	b.Equal([]Share{{app, schema.ReasonExhausted, 3}}, plan.Shares)
	b.Equal(3, plan.Total)
	b.Empty(b.audited())

	b.bury(letter("died meanwhile"))
	result := b.discard(filter, DiscardOptions{Limit: 2, Through: plan.Through, By: "me"})
	b.Equal(2, result.Discarded)
	b.Equal([]string{"b", "d", "died meanwhile"}, b.ids(Filter{}))
	result = b.discard(filter, DiscardOptions{Through: plan.Through, By: "me"})
	b.Equal(DiscardResult{Discarded: 1, Took: result.Took}, result)
	b.Equal([]string{"b", "died meanwhile"}, b.ids(Filter{}))

	entries := b.audited()
	b.Len(entries, 4)
	b.Equal("begins, 2 at most", entries[0].Detail)
	b.Equal("discarded 2, left 0", entries[1].Detail)
	b.Equal(2, entries[1].Count)
	for _, e := range entries {
		b.Equal("discard", e.Verb)
		b.Contains(e.Filter, "reason=exhausted openid=#")
		b.NotContains(e.Filter, openid)
	}
	b.Empty(b.queued())
}

func TestADiscardOfAnEmptyBoxTouchesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	plan, err := b.box.PlanDiscard(t.Context(), Filter{}, DiscardOptions{})
	b.NoError(err)
	b.Zero(plan.Total)
	b.Zero(b.discard(Filter{}, DiscardOptions{}).Discarded)
}

func TestADiscardLeavesWhatAReplayHasInHand(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.bury(letter("a"), letter("b"), letter("c"))
	box, err := b.box.Extent(t.Context())
	b.NoError(err)
	o := DiscardOptions{InHand: func(_ context.Context, of time.Time) (map[uint64]bool, error) {
		return map[uint64]bool{2: of.Equal(box.Made)}, nil
	}}
	plan, err := b.box.PlanDiscard(t.Context(), Filter{}, o)
	b.NoError(err)
	b.Equal(2, plan.Total)
	b.Equal(1, plan.Left)
	result := b.discard(Filter{}, o)
	b.Equal(2, result.Discarded)
	b.Equal(1, result.Left)
	b.Equal(notes.List{{Text: noteHandedOver, Count: 1, IDs: []string{"b"}}}, result.Notes)
	b.Equal([]string{"b"}, b.ids(Filter{}))
}

func TestTwoDiscardsCountALetterOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.buryMany("letter-", 2000)
	results := make(chan DiscardResult, 2)
	for range 2 {
		go func() {
			r, err := b.box.Discard(t.Context(), Filter{}, DiscardOptions{})
			if err != nil {
				t.Error(err)
			}
			results <- r
		}()
	}
	b.Equal(2000, (<-results).Discarded+(<-results).Discarded)
	b.Empty(b.ids(Filter{}))
}

func TestADiscardThatIsInterruptedSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.buryMany("letter-", 2000)
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	result, err := b.box.Discard(ctx, Filter{}, DiscardOptions{Progress: func(n int, _ string) {
		if n == 100 {
			interrupt()
		}
	}})
	b.ErrorIs(err, context.Canceled)
	b.GreaterOrEqual(result.Discarded, 100)
	b.Zero(result.Left)
	b.Len(b.ids(Filter{}), 2000-result.Discarded)
	last := b.audited()[1]
	b.Equal(result.Discarded, last.Count)
	b.True(strings.HasSuffix(last.Detail, "; interrupted"), last.Detail)
	b.Equal(2000-result.Discarded, b.discard(Filter{}, DiscardOptions{}).Discarded)
}

func TestADiscardGoesOnAfterARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	server := brokertest.Bare(t)
	b := newBedOn(t, server.Connect(), 100)
	b.buryMany("letter-", 2000)
	restarted := make(chan struct{})
	restart := func() { defer close(restarted); server.Restart() }
	result := b.discard(Filter{}, DiscardOptions{Progress: func(n int, _ string) {
		if n == 100 && restart != nil {
			go restart()
			restart = nil
		}
	}})
	<-restarted
	b.Equal(2000, result.Discarded)
	b.Zero(result.Left)
	b.Empty(b.ids(Filter{}))
}

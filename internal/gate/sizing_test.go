package gate

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHowManySlotsToAskFor(t *testing.T) {
	t.Parallel()
	const chunk = 50
	for _, c := range []struct {
		name string
		s    sizing
		want int
	}{
		{"a chunk at first", newSizing(0), chunk},
		{"a chunk, where others take some too", sizing{used: 50}, chunk},
		{"a chunk, though it used few: none expired yet", sizing{used: 8}, chunk},
		{"no more than it used, when the rest expired", sizing{used: 8, expired: 42}, 8},
		{"one at least", sizing{expired: 50}, 1},
		{"no more than a chunk", sizing{used: 120, expired: 3}, chunk},
		{"a chunk, used up or not, when alone", sizing{chunks: aloneAfter, expired: 50}, chunk},
		{"without whole chunks", sizing{without: wholeChunks, chunks: aloneAfter, expired: 50}, 1},
		{"without shrinking", sizing{without: shrinkUnused, used: 8, expired: 42}, chunk},
	} {
		require.Equal(t, c.want, c.s.next(chunk), c.name)
		require.Equal(t, c.want, c.s.asked, c.name)
	}
}

func TestAWorkerIsAloneUntilItMeetsAnother(t *testing.T) {
	t.Parallel()
	s := newSizing(0)
	require.True(t, s.alone())
	s.met()
	for range aloneAfter {
		require.False(t, s.alone())
		s.used, s.expired = 3, 4
		s.received()
		require.Zero(t, s.used+s.expired)
	}
	require.True(t, s.alone())
}

func TestWhenToFetchBeforeTheLastSlotIsUsed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		s        sizing
		reserved int
		want     bool
	}{
		{"always when alone", sizing{chunks: aloneAfter}, 0, true},
		{"with as many reserved as it asked for", sizing{asked: 8, used: 3}, 5, true},
		{"not with less", sizing{asked: 8, used: 3}, 4, false},
		{"not with the only one", sizing{asked: 1}, 1, false},
		{"never without", sizing{without: prefetch, chunks: aloneAfter, asked: 8, used: 8}, 8, false},
	} {
		require.Equal(t, c.want, c.s.busy(c.reserved), c.name)
	}
}

func TestRequestsThatDoNotLeaveAreStalled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name              string
		s                 sizing
		reserved, waiting int
		want              bool
	}{
		{"the slots in hand expired, and no request came", sizing{expired: 5}, 5, 0, true},
		{"one came", sizing{expired: 5, used: 1}, 5, 0, false},
		{"all are in line", sizing{expired: 5}, 5, 5, false},
		{"none expired", sizing{}, 5, 0, false},
		{"never without", sizing{without: stopStalled, expired: 5}, 5, 0, false},
	} {
		require.Equal(t, c.want, c.s.stalled(c.reserved, c.waiting), c.name)
	}
}

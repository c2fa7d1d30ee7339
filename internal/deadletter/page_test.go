package deadletter

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// paged are the ids of a page, of at most n letters.
func (b *bed) paged(f Filter, p Page, n int) string {
	b.t.Helper()
	var ids []string
	b.NoError(b.box.ListPage(b.t.Context(), f, p, func(i Item) error {
		ids = append(ids, i.Letter.ID)
		if len(ids) == n {
			return broker.ErrStopScan
		}
		return nil
	}))
	return strings.Join(ids, " ")
}

func TestPagesInBothDirections(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.Empty(b.paged(Filter{}, Page{NewestFirst: true}, 10), "nothing lies in an empty box")
	for i := 1; i <= 9; i++ {
		l := letter(fmt.Sprint(i))
		if i%2 == 0 {
			l.Reason = schema.ReasonExpired
		}
		b.bury(l)
	}
	b.NoError(b.box.Delete(t.Context(), 1))
	b.NoError(b.box.Delete(t.Context(), 5))
	even := Filter{Reasons: []schema.Reason{schema.ReasonExpired}}
	for _, row := range []struct {
		filter         Filter
		page           Page
		most           int
		oldest, newest string
	}{
		{Filter{}, Page{}, 99, "2 3 4 6 7 8 9", "9 8 7 6 4 3 2"},
		{Filter{}, Page{}, 2, "2 3", "9 8"},
		{even, Page{}, 99, "2 4 6 8", "8 6 4 2"},
		{Filter{}, Page{After: 4}, 99, "6 7 8 9", "9 8 7 6"},
		{Filter{}, Page{After: 4}, 1, "6", "9"},
		{Filter{}, Page{Before: 6}, 99, "2 3 4", "4 3 2"},
		{Filter{}, Page{After: 3, Before: 7}, 99, "4 6", "6 4"},
		{even, Page{After: 3, Before: 7}, 99, "4 6", "6 4"},
		{Filter{IDs: []string{"3", "8"}}, Page{}, 99, "3 8", "8 3"},
		{Filter{IDs: []string{"3", "8"}}, Page{After: 3}, 99, "8", "8"},
		{Filter{}, Page{Before: 1}, 99, "", ""},
		{Filter{}, Page{After: 9}, 99, "", ""},
		{Filter{}, Page{After: 4, Before: 5}, 99, "", ""},
		{Filter{}, Page{Before: 99}, 1, "2", "9"},
	} {
		b.Equal(row.oldest, b.paged(row.filter, row.page, row.most), "%+v", row)
		row.page.NewestFirst = true
		b.Equal(row.newest, b.paged(row.filter, row.page, row.most), "%+v", row)
	}
	b.ErrorIs(b.box.ListPage(t.Context(), Filter{}, Page{NewestFirst: true},
		func(Item) error { return errEnough }), errEnough)
}

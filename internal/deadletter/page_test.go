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
		row.page.Most = row.most
		b.Equal(row.newest, b.paged(row.filter, row.page, 0), "%+v", row)
		row.page.NewestFirst = false
		b.Equal(row.oldest, b.paged(row.filter, row.page, 0), "%+v", row)
	}
	b.ErrorIs(b.box.ListPage(t.Context(), Filter{}, Page{NewestFirst: true},
		func(Item) error { return errEnough }), errEnough)
}

func TestAPageReadsNoFurtherThanItMust(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	rare := func(l *schema.Letter) { l.Reason = schema.ReasonExpired }
	b.bury(letter("rare-1", rare))
	b.buryMany("x", 8*pageWindow)
	b.bury(letter("rare-2", rare), letter("last"))
	text := Filter{Text: "busy", Since: noon} // which no subject tells
	for _, row := range []struct {
		page  Page
		want  string
		reads int
	}{
		{Page{Most: 1, NewestFirst: true}, "last", 1},
		{Page{Most: 2, NewestFirst: true, Before: 10}, "x7 x6", 1},
	} {
		got := ""
		reads := b.reads(func() { got = b.paged(text, row.page, 0) })
		b.Equal(row.want, got)
		b.Equal(row.reads, reads)
	}
	// All of the box has to be read, in windows that grow.
	few := Filter{Reasons: []schema.Reason{schema.ReasonExpired, schema.ReasonPoison}}
	b.Equal("rare-2 rare-1", b.paged(few, Page{Most: 3, NewestFirst: true}, 0))
	b.Equal("rare-2 rare-1", b.paged(few, Page{NewestFirst: true}, 0))
}

func TestWhatTheBrokerCanCountIsNotRead(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.bury(letter("a"), letter("b"), letter("c", of(schema.ReasonExpired)), letter("d", otherAppsLetter))
	for _, row := range []struct {
		filter Filter
		n      uint64
		known  bool
	}{
		{Filter{}, 4, true},
		{Filter{AppID: app}, 3, true},
		{Filter{AppID: app, Reasons: []schema.Reason{schema.ReasonExpired}}, 1, true},
		{Filter{Reasons: []schema.Reason{schema.ReasonPoison}}, 0, true},
		{Filter{Reasons: schema.Reasons()}, 0, false},
		{Filter{AppID: ">"}, 0, false},
		{Filter{Lane: schema.LaneLive}, 0, false},
	} {
		n, known, err := b.box.Count(t.Context(), row.filter)
		b.NoError(err)
		b.Equal(row.n, n, "%+v", row.filter)
		b.Equal(row.known, known, "%+v", row.filter)
	}
}

func TestAPageThatTakesTooLongSaysWhereTheNextBegins(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.bury(letter("first"))
	for i := range pageWindow {
		l := letter(fmt.Sprint(i))
		l.Reason = schema.ReasonExpired
		b.bury(l)
	}
	few := Filter{Reasons: []schema.Reason{letter("first").Reason}}
	page := Page{NewestFirst: true, Most: 3, Within: 1}
	ids := 0
	count := func(Item) error { ids++; return nil }
	var cut *CutError
	b.ErrorAs(b.box.ListPage(t.Context(), few, page, count), &cut)
	b.Zero(ids)
	b.EqualValues(2, cut.Before)
	page.Before = cut.Before
	b.NoError(b.box.ListPage(t.Context(), few, page, count), "the rest is looked at")
	b.Equal(1, ids)
}

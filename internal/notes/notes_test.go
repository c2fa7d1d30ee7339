package notes

import (
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAListIsBounded(t *testing.T) {
	t.Parallel()
	var l List
	for i := range 1000 {
		l.Add("reason "+strconv.Itoa(i), "id")
	}
	l.Add("reason 1", "id")
	require.Len(t, l, mostNotes+1)
	sorted := l.Sorted()
	require.Equal(t, Note{Text: others, Count: 950, IDs: slices.Repeat([]string{"id"}, mostIDs)},
		sorted[0])
	require.Equal(t, Note{Text: "reason 1", Count: 2, IDs: []string{"id", "id"}}, sorted[1])
	require.Equal(t, "reason 0", l[0].Text, "sorting changes nothing")
}

func TestListsAreAddedUp(t *testing.T) {
	t.Parallel()
	a := List{{Text: "late", Count: 2, IDs: []string{"1", "2"}}}
	sum := a.With(List{{Text: "late", Count: 5, IDs: []string{"3", "4", "5", "6", "7"}},
		{Text: "held", Count: 1}})
	require.Equal(t, List{{Text: "late", Count: 7, IDs: []string{"1", "2", "3", "4", "5"}},
		{Text: "held", Count: 1}}, sum)
	require.Equal(t, List{{Text: "late", Count: 2, IDs: []string{"1", "2"}}}, a)
}

package deadletter

import (
	"context"
	"io"
	"strings"
	"testing"
)

func TestAnExportWritesNoMoreThanTheAuditSays(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.buryMany("letter-", 2000)
	viewer := Viewer{Actor: "me", Command: "dead export"}
	plan, err := b.box.PlanExport(t.Context(), Filter{})
	b.NoError(err)
	b.Equal(2000, plan.Total)
	b.bury(letter("died meanwhile"))
	var text strings.Builder
	n, err := b.box.Export(t.Context(), &text, viewer, Filter{}, plan, nil)
	b.NoError(err)
	b.Equal(2000, n)
	b.Equal(2000, strings.Count(text.String(), "\n"))
	b.NotContains(text.String(), "died meanwhile")
	b.Equal(2000, b.audited()[0].Count)

	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	n, err = b.box.Export(ctx, io.Discard, viewer, Filter{}, plan, func(n int) {
		if n == 100 {
			interrupt()
		}
	})
	b.ErrorIs(err, context.Canceled)
	b.Equal(100, n)
	b.Len(b.ids(Filter{}), 2001)
}

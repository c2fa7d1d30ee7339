package pool

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhichReceiptsAreWritten(t *testing.T) {
	t.Parallel()
	serves := func(r Receipts, apps ...string) Worker {
		return Worker{Receipts: r, Apps: apps}
	}
	leaving := serves(ReceiptsAll, "wx1")
	leaving.Leaving = true
	for name, row := range map[string]struct {
		workers []Worker
		appID   string
		want    Receipts
	}{
		"no worker": {nil, "wx1", ReceiptsNobody},
		"none that serves the app": {
			[]Worker{serves(ReceiptsAll, "wx2")}, "wx1", ReceiptsNobody},
		"one": {[]Worker{serves(ReceiptsFailures, "wx1")}, "wx1", ReceiptsFailures},
		"two of one mind": {
			[]Worker{serves(ReceiptsOff, "wx1"), serves(ReceiptsOff, "wx1")}, "wx1",
			ReceiptsOff},
		"two that differ": {
			[]Worker{serves(ReceiptsOff, "wx1"), serves(ReceiptsAll, "wx1")}, "wx1",
			ReceiptsMixed},
		"of which one serves the app": {
			[]Worker{serves(ReceiptsOff, "wx1"), serves(ReceiptsAll, "wx2")}, "wx1",
			ReceiptsOff},
		"of which one is leaving": {
			[]Worker{leaving, serves(ReceiptsOff, "wx1")}, "wx1", ReceiptsOff},
		"all apps together": {
			[]Worker{serves(ReceiptsOff, "wx1"), serves(ReceiptsAll, "wx2")}, "",
			ReceiptsMixed},
		"one of an earlier version": {
			[]Worker{serves(ReceiptsOff, "wx1"), serves("", "wx1")}, "wx1",
			ReceiptsUnknown},
		"one of an earlier version among several minds": {
			[]Worker{serves(ReceiptsOff, "wx1"), serves(ReceiptsAll, "wx1"),
				serves("", "wx1")}, "wx1", ReceiptsUnknown},
	} {
		require.Equal(t, row.want, ReceiptsOf(row.workers, row.appID), name)
	}
}

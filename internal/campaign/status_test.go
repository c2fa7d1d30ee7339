package campaign

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestOutcomesSince(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	for _, row := range []struct {
		name          string
		started, made time.Time
		keep          time.Duration
		want          time.Time
	}{
		{"all receipts are kept", ago(3 * day), ago(30 * day), 3 * day, time.Time{}},
		{"the first have gone", ago(3*day + 1), ago(30 * day), 3 * day, ago(3 * day)},
		{"they are kept for ever", ago(300 * day), ago(301 * day), 0, time.Time{}},
		{"their stream was made anew", ago(2 * day), ago(day), 3 * day, ago(day)},
		{"long ago, and the first have gone", ago(9 * day), ago(8 * day), 3 * day, ago(3 * day)},
	} {
		require.Equal(t, row.want, outcomesSince(row.started, row.made, row.keep, now), row.name)
	}
}

func TestReceiptsOfOtherCampaignsAreNotDecoded(t *testing.T) {
	t.Parallel()
	of := receiptOf("double-11")
	encoded := func(r schema.Receipt) []byte {
		data, err := json.Marshal(r)
		require.NoError(t, err)
		return data
	}
	own := schema.Receipt{ID: "a", Lane: schema.LaneBulk, Campaign: "double-11"}
	got, ok := of(encoded(own))
	require.True(t, ok)
	require.Equal(t, own, got)
	for _, r := range []schema.Receipt{
		{ID: "double-11", Lane: schema.LaneBulk, Campaign: "double-12"},
		{ID: "a", Lane: schema.LaneLive, Campaign: "double-11"},
	} {
		_, ok := of(encoded(r))
		require.False(t, ok)
	}
	_, ok = of([]byte(`no receipt of "double-11"`))
	require.False(t, ok)
}

func TestForeignReceiptsCostNothing(t *testing.T) { // not parallel: it counts allocations
	of := receiptOf("double-11")
	data, err := json.Marshal(schema.Receipt{ID: "a", Lane: schema.LaneBulk, Campaign: "double-12"})
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { of(data) }))
}

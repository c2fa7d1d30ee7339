package cli

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhen(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("CST", 8*60*60)
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, zone)
	for in, want := range map[string]time.Time{
		"2026-11-24T01:02:03Z":      time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC),
		"2026-11-23":                time.Date(2026, 11, 23, 0, 0, 0, 0, zone),
		"2026-11-23 08:15":          time.Date(2026, 11, 23, 8, 15, 0, 0, zone),
		"90m":                       now.Add(-90 * time.Minute),
		"7d":                        now.AddDate(0, 0, -7),
		"2026-11-24T08:15:00+08:00": now.Add(15 * time.Minute),
	} {
		since, until := When{past: true}, When{}
		require.NoError(t, since.set(in, zone), in)
		require.NoError(t, until.set(in, zone), in)
		require.True(t, want.Equal(since.At(now)), "%s: %s", in, since.At(now))
		if since.Relative() {
			want = now.Add(now.Sub(want))
		}
		require.True(t, want.Equal(until.At(now)), "%s: %s", in, until.At(now))
	}
	var absent When
	require.True(t, absent.At(now).IsZero())
	require.False(t, absent.Relative())
	for _, in := range []string{"", "-1h", "tomorrow", "1e9d", "xd"} {
		require.Error(t, new(When).set(in, zone), in)
	}
	for d, want := range map[time.Duration]string{
		12 * time.Millisecond: "12ms", 90 * time.Second: "1m30s", 2 * time.Minute: "2m",
		26 * time.Hour: "26h", 90 * time.Minute: "1h30m", 0: "0s",
	} {
		require.Equal(t, want, About(d))
	}
}

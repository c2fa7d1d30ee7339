package campaign

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// at is a time of 24 November 2026 in Beijing, by seconds.
func at(clock string) time.Time {
	t, err := time.ParseInLocation("2006-01-02 15:04:05", "2026-11-24 "+clock, beijing)
	if err != nil {
		panic(err)
	}
	return t
}

func quiet(t *testing.T, hours string) Quiet {
	t.Helper()
	if hours == "" {
		return Quiet{}
	}
	q, err := ParseQuiet(hours)
	require.NoError(t, err)
	return q
}

func TestQuietHoursEnd(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, hours string
		now, ends   time.Time
	}{
		{"none", "", at("03:00:00"), at("03:00:00")},
		{"before them", "12:00-14:00", at("11:59:59"), at("11:59:59")},
		{"when they begin", "12:00-14:00", at("12:00:00"), at("14:00:00")},
		{"in the middle", "12:00-14:00", at("13:30:00"), at("14:00:00")},
		{"when they end", "12:00-14:00", at("14:00:00"), at("14:00:00")},
		{"over midnight, before them", "22:00-08:00", at("21:59:59"), at("21:59:59")},
		{"over midnight, when they begin", "22:00-08:00", at("22:00:00"), at("08:00:00").Add(day)},
		{"over midnight, in the evening", "22:00-08:00", at("23:59:59"), at("08:00:00").Add(day)},
		{"over midnight, at midnight", "22:00-08:00", at("00:00:00"), at("08:00:00")},
		{"over midnight, in the morning", "22:00-08:00", at("07:59:59"), at("08:00:00")},
		{"over midnight, when they end", "22:00-08:00", at("08:00:00"), at("08:00:00")},
		{"until midnight", "22:00-00:00", at("23:00:00"), at("00:00:00").Add(day)},
		{"from midnight", "00:00-08:00", at("00:00:00"), at("08:00:00")},
		{"by Beijing time, wherever", "22:00-08:00", at("23:00:00").UTC(), at("08:00:00").Add(day)},
	} {
		q := quiet(t, row.hours)
		require.True(t, row.ends.Equal(q.Ends(row.now)), "%s: %s", row.name, q.Ends(row.now))
		require.Equal(t, row.hours, q.String())
		require.Equal(t, row.hours == "", q.IsZero())
		require.False(t, q.Ends(q.Ends(row.now)).After(q.Ends(row.now)), "%s: then it is over",
			row.name)
	}
}

func TestWhatAreNoQuietHours(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "-", "22:00", "22:00-", "-08:00", "22-08", "24:00-08:00",
		"22:00-08:60", "22:00-08:00-09:00", "nine-five", "10:00-10:00"} {
		_, err := ParseQuiet(s)
		require.Error(t, err, s)
	}
	q, err := ParseQuiet(" 9:30 - 10:00 ")
	require.NoError(t, err)
	require.Equal(t, "09:30-10:00", q.String())
}

func TestHowLongACampaignTakes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		speed Speed
		quiet string
		n     int
		from  time.Time
		takes time.Duration
	}{
		{"nobody", Speed{PerSecond: 100}, "", 0, at("12:00:00"), 0},
		{"without any bound", Speed{}, "", 1000, at("12:00:00"), 0},
		{"by the second", Speed{PerSecond: 100}, "", 6000, at("12:00:00"), time.Minute},
		{"slowly", Speed{PerSecond: 0.5}, "", 10, at("12:00:00"), 20 * time.Second},
		{"a day's worth within the day", Speed{PerSecond: 100, PerDay: 500_000}, "", 500_000,
			at("00:00:00"), 5000 * time.Second},
		{"a million at 500,000 a day takes until the next day",
			Speed{PerSecond: 100, PerDay: 500_000}, "", 1_000_000, at("00:00:00"),
			day + 5000*time.Second},
		{"a day begins at Beijing's midnight", Speed{PerSecond: 100, PerDay: 500_000}, "", 1_000_000,
			at("22:00:00"), 2*time.Hour + 5000*time.Second},
		{"over midnight, what is left of the day is lost",
			Speed{PerSecond: 1000, PerDay: 1000}, "", 1001, at("12:00:00"),
			12*time.Hour + time.Millisecond},
		{"quiet hours are waited for", Speed{PerSecond: 1}, "22:00-08:00", 3600, at("23:00:00"),
			10 * time.Hour},
		{"quiet hours come between", Speed{PerSecond: 1}, "22:00-08:00", 7200, at("21:00:00"),
			12 * time.Hour},
		{"quiet hours within a day", Speed{PerSecond: 1}, "12:00-13:00", 7200, at("11:00:00"),
			3 * time.Hour},
		{"it never ends", Speed{PerSecond: 1e-9}, "", 1000, at("12:00:00"), longest},
	} {
		row.speed.Quiet = quiet(t, row.quiet)
		require.InDelta(t, row.takes.Seconds(), row.speed.Takes(row.n, row.from).Seconds(), 0.01,
			row.name)
	}
}

package ledger

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

// flow is a number of ends each second, evenly, from one second to another.
type flow struct{ from, to, each int }

func TestARateIsAnAverageOfTheLastTenSeconds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		flows []flow
		want  float64 // ends/s, within 15 %
	}{
		{"nothing has ended", nil, 0},
		{"one has ended", []flow{{0, 1, 1}}, 0},
		{"it has begun a second ago", []flow{{0, 1, 100}}, 0},
		{"it has begun three seconds ago", []flow{{0, 3, 100}}, 100},
		{"it goes on for ten seconds", []flow{{0, 10, 100}}, 100},
		{"it goes on for an hour", []flow{{0, 3600, 100}}, 100},
		{"it has become faster long ago", []flow{{0, 60, 10}, {60, 75, 100}}, 100},
		{"it has become slower five seconds ago", []flow{{0, 60, 100}, {60, 65, 10}}, 55},
		{"it rested for two seconds", []flow{{0, 60, 100}, {62, 67, 100}}, 80},
		{"it has gone on a second ago", []flow{{0, 60, 100}, {65, 66, 100}}, 0},
		{"it went on as before", []flow{{0, 60, 100}, {65, 70, 100}}, 100},
		{"it went on more slowly", []flow{{0, 60, 100}, {65, 70, 10}}, 10},
		{"it rested twice", []flow{{0, 60, 100}, {64, 67, 50}, {71, 74, 20}}, 20},
		{"it rested before it was two seconds old", []flow{{0, 1, 100}, {5, 8, 20}}, 20},
		{"it goes on after a pause", []flow{{0, 60, 100}, {75, 78, 20}}, 20},
		{"one every second", []flow{{0, 60, 1}}, 1},
		{"one every four seconds", []flow{{0, 1, 1}, {4, 5, 1}, {8, 9, 1}, {12, 13, 1}}, 0.33},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var r recent
			var last time.Time
			for _, f := range c.flows {
				for i := range (f.to - f.from) * f.each {
					last = noon.Add(time.Duration(f.from)*time.Second +
						time.Duration(i)*time.Second/time.Duration(f.each))
					r.add(last)
				}
			}
			p := r.pace()
			require.InDelta(t, c.want, p.Rate, 0.15*c.want)
			require.True(t, last.Equal(p.At))
		})
	}
}

func TestARateOfATimeThatGoesBack(t *testing.T) {
	t.Parallel()
	var r recent
	for i := range 1000 {
		r.add(noon.Add(time.Duration(i) * 10 * time.Millisecond))
	}
	r.add(noon.Add(-time.Hour)) // the broker's clock was set
	p := r.pace()
	require.InDelta(t, 100, p.Rate, 1)
	require.Equal(t, noon.Add(9990*time.Millisecond), p.At)
}

func TestWhoReadsARateTakesAnOldOneForNone(t *testing.T) {
	t.Parallel()
	p := Pace{Rate: 100, At: noon}
	for _, c := range []struct {
		name string
		pace Pace
		now  time.Time
		want float64
	}{
		{"the last has just ended", p, noon.Add(time.Second), 100},
		{"the clock is a little behind", p, noon.Add(-time.Second), 100},
		{"the last ended ten seconds ago", p, noon.Add(10 * time.Second), 100},
		{"the last ended before that", p, noon.Add(10*time.Second + 1), 0},
		{"nothing has ended", Pace{}, noon, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.InDelta(t, c.want, c.pace.RateAt(c.now), 0)
		})
	}
}

// TestOnlyFirstEndsMakeARate has a log read: what is sent again took no part in what is
// left, and a worker that comes has the rate from the log, whatever the key covers.
func TestOnlyFirstEndsMakeARate(t *testing.T) {
	t.Parallel()
	r := read(noon)
	r.counter(summer.owner()).adopt(sentTo(5, r.at(3)))
	r.messages(1, 5)
	require.Equal(t, r.at(5).Time, r.summer().recent.pace().At)
	r.reads(6, r.at(6).Time)
	r.ended(summer.owner(), endRecipient, endSent)
	r.ended(JobOf("k3jq7xa2", "wx1").owner(), 0, endSent)
	require.Equal(t, r.at(5).Time, r.summer().recent.pace().At)
	require.Zero(t, r.of[JobOf("k3jq7xa2", "wx1").owner()].recent)
}

func TestThePaceStandsWithTheCounts(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	l, conn := open(t, b.Connect(), "one"), b.Connect()
	ends(t, l, 0, 10)
	require.NoError(t, l.StoreCounts(t.Context(), true))
	p, err := ReadCounts(t.Context(), conn, summer)
	require.NoError(t, err)
	require.Equal(t, 10, p.Sent)
	log, err := conn.JS.Stream(t.Context(), "KEFU_LEDGER")
	require.NoError(t, err)
	require.Equal(t, log.CachedInfo().State.LastTime.UTC(), p.At.UTC())
}

package campaign

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/pool"
)

func TestHowMuchOfACampaignIsQueued(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name      string
		room      Room
		perSecond float64 // of the campaign
		cycle     time.Duration
		window    int
		call      time.Duration // of the API
	}{
		{"about half a second's worth", Room{PerSecond: 1000, Most: 5000}, 0, 50 * time.Millisecond,
			600, 0},
		{"three looks' worth when they take longer", Room{PerSecond: 1000, Most: 5000}, 0,
			500 * time.Millisecond, 1500, 0},
		{"no more than five seconds' worth", Room{PerSecond: 1000, Most: 50000}, 0, time.Minute,
			5000, 0},
		{"and what is in flight", Room{PerSecond: 1000, Most: 5000}, 0, 0, 1600, time.Second},
		{"of its own rate, if that is less", Room{PerSecond: 1000, Most: 5000}, 100, 0, 60, 0},
		{"of the app's rate, if that is less", Room{PerSecond: 100, Most: 5000}, 1000, 0, 60, 0},
		{"of its own rate, if the app has none", Room{Most: 5000}, 100, 0, 60, 0},
		{"one at least", Room{PerSecond: 0.1, Most: 5000}, 0, 0, 1, 0},
		{"no more than the setting", Room{PerSecond: 100000, Most: 5000}, 0, 0, 5000, 0},
		{"the setting, when nothing has a rate", Room{Most: 5000}, 0, 0, 5000, 0},
		{"one, when nothing is set", Room{}, 0, 0, 1, 0},
	} {
		require.Equal(t, row.window, row.room.window(row.perSecond, row.cycle, row.call), row.name)
	}
}

func TestHowLongACallTakes(t *testing.T) {
	t.Parallel()
	does := func(inFlight int, perSecond float64) pool.Worker {
		a := pool.Activity{InFlight: inFlight, PerSecond: perSecond}
		return pool.Worker{Status: pool.Status{Apps: map[string]pool.Activity{app: a}}}
	}
	for _, row := range []struct {
		name    string
		workers []pool.Worker
		call    time.Duration
	}{
		{"two workers have 30 in flight at 60 a second",
			[]pool.Worker{does(20, 50), does(10, 10)}, 500 * time.Millisecond},
		{"nothing is sent", []pool.Worker{does(20, 0)}, 0},
		{"another app's calls do not count", []pool.Worker{{}}, 0},
		{"hardly anything comes back", []pool.Worker{does(64, 0.1)}, windowMost},
	} {
		require.Equal(t, row.call, callTime(row.workers, app), row.name)
	}
}

func TestWhenACampaignHalts(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	half := Halt{Share: 0.5}
	const of = 10_000
	for _, row := range []struct {
		name   string
		halt   Halt
		ends   ends
		fed    int
		of     int
		full   time.Duration // ago; 0 while the first are not fed
		judged bool
		halts  bool
		room   int
	}{
		{"without a rule", Halt{}, ends{dead: 200}, 200, of, time.Hour, false, false, -1},
		{"a share of all", Halt{Share: 1}, ends{dead: 200}, 200, of, time.Hour, false, false, -1},
		{"nothing is fed", half, ends{}, 0, of, 0, false, false, 200},
		{"some of the first are fed", half, ends{sent: 10}, 50, of, 0, false, false, 150},
		{"half of the first have died", half, ends{dead: 100}, 150, of, 0, false, false, 50},
		{"more than half of the first have died", half, ends{dead: 101}, 150, of, 0, false, true, 0},
		{"the first are fed, and none has ended", half, ends{}, 200, of, time.Hour, false, false, 0},
		{"half of the first were sent", half, ends{sent: 100}, 200, of, 1, false, false, -1},
		{"half of the first were cancelled", half, ends{cancelled: 100}, 200, of, 1, false, false, -1},
		{"it may still be too many", half, ends{sent: 90, dead: 90}, 200, of, time.Second, false,
			false, 0},
		{"the rest takes long, and some were sent", half, ends{sent: 90, dead: 90}, 200, of,
			time.Minute, false, false, -1},
		{"the rest takes long, and none was sent", half, ends{dead: 90}, 200, of, time.Hour, false,
			false, 0},
		{"a small one that dies", half, ends{dead: 2}, 3, 3, 1, false, true, 0},
		{"a small one, of which half dies", half, ends{sent: 2, dead: 2}, 4, 4, 1, false, false, -1},
		{"the trial is over", half, ends{sent: 101, dead: 5000}, 6000, of, time.Hour, false, false, -1},
		{"an operator has seen it", half, ends{dead: 101}, 150, of, 0, true, false, -1},
		{"so many have died", Halt{Deaths: 5}, ends{sent: 500, dead: 5}, 600, of, 1, false, true, 0},
		{"not so many have died", Halt{Deaths: 5}, ends{sent: 500, dead: 4}, 600, of, 1, false, false,
			-1},
		{"so many, and an operator has seen it", Halt{Deaths: 5}, ends{dead: 9}, 600, of, 1, true,
			false, -1},
	} {
		full := time.Time{}
		if row.full > 0 {
			full = now.Add(-row.full)
		}
		got := row.halt.judge(row.ends, row.fed, row.of, full, now, row.judged)
		require.Equal(t, row.halts, got.halt != "", "%s: %s", row.name, got.halt)
		require.Equal(t, row.room, got.room, row.name)
	}
}

package gate

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// noon is the time of the tests, in the middle of a platform day.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, Beijing)

// alone is a gate whose pool is nobody; what it shares is counted.
func alone(r Rate) (*Gate, *int) {
	shared := 0
	return newGate("wx1", r, func(*Gate, bool) { shared++ }, nil,
		slog.New(slog.DiscardHandler)), &shared
}

// ask takes permissions every tick for a while and returns how many it got.
func ask(g *Gate, lane schema.Lane, from time.Time, d, tick time.Duration) int {
	n := 0
	for now := from; now.Before(from.Add(d)); now = now.Add(tick) {
		if p, _ := g.Permit(lane, now); p.OK {
			n++
		}
	}
	return n
}

func TestPermissionsFollowTheRate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		rate Rate
		lane schema.Lane
		min  int // permissions in ten seconds, asked for every millisecond
		max  int
	}{
		{"live gets the rate, and the burst it begins with", Rate{PerSecond: 100, Burst: 20}, schema.LaneLive, 1018, 1020},
		{"bulk alone gets the whole rate too", Rate{PerSecond: 100, Burst: 20, LiveReserve: 0.2}, schema.LaneBulk, 1013, 1016},
		{"even when live's share is everything", Rate{PerSecond: 100, Burst: 20, LiveReserve: 1}, schema.LaneBulk, 999, 1001},
		{"a burst of none is one", Rate{PerSecond: 50}, schema.LaneLive, 500, 501},
		{"and leaves nothing to keep for live", Rate{PerSecond: 50, LiveReserve: 1}, schema.LaneBulk, 500, 501},
		{"a slow app", Rate{PerSecond: 0.5, Burst: 1}, schema.LaneLive, 5, 5},
		{"no limit", Rate{}, schema.LaneLive, 10000, 10000},
		{"no limit for bulk", Rate{LiveReserve: 0.5}, schema.LaneBulk, 10000, 10000},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, _ := alone(c.rate)
			got := ask(g, c.lane, noon, 10*time.Second, time.Millisecond)
			require.GreaterOrEqual(t, got, c.min)
			require.LessOrEqual(t, got, c.max)
		})
	}
}

func TestBulkYieldsToLive(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		live       time.Duration // between two live intents
		live0      int           // what live must get in ten seconds, at least
		bulk, most int           // and bulk, at least and at most
	}{
		{"live that asks for all leaves nothing", 5 * time.Millisecond, 999, 0, 20},
		{"live that asks for half leaves the other half", 20 * time.Millisecond, 500, 490, 520},
		{"live that is idle leaves everything", time.Minute, 1, 1000, 1020},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, _ := alone(Rate{PerSecond: 100, Burst: 20, LiveReserve: 0.2})
			live, bulk := 0, 0
			nextLive := noon
			end := noon.Add(10 * time.Second)
			for now := noon; now.Before(end); now = now.Add(time.Millisecond) {
				if !now.Before(nextLive) {
					if p, _ := g.Permit(schema.LaneLive, now); p.OK {
						live++
						nextLive = now.Add(c.live)
					}
				}
				if p, _ := g.Permit(schema.LaneBulk, now); p.OK {
					bulk++
				}
			}
			require.GreaterOrEqual(t, live, c.live0)
			require.GreaterOrEqual(t, bulk, c.bulk)
			require.LessOrEqual(t, bulk, c.most)
		})
	}
}

func TestALiveIntentNeverWaitsForBulk(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{PerSecond: 10, Burst: 10, LiveReserve: 0.3})
	n := ask(g, schema.LaneBulk, noon, time.Millisecond, time.Microsecond)
	require.Equal(t, 7, n, "bulk may use up the burst but for live's share")
	for range 3 {
		p, _ := g.Permit(schema.LaneLive, noon.Add(time.Millisecond))
		require.True(t, p.OK)
	}
	p, wait := g.Permit(schema.LaneLive, noon.Add(time.Millisecond))
	require.False(t, p.OK)
	require.InDelta(t, 100*time.Millisecond, wait, float64(2*time.Millisecond))
}

func TestTheWaitIsAsLongAsItMustBe(t *testing.T) {
	t.Parallel()
	for _, lane := range []schema.Lane{schema.LaneLive, schema.LaneBulk} {
		t.Run(string(lane), func(t *testing.T) {
			t.Parallel()
			g, _ := alone(Rate{PerSecond: 7, Burst: 5, LiveReserve: 0.5})
			now := noon
			for range 200 {
				p, wait := g.Permit(lane, now)
				if p.OK {
					continue
				}
				require.Positive(t, wait)
				early, _ := g.Permit(lane, now.Add(wait-wait/10))
				require.False(t, early.OK)
				now = now.Add(wait)
				p, _ = g.Permit(lane, now)
				require.True(t, p.OK, "asked again after the time it named")
			}
		})
	}
}

// upstream is a hold that the network causes.
func upstream() Hold { return Hold{Kind: Upstream, Reason: "no route to host"} }

func TestAHoldEndsByATrialThatGoesWell(t *testing.T) {
	t.Parallel()
	g, shared := alone(Rate{})
	first, _ := g.Permit(schema.LaneLive, noon)
	require.Equal(t, Permission{OK: true}, first)
	g.Hold(upstream(), first, time.Time{}, noon)
	g.Done(first, false)
	require.Equal(t, 1, *shared)

	p, wait := g.Permit(schema.LaneLive, noon)
	require.False(t, p.OK)
	require.Equal(t, time.Second, wait)
	require.True(t, g.Closed(noon))
	require.False(t, g.Trying(noon))
	h, held := g.Held()
	require.True(t, held)
	require.Equal(t, Hold{Kind: Upstream, Reason: "no route to host", Since: noon,
		Until: noon.Add(time.Second)}, h)

	due := noon.Add(time.Second)
	require.False(t, g.Closed(due))
	require.True(t, g.Trying(due))
	trial, _ := g.Permit(schema.LaneLive, due)
	require.Equal(t, Permission{OK: true, Trial: true}, trial)
	p, wait = g.Permit(schema.LaneLive, due.Add(time.Hour))
	require.False(t, p.OK, "one at a time")
	require.Zero(t, wait, "until OnChange")
	_, held = g.Held()
	require.True(t, held, "a hold until its trial went well")

	g.Done(trial, true)
	require.Equal(t, 3, *shared)
	_, held = g.Held()
	require.False(t, held)
	p, _ = g.Permit(schema.LaneBulk, due)
	require.Equal(t, Permission{OK: true}, p)
}

func TestATrialThatFailsMakesThePauseLonger(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	now := noon
	p, _ := g.Permit(schema.LaneLive, now)
	var waits []time.Duration
	for tries := range 9 {
		g.Hold(upstream(), p, time.Time{}, now)
		g.Done(p, false)
		h, _ := g.Held()
		require.Equal(t, noon, h.Since, "it is the same hold")
		require.Equal(t, tries, h.Tries)
		waits = append(waits, h.Until.Sub(now))
		now = h.Until
		p, _ = g.Permit(schema.LaneLive, now)
		require.True(t, p.Trial)
	}
	s := time.Second
	require.Equal(t, []time.Duration{s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, time.Minute,
		time.Minute, time.Minute}, waits)

	g.Hold(Hold{Kind: Config, Reason: "invalid appsecret"}, p, time.Time{}, now)
	h, _ := g.Held()
	require.Equal(t, Hold{Kind: Config, Reason: "invalid appsecret", Since: now,
		Until: now.Add(30 * time.Second)}, h, "another kind is another hold")
}

func TestATrialWithoutACallIsLeftToTheNext(t *testing.T) {
	t.Parallel()
	g, shared := alone(Rate{})
	changes := 0
	g.OnChange(func() { changes++ })
	p, _ := g.Permit(schema.LaneLive, noon)
	g.Hold(upstream(), p, time.Time{}, noon)
	due := noon.Add(time.Second)
	trial, _ := g.Permit(schema.LaneLive, due)
	before := changes
	g.Done(trial, false) // the intent was a repeat: no call was made
	require.Equal(t, before+1, changes, "whoever was told to wait for OnChange hears of it")
	require.Equal(t, 3, *shared, "the hold, that it is being tried, and that it may be tried again")
	again, _ := g.Permit(schema.LaneLive, due)
	require.True(t, again.Trial)
	g.Done(trial, true)
	g.Done(again, true)
	_, held := g.Held()
	require.False(t, held)
}

func TestOfSeveralThatDrawAHoldTheFirstCounts(t *testing.T) {
	t.Parallel()
	g, shared := alone(Rate{})
	var flying []Permission
	for range 5 {
		p, _ := g.Permit(schema.LaneLive, noon)
		flying = append(flying, p)
	}
	g.Hold(upstream(), flying[0], time.Time{}, noon)
	for _, p := range flying[1:] {
		g.Hold(Hold{Kind: Config, Reason: "later"}, p, time.Time{}, noon.Add(10*time.Millisecond))
		g.Done(p, true) // nor does the success of one that was under way open it
	}
	h, held := g.Held()
	require.True(t, held)
	require.Equal(t, Upstream, h.Kind)
	require.Zero(t, h.Tries)
	require.Equal(t, 1, *shared)
}

func TestASuccessThatComesLateDoesNotOpenANewerHold(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	p, _ := g.Permit(schema.LaneLive, noon)
	g.Hold(upstream(), p, time.Time{}, noon)
	trial, _ := g.Permit(schema.LaneLive, noon.Add(time.Second))
	// from another worker
	g.apply(false, &Hold{Kind: Quota, Until: noon.Add(time.Hour)}, noon.Add(time.Second))
	g.Done(trial, true)
	h, held := g.Held()
	require.True(t, held)
	require.Equal(t, Quota, h.Kind)
}

func TestATrialThatAnotherWorkersSuccessEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		share func(g *Gate) // as Permit tells the pool of the trial
	}{
		{"the news comes before the trial is shared", func(g *Gate) {
			g.apply(false, nil, noon)
			require.Nil(t, g.sharedHold(false), "there is no hold to tell of")
		}},
		{"the news comes after it", func(g *Gate) {
			require.True(t, g.sharedHold(false).Trying)
			g.apply(false, nil, noon)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var g *Gate
			shared := 0
			g = newGate("wx1", Rate{}, func(*Gate, bool) {
				if shared++; shared == 1 {
					c.share(g)
				}
			}, nil, slog.New(slog.DiscardHandler))
			// Another worker tries it for longer than it may, so this one does as well.
			g.apply(false, &Hold{Kind: Config, Trying: true, Until: noon.Add(-time.Second)}, noon)
			trial, _ := g.Permit(schema.LaneLive, noon)
			require.True(t, trial.Trial)
			_, held := g.Held()
			require.False(t, held)
			g.Done(trial, false)
			require.Equal(t, 1, shared, "the trial is over, and has nothing to say")
			p, _ := g.Permit(schema.LaneLive, noon)
			require.Equal(t, Permission{OK: true}, p)
		})
	}
}

func TestAnOperatorsHoldIsLiftedByAnOperatorOnly(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	changes := make(chan struct{}, 10)
	g.OnChange(func() {
		g.Held() // no lock is held
		changes <- struct{}{}
	})
	p, _ := g.Permit(schema.LaneLive, noon)
	g.apply(true, &Hold{Kind: Operator, Reason: "maintenance", By: "me"}, noon)
	require.Len(t, changes, 1)
	require.True(t, g.Closed(noon.Add(1000*time.Hour)))
	require.False(t, g.Trying(noon.Add(1000*time.Hour)))
	q, wait := g.Permit(schema.LaneLive, noon.Add(1000*time.Hour))
	require.False(t, q.OK)
	require.Zero(t, wait)

	g.Hold(upstream(), p, time.Time{}, noon) // caused by what was under way
	h, _ := g.Held()
	require.Equal(t, Operator, h.Kind, "a person's word goes first")
	g.apply(false, nil, noon)
	require.True(t, g.Closed(noon.Add(time.Hour)))
	g.apply(true, nil, noon.Add(time.Hour))
	require.True(t, g.Trying(noon.Add(time.Hour)), "what is left is tried first")
}

func TestAHoldMadeHereByAnOperator(t *testing.T) {
	t.Parallel()
	g, shared := alone(Rate{})
	g.Hold(Hold{Kind: Operator, Reason: "by hand"}, Permission{}, time.Time{}, noon)
	require.Equal(t, 1, *shared)
	require.Equal(t, "by hand", g.sharedHold(true).Reason)
	require.Nil(t, g.sharedHold(false))
}

func TestAHintIsKept(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	p, _ := g.Permit(schema.LaneLive, noon)
	midnight := NextDay(noon)
	g.Hold(Hold{Kind: Quota}, p, midnight, noon)
	_, wait := g.Permit(schema.LaneLive, noon)
	require.Equal(t, 12*time.Hour, wait)
}

func TestWhatOthersWriteIsTakenOver(t *testing.T) {
	t.Parallel()
	later := Hold{Kind: Quota, Until: noon.Add(time.Hour)}
	for _, c := range []struct {
		name  string
		mine  *Hold
		other *Hold
		want  Hold
		held  bool
	}{
		{"a hold closes an open gate", nil, &later, later, true},
		{"one that ends later replaces an earlier one", &Hold{Kind: Upstream, Until: noon.Add(time.Second)}, &later, later, true},
		{"one that ends earlier does not", &later, &Hold{Kind: Upstream, Until: noon.Add(time.Second)}, later, true},
		{"the end of a hold lets one intent try", &Hold{Kind: Quota, Until: noon.Add(time.Hour), Tries: 5}, nil, Hold{Kind: Quota, Until: noon}, true},
		{"the end of nothing changes nothing", nil, nil, Hold{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, shared := alone(Rate{})
			g.hold = c.mine
			changes := 0
			g.OnChange(func() { changes++ })
			g.apply(false, c.other, noon)
			h, held := g.Held()
			require.Equal(t, c.held, held)
			require.Equal(t, c.want, h)
			require.Equal(t, 1, changes)
			require.Zero(t, *shared, "what came from the pool is not sent back to it")
		})
	}
}

func TestNextTry(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		kind  Kind
		tries int
		hint  time.Duration
		want  time.Duration
	}{
		{"a named end is kept", Quota, 0, 45 * time.Minute, 45 * time.Minute},
		{"however often it was tried", Quota, 7, 45 * time.Minute, 45 * time.Minute},
		{"an end that has passed is none", Quota, 0, -time.Second, time.Minute},
		{"a quota without an end", Quota, 2, 0, 4 * time.Minute},
		{"never more than an hour for a quota", Quota, 100, 0, time.Hour},
		{"a person is needed", Config, 0, 0, 30 * time.Second},
		{"never more than ten minutes for a person", Config, 5, 0, 10 * time.Minute},
		{"a network comes back by itself", Upstream, 0, 0, time.Second},
		{"never more than a minute for a network", Upstream, 6, 0, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hint := time.Time{}
			if c.hint != 0 {
				hint = noon.Add(c.hint)
			}
			require.Equal(t, c.want, nextTry(c.kind, c.tries, noon, hint).Sub(noon))
		})
	}
	require.True(t, nextTry(Operator, 0, noon, noon.Add(time.Hour)).IsZero(),
		"an operator's has no end")
}

func TestPlatformDaysAndMinutes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, now, day, minute string }{
		{"in the middle of a day", "2026-11-24T04:30:15Z", "2026-11-24T16:00:00Z", "2026-11-24T04:31:00Z"},
		{"just before midnight in Beijing", "2026-11-24T15:59:59.999999999Z", "2026-11-24T16:00:00Z", "2026-11-24T16:00:00Z"},
		{"at midnight in Beijing the next one counts", "2026-11-24T16:00:00Z", "2026-11-25T16:00:00Z", "2026-11-24T16:01:00Z"},
		{"just after", "2026-11-24T16:00:00.000000001Z", "2026-11-25T16:00:00Z", "2026-11-24T16:01:00Z"},
		{"the end of a month", "2026-02-28T12:00:00Z", "2026-02-28T16:00:00Z", "2026-02-28T12:01:00Z"},
		{"a leap day", "2028-02-28T17:00:00Z", "2028-02-29T16:00:00Z", "2028-02-28T17:01:00Z"},
		{"the end of a year", "2026-12-31T15:59:00Z", "2026-12-31T16:00:00Z", "2026-12-31T16:00:00Z"},
		{"said in another zone", "2026-11-24T23:30:00-08:00", "2026-11-25T16:00:00Z", "2026-11-25T07:31:00Z"},
		{"a zone that is not a whole number of minutes away", "2026-11-24T10:00:30+05:30", "2026-11-24T16:00:00Z", "2026-11-24T04:31:00Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now, err := time.Parse(time.RFC3339Nano, c.now)
			require.NoError(t, err)
			require.Equal(t, c.day, NextDay(now).UTC().Format(time.RFC3339Nano))
			require.Equal(t, c.minute, NextMinute(now).UTC().Format(time.RFC3339Nano))
		})
	}
}

func TestKeysOfHolds(t *testing.T) {
	t.Parallel()
	for _, kind := range []Kind{Quota, Config, Upstream, Operator} {
		appID, operator, ok := ParseAppKey(AppKey("wx1", kind))
		require.True(t, ok)
		require.Equal(t, "wx1", appID)
		require.Equal(t, kind == Operator, operator)
	}
	for _, c := range []struct{ name, key string }{
		{"another part of the bucket", "worker.w1"},
		{"no app", "app."},
		{"no kind", "app.wx1"},
		{"a kind of a later version", "app.wx1.rate"},
		{"more tokens", "app.wx1.hold.x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, ok := ParseAppKey(c.key)
			require.False(t, ok)
		})
	}
	_, err := ParseHold([]byte("hello"))
	require.ErrorContains(t, err, "unreadable hold")
}

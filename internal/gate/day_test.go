package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func TestTheDaysBudget(t *testing.T) {
	t.Parallel()
	g, shared := alone(Rate{PerDay: 3})
	evening := time.Date(2026, 11, 24, 23, 59, 58, 0, Beijing)
	require.Equal(t, 3, send(g, evening, 3))
	require.Zero(t, *shared)
	p, wait := g.Permit(schema.LaneLive, evening)
	require.False(t, p.OK)
	require.Equal(t, 4*time.Second, wait, "until just after the platform's midnight")
	require.Equal(t, 3, send(g, evening.Add(wait), 10), "then it begins anew")

	limited, _ := alone(Rate{PerSecond: 1, Burst: 1, PerDay: 2})
	got := ask(limited, schema.LaneLive, noon, 900*time.Millisecond, 10*time.Millisecond)
	require.Equal(t, 1, got, "what the rate refuses costs no budget")
	p, _ = limited.Permit(schema.LaneLive, noon.Add(2*time.Second))
	require.True(t, p.OK)
}

// send makes up to n sends that go well, one after the other, and returns how many it made.
func send(g *Gate, now time.Time, n int) int {
	for made := range n {
		p, _ := g.Permit(schema.LaneLive, now)
		if !p.OK {
			return made
		}
		p.Used = true
		g.Done(p, true)
	}
	return n
}

// spent is the hold for want of a budget of n a day.
func spent(n int64, since time.Time) Hold {
	return Hold{
		Kind: Quota, PerDay: n,
		Reason: fmt.Sprint("the app's own budget of a day is used up: rate.per_day is ", n),
		Since:  since, Until: NextDay(since).Add(2 * time.Second),
	}
}

func TestADaysBudgetThatIsUsedUpIsAHold(t *testing.T) {
	t.Parallel()
	later := noon.Add(time.Hour)
	midnight := NextDay(noon).Add(2 * time.Second)
	for _, c := range []struct {
		name   string
		then   func(g *Gate)
		at     time.Time // when it is asked again
		more   int       // sends then, of 10
		shared int       // more words to the pool
		hold   *Hold     // in the end
	}{
		{"it stands until the day is over", func(*Gate) {}, midnight.Add(-time.Nanosecond), 0, 0, new(spent(3, noon))},
		{"a trial ends it, and the new day's budget is spent as well", func(*Gate) {}, midnight, 3, 3, new(spent(3, midnight))},
		{"resumed before its time it is held again", func(g *Gate) { g.apply(false, nil, later) }, later.Add(time.Second), 0, 1, new(spent(3, noon))},
		{"as it is when it is probed", func(g *Gate) {
			g.apply(false, &Hold{Kind: Quota, PerDay: 3, Since: noon, Until: noon, Asked: later},
				later)
		}, later.Add(time.Second), 0, 1, new(spent(3, noon))},
		{"a larger budget ends it by a trial", func(g *Gate) { g.SetRate(Rate{PerDay: 5}) }, later, 2, 4, new(spent(5, later))},
		{"no limit ends it by a trial", func(g *Gate) { g.SetRate(Rate{}) }, later, 10, 3, nil},
		{"another rate does not", func(g *Gate) { g.SetRate(Rate{PerDay: 3, PerSecond: 1000, Burst: 100}) }, later, 0, 0, new(spent(3, noon))},
		{"a smaller budget does not", func(g *Gate) { g.SetRate(Rate{PerDay: 2}) }, later, 0, 0, new(spent(3, noon))},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, shared := alone(Rate{PerDay: 3})
			require.Equal(t, 3, send(g, noon, 10))
			h, held := g.Held()
			require.True(t, held)
			require.Equal(t, spent(3, noon), h)
			require.True(t, g.Closed(noon))
			require.Equal(t, 1, *shared)

			c.then(g)
			require.Equal(t, c.more, send(g, c.at, 10))
			require.Equal(t, 1+c.shared, *shared)
			h, held = g.Held()
			require.Equal(t, c.hold != nil, held)
			if held {
				h.Asked = time.Time{}
				require.Equal(t, *c.hold, h)
			}
		})
	}
}

func TestABudgetOfADayTouchesNoOtherHold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		hold Hold
	}{
		{"the platform's quota", Hold{Kind: Quota, Reason: "reach max api daily quota limit", Errcode: 45009}},
		{"the configuration", Hold{Kind: Config, Reason: "invalid appsecret", Errcode: 40125}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, shared := alone(Rate{PerDay: 3})
			p, _ := g.Permit(schema.LaneLive, noon)
			g.Hold(c.hold, p, noon.Add(time.Hour), noon)
			g.Done(p, false)
			before, _ := g.Held()
			g.SetRate(Rate{PerDay: 5})
			g.SetRate(Rate{})
			after, held := g.Held()
			require.True(t, held)
			require.Equal(t, before, after)
			require.Equal(t, 1, *shared)
		})
	}
}

func TestAHoldThatNothingIsLeftToTryWith(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{PerDay: 1})
	p, _ := g.Permit(schema.LaneLive, noon)
	p.Used = true
	g.Hold(upstream(), p, time.Time{}, noon)
	g.Done(p, false)
	due := noon.Add(time.Second)
	require.True(t, g.Trying(due))
	require.Zero(t, send(g, due, 1))
	h, _ := g.Held()
	require.Equal(t, spent(1, due), h)
	trial, _ := g.Permit(schema.LaneLive, h.Until)
	require.True(t, trial.Trial)
}

func TestTheDayIsNotOverWhileSomethingMayComeBack(t *testing.T) {
	t.Parallel()
	g, shared := alone(Rate{PerDay: 2})
	changes := make(chan struct{}, 10)
	g.OnChange(func() { changes <- struct{}{} })
	one, _ := g.Permit(schema.LaneLive, noon)
	two, _ := g.Permit(schema.LaneLive, noon)
	p, wait := g.Permit(schema.LaneLive, noon)
	require.False(t, p.OK)
	require.Zero(t, wait, "until OnChange")
	require.False(t, held(g))

	g.Done(one, false) // a repeat, say
	brokertest.Await(t, changes, "the news that one came back")
	one, _ = g.Permit(schema.LaneLive, noon)
	require.True(t, one.OK)
	p, _ = g.Permit(schema.LaneLive, noon)
	require.False(t, p.OK)
	one.Used, two.Used = true, true
	g.Done(one, true)
	require.Empty(t, changes)
	g.Done(two, true)
	brokertest.Await(t, changes, "the news that nothing comes back any more")
	require.False(t, held(g))
	require.Zero(t, send(g, noon, 1))
	brokertest.Await(t, changes, "the begin of the hold")
	require.True(t, g.Closed(noon))
	require.Equal(t, 1, *shared)
}

func TestWhatIsInHandOfADayIsUsedInAnothersHold(t *testing.T) {
	t.Parallel()
	g, shared := alone(Rate{PerDay: 3})
	require.Equal(t, 1, send(g, noon, 1))
	under, _ := g.Permit(schema.LaneLive, noon)
	other := spent(3, noon)
	g.apply(false, &other, noon)
	require.False(t, g.Closed(noon), "one is left, and one may come back")
	require.False(t, g.Trying(noon))
	require.Equal(t, 1, send(g, noon, 10))
	require.False(t, g.Closed(noon), "one may come back")
	g.Done(under, false)
	p, _ := g.Permit(schema.LaneBulk, noon)
	require.True(t, p.OK)
	require.False(t, p.Trial)
	p.Used = true
	g.Done(p, true)
	require.True(t, g.Closed(noon))
	require.Zero(t, *shared, "the other one's word is enough")

	g, _ = alone(Rate{PerDay: 3})
	p, _ = g.Permit(schema.LaneLive, noon)
	g.apply(false, &other, noon)
	g.Hold(upstream(), p, time.Time{}, noon)
	h, _ := g.Held()
	require.Equal(t, Upstream, h.Kind, "what meets a reason of its own to hold says so")
	require.True(t, g.Closed(noon))
}

func TestWhatMadeNoRequestCostsTheDayNothing(t *testing.T) {
	t.Parallel()
	evening := time.Date(2026, 11, 24, 23, 59, 58, 0, Beijing)
	for _, c := range []struct {
		name string
		used bool
		done time.Duration // after the permission
		more int           // permissions of the day it is done in, of 3 a day
	}{
		{"no request was made", false, time.Second, 3},
		{"a request was made", true, time.Second, 2},
		{"another day's budget gets nothing of it", false, 2 * time.Second, 3},
		{"nor pays for it", true, 2 * time.Second, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, _ := alone(Rate{PerDay: 3})
			p, _ := g.Permit(schema.LaneLive, evening)
			now := evening.Add(c.done)
			first, _ := g.Permit(schema.LaneLive, now) // on the new day, if it is one
			p.Used = c.used
			g.Done(p, false)
			require.Equal(t, c.more-1, ask(g, schema.LaneLive, now, 50*time.Millisecond,
				time.Millisecond))
			g.Done(first, false)
			require.Equal(t, 1, ask(g, schema.LaneLive, now, 50*time.Millisecond, time.Millisecond))
		})
	}
}

package gate

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func keep(t *testing.T, conn *broker.Conn) *Keeper {
	t.Helper()
	k, err := Open(t.Context(), conn, "test", nil)
	require.NoError(t, err)
	t.Cleanup(k.Close)
	return k
}

// soon waits for what the pool brings about.
func soon(t *testing.T, f func() bool, what string) {
	t.Helper()
	require.Eventually(t, f, brokertest.Patience, time.Millisecond, what)
}

func held(g *Gate) bool { _, ok := g.Held(); return ok }

// stands is what KEFU_STATE says of wx1.
func stands(t *testing.T, conn *broker.Conn) []Hold {
	t.Helper()
	holds, err := Holds(t.Context(), conn)
	require.NoError(t, err)
	return holds["wx1"]
}

func TestAHoldReachesThePool(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	one, two := keep(t, conn).App("wx1", Rate{}), keep(t, b.Connect()).App("wx1", Rate{})
	changed := make(chan struct{}, 100)
	two.OnChange(func() { changed <- struct{}{} })

	now := time.Now()
	p, _ := one.Permit(schema.LaneLive, now)
	one.Hold(Hold{Kind: Config, Reason: "ip not in whitelist", Errcode: 40164,
		Errmsg: "invalid ip 1.2.3.4", RID: "r", By: "w1"}, p, time.Time{}, now)
	one.Done(p, false)
	require.Eventually(t, func() bool { return two.Closed(time.Now()) }, brokertest.Patience,
		time.Millisecond, "the other worker's gate closes")
	brokertest.Await(t, changed, "the other worker to be told")
	mine, _ := one.Held()
	theirs, _ := two.Held()
	require.Equal(t, mine.Until.UnixNano(), theirs.Until.UnixNano())
	require.Equal(t, "invalid ip 1.2.3.4", theirs.Errmsg)
	require.Len(t, stands(t, conn), 1)

	// Its time comes; one worker tries it while the other waits, and both go on.
	due := mine.Until
	require.False(t, two.Trying(due), "whoever began it goes first")
	require.True(t, two.Trying(due.Add(staggerMost)))
	trial, _ := one.Permit(schema.LaneLive, due)
	require.True(t, trial.Trial)
	soon(t,
		func() bool {
			h, ok := two.Held()
			return ok && h.Trying && !two.Trying(time.Now().Add(time.Second))
		},
		"the other leaves it to the first")
	one.Done(trial, true)
	require.False(t, held(one))
	soon(t, func() bool { return !held(two) }, "the other hears that it is over")
	q, _ := two.Permit(schema.LaneBulk, time.Now())
	require.Equal(t, Permission{OK: true}, q)
	soon(t, func() bool { return len(stands(t, conn)) == 0 }, "nothing is left in the pool")
	require.False(t, held(one), "and its own words come back to nobody")
}

func TestAGateIsMadeAsThePoolKnowsIt(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	g := keep(t, conn).App("wx1", Rate{})
	now := time.Now()
	p, _ := g.Permit(schema.LaneLive, now)
	g.Hold(upstream(), p, now.Add(time.Hour), now)
	require.NoError(t, Pause(t.Context(), conn, "wx1", "maintenance", "me"))
	soon(t, func() bool { return len(stands(t, conn)) == 2 }, "both stand")

	late := keep(t, b.Connect()).App("wx1", Rate{})
	h, ok := late.Held()
	require.True(t, ok)
	require.Equal(t, Operator, h.Kind)
	require.Equal(t, "maintenance", h.Reason)
	require.Equal(t, "me", h.By)
	require.NotNil(t, late.sharedHold(false))
	require.False(t, held(keep(t, b.Connect()).App("wx2", Rate{})))
}

func TestAnOperatorPausesAndResumes(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	g := keep(t, conn).App("wx1", Rate{})
	require.NoError(t, Pause(t.Context(), conn, "wx1", "maintenance", "me"))
	soon(t, func() bool { return held(g) }, "it is held")
	require.NoError(t, Resume(t.Context(), conn, "wx1"))
	soon(t, func() bool { return !held(g) }, "it is not")
	p, _ := g.Permit(schema.LaneLive, time.Now())
	require.Equal(t, Permission{OK: true}, p, "no trial after an operator's own hold")

	g.Hold(Hold{Kind: Quota}, p, time.Now().Add(time.Hour), time.Now())
	soon(t, func() bool { return len(stands(t, conn)) == 1 }, "it stands")
	require.NoError(t, Resume(t.Context(), conn, "wx1"))
	soon(t, func() bool { return g.Trying(time.Now()) }, "the platform's is tried before its time")
}

func TestADaysBudgetThatIsUsedUpHoldsThePool(t *testing.T) {
	t.Parallel()
	ahead := time.Duration(0)
	// its budget would begin anew under the test
	if time.Until(NextDay(time.Now())) < 2*brokertest.Patience {
		ahead = time.Hour
	}
	clock := func() time.Time { return time.Now().Add(ahead) }
	b := brokertest.Start(t)
	conn := b.Connect()
	gateOf := func(perDay int64) *Gate {
		return keep(t, b.Connect()).App("wx1", Rate{PerDay: perDay})
	}
	// spend makes what sends can be made until the day is over, and so many are expected.
	spend := func(g *Gate, want int) {
		t.Helper()
		made := 0
		soon(t, func() bool {
			p, _ := g.Permit(schema.LaneLive, clock())
			if p.OK {
				p.Used = true
				g.Done(p, true)
				made++
			}
			h, _ := g.Held()
			return h.Until.After(clock()) && g.Closed(clock())
		}, "nothing is left of the day")
		require.Equal(t, want, made)
	}
	one, two := gateOf(3), gateOf(3)
	spend(one, 3)
	soon(t, func() bool { return two.Closed(clock()) }, "the other worker's gate closes")
	mine, _ := one.Held()
	theirs, _ := two.Held()
	require.EqualValues(t, 3, theirs.PerDay)
	require.Equal(t, mine.Until.UnixNano(), theirs.Until.UnixNano())
	require.Equal(t, "test", theirs.By)
	soon(t, func() bool { return len(stands(t, conn)) == 1 }, "people can see it")

	require.NoError(t, Resume(t.Context(), conn, "wx1"))
	soon(t, func() bool { return one.Trying(clock()) && two.Trying(clock()) }, "both may try it")
	spend(two, 0)
	soon(t, func() bool { return one.Closed(clock()) },
		"the other hears that there is nothing to try it with")
	soon(t, func() bool { return len(stands(t, conn)) == 1 }, "it stands again")

	one.SetRate(Rate{PerDay: 5})
	soon(t, func() bool { return two.Trying(clock()) }, "the other hears that there is more")
	two.SetRate(Rate{PerDay: 5})
	spend(one, 2)
	soon(t, func() bool { return two.Closed(clock()) }, "the other worker's gate closes again")

	three := gateOf(6)
	require.True(t, three.Trying(clock()), "a worker that is started with a larger budget goes on")
	spend(three, 1)
}

func TestThePoolEndsUpWithTheGatesLastWord(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		holds int // the last of them open or not
		open  bool
	}{
		{"held", 1, false},
		{"held and lifted", 1, true},
		{"held, lifted and held again", 2, false},
		{"many times", 20, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.Start(t)
			conn := b.Connect()
			k := keep(t, conn)
			g := k.App("wx1", Rate{})
			back := brokertest.Reconnected(t, conn)
			b.Stop() // all of it happens while the broker is away
			now := time.Now()
			for i := range c.holds {
				p, _ := g.Permit(schema.LaneLive, now)
				g.Hold(upstream(), p, now.Add(time.Hour), now)
				if i < c.holds-1 || c.open {
					now = now.Add(time.Hour)
					trial, _ := g.Permit(schema.LaneLive, now)
					require.True(t, trial.Trial)
					g.Done(trial, true)
				}
			}
			require.LessOrEqual(t, conn.Outbox.Pending(), 1, "one write at a time")
			b.Start()
			brokertest.Await(t, back, "the reconnect")
			// The outbox alone is empty for a moment between one write and the next.
			require.Eventually(t, func() bool {
				k.mu.Lock()
				defer k.mu.Unlock()
				return !k.own[AppKey("wx1", Upstream)].flying && conn.Outbox.Pending() == 0
			}, brokertest.Patience, time.Millisecond)
			require.Equal(t, c.open, len(stands(t, conn)) == 0)
			require.Equal(t, !c.open, held(g), "and what it wrote has not changed its mind")
			late := keep(t, b.Connect()).App("wx1", Rate{})
			require.Equal(t, !c.open, held(late))
		})
	}
}

func TestAWordOfAnotherThatComesBetweenIsNotMissed(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	p := brokertest.NewProxy(t, b)
	far, near := p.Connect(), b.Connect()
	g := keep(t, far).App("wx1", Rate{})
	now := time.Now()
	permission, _ := g.Permit(schema.LaneLive, now)
	// The hold is stored, its answer lost; then an operator lifts it.
	p.Deafen()
	g.Hold(upstream(), permission, now.Add(time.Hour), now)
	soon(t, func() bool { return len(stands(t, near)) == 1 }, "it stands")
	require.NoError(t, Resume(t.Context(), near, "wx1"))
	p.Cut()
	p.Mend()
	require.Eventually(t, func() bool { return g.Trying(time.Now()) }, brokertest.Patience,
		time.Millisecond)
}

func TestAnUnreadableHoldIsReportedAndLeftAlone(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	g := keep(t, conn).App("wx1", Rate{})
	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState("app.wx1.hold", []byte("hello"), 0)))
	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState("app.wx1.later", []byte("{}"), 0)))
	_, err := Holds(t.Context(), conn)
	require.ErrorContains(t, err, "app.wx1.hold: unreadable hold")
	require.NoError(t, Pause(t.Context(), conn, "wx1", "x", "me"))
	soon(t, func() bool { return held(g) }, "what comes after it is read")
	require.Nil(t, g.sharedHold(false))
}

func TestOpenWithoutTheBucketFails(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	_, err := Open(t.Context(), conn, "test", nil)
	require.ErrorContains(t, err, "holds: follow KV_KEFU_STATE")
}

func TestAnAppThatIsMadeAgainIsHeldAsItStands(t *testing.T) {
	t.Parallel()
	conn := brokertest.Start(t).Connect()
	k := keep(t, conn)
	g := k.App("wx1", Rate{})
	now := time.Now()
	p, _ := g.Permit(schema.LaneLive, now)
	g.Hold(upstream(), p, time.Time{}, now)
	g.Done(p, false)
	soon(t, func() bool { return held(k.App("wx1", Rate{})) },
		"what this worker wrote itself counts")

	g = k.App("wx1", Rate{})
	h, _ := g.Held()
	// after any that the gate before it may have begun
	trial, _ := g.Permit(schema.LaneLive, h.Until.Add(trialLease))
	require.True(t, trial.Trial)
	g.Done(trial, true)
	soon(t, func() bool { return !held(k.App("wx1", Rate{})) },
		"and a hold that is over stays over")
	require.Empty(t, stands(t, conn))
}

func TestAnAppThatIsMadeAgainWhileAWordOfItIsOnItsWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		says string // why the new gate is held, by its own word
		want string
	}{
		{"it has nothing to say, and hears it", "", "before"},
		{"its own word is the last", "after", "after"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.Start(t)
			conn := b.Connect()
			k := keep(t, conn)
			now := time.Now()
			hold := func(g *Gate, reason string) {
				p, _ := g.Permit(schema.LaneLive, now)
				g.Hold(Hold{Kind: Upstream, Reason: reason}, p, now.Add(time.Hour), now)
			}
			back := brokertest.Reconnected(t, conn)
			b.Stop()
			hold(k.App("wx1", Rate{}), "before")
			g := k.App("wx1", Rate{})
			if c.says != "" {
				hold(g, c.says)
			}
			b.Start()
			brokertest.Await(t, back, "the reconnect")
			soon(t, func() bool {
				k.mu.Lock()
				defer k.mu.Unlock()
				return !k.own[AppKey("wx1", Upstream)].flying
			}, "all is told")
			soon(t, func() bool { h, _ := g.Held(); return h.Reason == c.want },
				"the gate knows it")
			require.Equal(t, c.want, stands(t, conn)[0].Reason)
		})
	}
}

func TestThePoolKnowsWhoDrewAHoldWhenItIsLifted(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	one, two := keep(t, conn).App("wx1", Rate{}), keep(t, b.Connect()).App("wx1", Rate{})
	now := time.Now()
	p, _ := one.Permit(schema.LaneLive, now)
	drewHold(one, "menu1", "msgmenu", p, now)
	var c Choice
	soon(t, func() (due bool) { c, due = two.Choice(time.Now()); return due },
		"the other worker may try it")
	require.Equal(t, Refused, c.Rank("menu1", "msgmenu"))
	trial, _ := two.Permit(schema.LaneLive, time.Now())
	require.True(t, trial.Trial)
	soon(t, func() bool { h, _ := one.Held(); return h.Trying }, "the first one hears of the trial")
	trial.Sent, trial.MessageKind = true, "text"
	two.Done(trial, true)
	soon(t, func() bool { return !held(one) && len(stands(t, conn)) == 0 }, "it is over")
	require.Eventually(t, func() bool {
		s := one.selective()
		return len(s.Refusals) == 1 && s.Refusals[0].ID == "menu1"
	}, brokertest.Patience, time.Millisecond, "and whoever caused it is known to the first one")
	require.True(t, one.NoteRefusal(refused("menu1"), now).Proven)

	late := keep(t, b.Connect()).App("wx1", Rate{})
	require.True(t, late.NoteRefusal(refused("menu1"), now).Proven, "and to one that comes later")
	require.Equal(t, Standing{InRow: 1, Selective: true, OfKind: true, Lately: true},
		late.NoteRefusal(refused("menu2"), now))
}

func TestAHoldThatIsLiftedByHandProvesNothing(t *testing.T) {
	t.Parallel()
	conn := brokertest.Start(t).Connect()
	g := keep(t, conn).App("wx1", Rate{})
	now := time.Now()
	p, _ := g.Permit(schema.LaneLive, now)
	drewHold(g, "menu1", "msgmenu", p, now)
	soon(t, func() bool { return len(stands(t, conn)) == 1 }, "it stands")
	require.NoError(t, Resume(t.Context(), conn, "wx1"))
	soon(t, func() bool { return len(stands(t, conn)) == 0 }, "it is lifted")
	soon(t, func() bool { return g.Trying(time.Now()) }, "and tried")
	require.Equal(t, Standing{Before: true, InRow: 1}, g.NoteRefusal(refused("menu1"), now))
}

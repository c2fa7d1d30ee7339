package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
)

func TestAppListCountsLanesAndExplainsHolds(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	for range 3 {
		o.send("wx1", "")
	}
	m := nats.NewMsg("kefu.send.wx1.bulk.c1")
	m.Data = []byte(packetFor(recipient))
	o.publish(m)
	hold := gate.Hold{Kind: gate.Config, Call: "token", Reason: "40001: invalid credential", Errcode: 40001, Since: time.Now().Add(-time.Minute), Until: time.Now().Add(time.Hour)}
	body, err := json.Marshal(hold)
	o.NoError(err)
	o.NoError(o.conn.SaveState(t.Context(), broker.PutState(gate.AppKey("wx2", gate.Config), body, 0)))

	got := o.kefu("app list")
	o.Equal(exitDone, got.code, got.err)
	o.Regexp(`(?m)^APP +NAME +LIVE +OLDEST +BULK +OLDEST +HELD +WHY +WHAT TO DO$`, got.out)
	o.Regexp(`(?m)^wx1 +旗舰店 +3 +\d+m?s +1 +\d+m?s +no$`, got.out)
	o.Regexp(`(?m)^wx2 +0 +0 +config for 1m\S*, next try in (1h|59m\d+s) +40001: invalid credential +.*[Ss]ecret`, got.out)

	rows := decode[[]appRow](o, o.kefu("app list -o json"))
	o.Len(rows, 2)
	o.True(rows[0].Configured)
	o.False(rows[0].Held)
	o.Equal([]uint64{3, 1}, []uint64{rows[0].Live.Queued, rows[0].Bulk.Queued})
	o.WithinRange(*rows[0].Bulk.Oldest, *rows[0].Live.Oldest, time.Now(), "bulk was published after live")
	o.Nil(rows[1].Live.Oldest)
	o.False(rows[1].Configured)
	o.Equal(40001, rows[1].Holds[0].Errcode)
	o.Len(decode[[]appRow](o, o.kefu("app list -o json --app wx2")), 1)
}

func TestAppPauseAndResume(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	several := o.kefu("app pause")
	o.Equal(exitUsage, several.code)
	o.Contains(several.err, "there are several apps: name one")
	o.Equal(exitUsage, o.kefu("app pause wx9").code)
	o.Equal(exitUsage, o.kefu("app pause wx1 --app wx2").code)

	o.Equal(result{exitDone, "wx1 was not held: there is nothing to resume\n", ""}, o.kefu("app resume wx1"))
	o.Empty(o.audited())

	o.Equal(result{exitDone, "wx1 is paused: nothing more of it is sent until kefu app resume wx1\n", ""}, o.kefu("app pause wx1 --reason inventory"))
	holds, err := gate.Holds(t.Context(), o.conn)
	o.NoError(err)
	o.Len(holds["wx1"], 1)
	o.Equal(gate.Operator, holds["wx1"][0].Kind)
	o.Equal("inventory", holds["wx1"][0].Reason)
	o.Regexp(`(?m)^wx1 .*operator for .*inventory \(.+\) +kefu app resume`, o.kefu("app list").out)

	resumed := decode[changedApp](o, o.kefu("app resume wx1 -o json"))
	o.True(resumed.Changed)
	o.Empty(resumed.Holds)
	o.Equal([]string{"pause: inventory", "resume: "}, o.audited())
}

func TestWhatToDoAboutAHold(t *testing.T) {
	t.Parallel()
	for says, hold := range map[string]gate.Hold{
		"kefu app resume": {Kind: gate.Operator},
		"DNS":             {Kind: gate.Upstream},
		"tried again":     {Kind: gate.Config},
		"rate.per_day":    {Kind: gate.Quota, PerDay: 500_000},
		"AppSecret":       {Kind: gate.Config, Call: "token", Errcode: 40125},
	} {
		require.Contains(t, whatToDo([]gate.Hold{hold}), says)
	}
	require.Empty(t, whatToDo(nil))
}

func TestAHoldThatMessagesDrewNamesThem(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := gate.Hold{
		Kind: gate.Config, Call: "send", Errcode: 40200, Since: now.Add(-time.Minute), Until: now.Add(-time.Second),
		AnotherAt: now.Add(-time.Second), SameAt: now.Add(time.Hour), Drawn: []gate.Draw{{ID: "order-1", What: "msgmenu", Answer: "errcode 40200"}},
	}
	require.Equal(t, "config for 1m, next try in 1h", heldFor([]gate.Hold{h}, now))
	require.Contains(t, whatToDo([]gate.Hold{h}), "Only order-1 drew it so far")
	require.Equal(t, "order-1 (msgmenu)", drawnBy(h.Drawn))
	for range 6 {
		h.Drawn = append(h.Drawn, gate.Draw{ID: "order-2"})
	}
	require.NotContains(t, whatToDo([]gate.Hold{h}), "Only")
	require.Equal(t, "order-2, order-2, order-2, order-2, order-2, and 2 more", drawnBy(h.Drawn))
	h.AnotherAt = now.Add(4 * time.Second)
	require.Equal(t, "config for 1m, next try in 4s", heldFor([]gate.Hold{h}, now))
}

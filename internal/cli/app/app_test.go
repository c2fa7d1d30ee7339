package app_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/gate"
)

func TestAppListCountsLanesAndExplainsHolds(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for range 3 {
		o.Send("wx1", "")
	}
	m := nats.NewMsg("kefu.send.wx1.bulk.c1")
	m.Data = []byte(clitest.PacketFor(clitest.Recipient))
	o.Publish(m)
	hold := gate.Hold{Kind: gate.Config, Call: "token", Reason: "40001: invalid credential",
		Errcode: 40001, Since: time.Now().Add(-time.Minute), Until: time.Now().Add(time.Hour)}
	body, err := json.Marshal(hold)
	o.NoError(err)
	o.NoError(o.Conn.SaveState(t.Context(),
		broker.PutState(gate.AppKey("wx2", gate.Config), body, 0)))

	got := o.Kefu("app list")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`(?m)^APP +NAME +LIVE +OLDEST +BULK +OLDEST +HELD +WHY +WHAT TO DO$`, got.Out)
	o.Regexp(`(?m)^wx1 +旗舰店 +3 +\d+m?s +1 +\d+m?s +no$`, got.Out)
	o.Regexp(`(?m)^wx2 +0 +0 +config for 1m\S*, next try in (1h|59m\d+s) +`+
		`40001: invalid credential +.*[Ss]ecret`, got.Out)

	rows := clitest.Decode[[]apps.Row](o, o.Kefu("app list -o json"))
	o.Len(rows, 2)
	o.True(rows[0].Configured)
	o.False(rows[0].Held)
	o.Equal([]uint64{3, 1}, []uint64{rows[0].Live.Queued, rows[0].Bulk.Queued})
	o.WithinRange(*rows[0].Bulk.Oldest, *rows[0].Live.Oldest, time.Now(),
		"bulk was published after live")
	o.Nil(rows[1].Live.Oldest)
	o.False(rows[1].Configured)
	o.Equal(40001, rows[1].Holds[0].Errcode)
	o.Len(clitest.Decode[[]apps.Row](o, o.Kefu("app list -o json --app wx2")), 1)
}

func TestAppPauseAndResume(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	several := o.Kefu("app pause")
	o.Equal(cli.ExitUsage, several.Code)
	o.Contains(several.Err, "there are several apps: name one")
	o.Equal(cli.ExitUsage, o.Kefu("app pause wx9").Code)
	o.Equal(cli.ExitUsage, o.Kefu("app pause wx1 --app wx2").Code)

	o.Equal(clitest.Ended(cli.ExitDone, "wx1 was not held: there is nothing to resume\n", ""),
		o.Kefu("app resume wx1"))
	o.Empty(o.Audited())

	o.Equal(clitest.Ended(cli.ExitDone,
		"wx1 is paused: nothing more of it is sent until kefu app resume wx1\n", ""),
		o.Kefu("app pause wx1 --reason inventory"))
	holds, err := gate.Holds(t.Context(), o.Conn)
	o.NoError(err)
	o.Len(holds["wx1"], 1)
	o.Equal(gate.Operator, holds["wx1"][0].Kind)
	o.Equal("inventory", holds["wx1"][0].Reason)
	o.Regexp(`(?m)^wx1 .*operator for .*inventory \(.+\) +kefu app resume`, o.Kefu("app list").Out)

	resumed := clitest.Decode[apps.Changed](o, o.Kefu("app resume wx1 -o json"))
	o.True(resumed.Changed)
	o.Empty(resumed.Holds)
	o.Equal([]string{"pause: inventory", "resume: "}, o.Audited())
}

package pool_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/pool"
)

func TestPoolShowsWorkersAndWhatTheyRead(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	none := clitest.Decode[[]pool.Row](o, o.Kefu("pool -o json"))
	o.Len(none, 1)
	o.Empty(none[0].Worker)
	o.Len(none[0].Shards, 8, "nobody reads the shards of two apps")
	o.Regexp(`(?m)^nobody +0 +wx1: 0 1 2 3; wx2: 0 1 2 3$`, o.Kefu("pool").Out)

	var workers []*pool.Pool
	for _, name := range []string{"one", "two"} {
		workers = append(workers, o.Worker(pool.Worker{Name: name, Host: "h", PID: 7, Version: "v9",
			Started: time.Now().Add(-time.Hour).UTC(), Receipts: pool.ReceiptsFailures,
			Status: pool.Status{Activity: pool.Activity{InFlight: 12, PerSecond: 34.56},
				Apps: map[string]pool.Activity{"wx1": {InFlight: 2, PerSecond: 5}}}}))
	}
	o.Eventually(func() bool {
		return len(workers[0].Claims()) == 2 &&
			len(workers[1].Claims()) == 2
	}, brokertest.Patience, 10*time.Millisecond)
	got := o.Kefu("pool")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`(?m)^WORKER +PID +VERSION +UP +SEEN +IN FLIGHT +SENT/S +QUEUED +OLDEST +READS$`,
		got.Out)
	o.Regexp(`(?m)^one +7 +v9 +1h\S* +\S+ ago +12 +34\.6 +0 +wx1: \d \d$`, got.Out)
	o.Regexp(`(?m)^nobody +0 +wx2: 0 1 2 3$`, got.Out)
	rows := clitest.Decode[[]pool.Row](o, o.Kefu("pool -o json --app wx1"))
	o.Len(rows, 2)
	o.Len(rows[1].Shards, 2)
	o.Equal(1, rows[1].Apps)
	o.Equal(pool.ReceiptsFailures, rows[1].Receipts)
	o.Equal(pool.Activity{InFlight: 2, PerSecond: 5}, rows[1].Activity,
		"of the app that was asked for")
	status := o.Kefu("app status wx1").Out
	o.Regexp(`(?m)^sending +4 calls in flight, 10\.0/s sent lately$`, status)
	o.Regexp(`(?m)^shards +\d \d read by (one|two), 0 queued$`, status)

	for range 3 { // of one recipient: all in one shard
		o.Send("wx1", "")
	}
	o.Send("wx2", "")
	m := nats.NewMsg("kefu.send.wx2.bulk.c1")
	m.Data = []byte(clitest.PacketFor(clitest.Recipient))
	o.Publish(m)
	got = o.Kefu("pool")
	o.Regexp(`(?m)^(one|two) .* 3 +\d+m?s +wx1: \d \d$`, got.Out)
	o.Regexp(`(?m)^(one|two) .* 0 +wx1: \d \d$`, got.Out)
	o.Regexp(`(?m)^nobody +1 +\d+m?s +wx2: 0 1 2 3$`, got.Out)
	o.Regexp(`(?m)^all +1 +\d+m?s +wx2: bulk$`, got.Out)
	all := clitest.Decode[[]pool.Row](o, o.Kefu("pool -o json --app wx2"))[3]
	o.Equal(uint64(1), all.Queued)
	o.Equal("wx2", all.Bulk[0].App)
	o.Equal(uint64(1), all.Bulk[0].Queued)
	o.Regexp(`(?m)^live +3 queued, the oldest for \d+m?s$`, o.Kefu("app status wx1").Out)
	o.Regexp(`(?m)^shards +0 1 2 3 read by nobody, 1 queued$`, o.Kefu("app status wx2").Out)

	workers[1].Retire()
	o.Eventually(func() bool { return len(workers[0].Claims()) == 4 }, brokertest.Patience,
		10*time.Millisecond)
	o.Contains(o.Kefu("pool").Out, "ago, leaving")
}

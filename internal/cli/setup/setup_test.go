package setup_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/schema"
)

func TestSetupFromNothing(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	o := &clitest.Operation{Assertions: require.New(t), T: t, Conn: b.Connect(),
		File: fmt.Sprintf("nats: {url: %q}\napps: [{appid: wx1, secret_env: S}]\n", b.URL())}
	needs := o.Kefu("find order-1")
	o.Equal(cli.ExitFailed, needs.Code)
	o.Contains(needs.Err, "kefu setup")

	dry := o.Kefu("setup --dry-run")
	o.Equal(cli.ExitDone, dry.Code, dry.Err)
	o.Regexp(`(?m)^KEFU_SEND_wx1 .*create$`, dry.Out)
	_, err := o.Conn.JS.Stream(t.Context(), schema.StreamDead)
	o.ErrorIs(err, jetstream.ErrStreamNotFound)

	done := o.Kefu("setup")
	o.Equal(cli.ExitDone, done.Code, done.Err)
	_, err = o.Conn.JS.Stream(t.Context(), schema.StreamDead)
	o.NoError(err)
	o.Len(o.Audited(), 1)
	o.Equal(clitest.Ended(cli.ExitDone, "nothing to do: everything is as it should be\n", ""),
		o.Kefu("setup"))
	o.Equal("[]\n", o.Kefu("setup -o json").Out)
}

func TestSetupAsksBeforeAnythingIsLost(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Equal(cli.ExitDone, o.Kefu("setup --quiet").Code)
	for range 3 {
		m := nats.NewMsg("kefu.ledger.w")
		o.Publish(m)
	}
	line := "setup --set worker.ledger.keep=1h"
	changes := clitest.Decode[[]broker.Change](o, o.Kefu(line+" --dry-run -o json"))
	o.Len(changes, 1)
	o.Equal(broker.Lossy, changes[0].Kind)
	o.Equal(cli.ExitUsage, o.Kefu(line).Code, "nobody can answer")
	o.Equal(cli.ExitFailed, o.Kefu(line, clitest.Answering("n")).Code)
	o.Len(clitest.Decode[[]broker.Change](o, o.Kefu(line+" --dry-run -o json")), 1,
		"nothing was changed")
	o.Equal(cli.ExitDone, o.Kefu(line, clitest.Answering("y")).Code)
	o.Equal("[]\n", o.Kefu(line+" --dry-run -o json").Out)
}

func TestSetupLeavesWhatCannotBeChanged(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Equal(cli.ExitDone, o.Kefu("setup").Code)
	got := o.Kefu("setup --set defaults.live_shards=8")
	o.Equal(cli.ExitPartly, got.Code)
	o.Contains(got.Out, "live_shards")
	o.Contains(got.Err, "1 difference left: they cannot be changed in place")
	advice := "KEFU_SEND_wx1: the shards of a queue that exists stay as they are; to change them, stop the workers"
	o.Contains(got.Err, advice)
	o.Contains(o.Kefu("setup --dry-run --set defaults.live_shards=8").Err, advice)
	o.Contains(clitest.Decode[[]broker.Change](o,
		o.Kefu("setup --dry-run -o json --set defaults.live_shards=8"))[0].Why,
		"delete the stream KEFU_SEND_wx1")
}

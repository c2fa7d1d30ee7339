package main

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func TestSetupFromNothing(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	o := &operation{Assertions: require.New(t), t: t, conn: b.Connect(), file: fmt.Sprintf("nats: {url: %q}\napps: [{appid: wx1, secret_env: S}]\n", b.URL())}
	needs := o.kefu("find order-1")
	o.Equal(exitFailed, needs.code)
	o.Contains(needs.err, "kefu setup")

	dry := o.kefu("setup --dry-run")
	o.Equal(exitDone, dry.code, dry.err)
	o.Regexp(`(?m)^KEFU_SEND_wx1 .*create$`, dry.out)
	_, err := o.conn.JS.Stream(t.Context(), schema.StreamDead)
	o.ErrorIs(err, jetstream.ErrStreamNotFound)

	done := o.kefu("setup")
	o.Equal(exitDone, done.code, done.err)
	_, err = o.conn.JS.Stream(t.Context(), schema.StreamDead)
	o.NoError(err)
	o.Len(o.audited(), 1)
	o.Equal(result{exitDone, "nothing to do: everything is as it should be\n", ""}, o.kefu("setup"))
	o.Equal("[]\n", o.kefu("setup -o json").out)
}

func TestSetupAsksBeforeAnythingIsLost(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.Equal(exitDone, o.kefu("setup --quiet").code)
	for range 3 {
		m := nats.NewMsg("kefu.ledger.w")
		o.publish(m)
	}
	line := "setup --set worker.ledger.keep=1h"
	changes := decode[[]broker.Change](o, o.kefu(line+" --dry-run -o json"))
	o.Len(changes, 1)
	o.Equal(broker.Lossy, changes[0].Kind)
	o.Equal(exitUsage, o.kefu(line).code, "nobody can answer")
	o.Equal(exitFailed, o.kefu(line, answering("n")).code)
	o.Len(decode[[]broker.Change](o, o.kefu(line+" --dry-run -o json")), 1, "nothing was changed")
	o.Equal(exitDone, o.kefu(line, answering("y")).code)
	o.Equal("[]\n", o.kefu(line+" --dry-run -o json").out)
}

func TestSetupLeavesWhatCannotBeChanged(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.Equal(exitDone, o.kefu("setup").code)
	got := o.kefu("setup --set defaults.live_shards=8")
	o.Equal(exitPartly, got.code)
	o.Contains(got.out, "live_shards")
	o.Contains(got.err, "1 difference left: they cannot be changed in place")
	advice := "KEFU_SEND_wx1: the shards of a queue that exists stay as they are; to change them, stop the workers"
	o.Contains(got.err, advice)
	o.Contains(o.kefu("setup --dry-run --set defaults.live_shards=8").err, advice)
	o.Contains(decode[[]broker.Change](o, o.kefu("setup --dry-run -o json --set defaults.live_shards=8"))[0].Why, "delete the stream KEFU_SEND_wx1")
}

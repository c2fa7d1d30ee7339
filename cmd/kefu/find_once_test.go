package main

import (
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

// readsOf returns how many requests to read a stream have been made since.
func (o *operation) readsOf(stream string) func() int64 {
	o.t.Helper()
	var n atomic.Int64
	_, err := o.conn.NC.Subscribe("$JS.API.DIRECT.GET."+stream, func(*nats.Msg) { n.Add(1) })
	o.NoError(err)
	return func() int64 {
		o.NoError(o.conn.NC.Flush())
		return n.Load()
	}
}

func TestFindAndCancelReadTheLedgerOnceForAllApps(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"find order-1", "cancel order-1 --yes"} {
		o := newOperation(t)
		o.send("wx1", "order-1")
		ledger, letters := o.readsOf(schema.StreamLedger), o.readsOf(schema.StreamDead)
		got := o.kefu(line)
		o.Equal(exitDone, got.code, got.err)
		o.Equal(int64(1), ledger(), "%s with two apps", line)
		o.Equal(int64(1), letters(), "%s with two apps", line)
	}
}

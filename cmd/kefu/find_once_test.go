package main

import (
	"testing"

	"github.com/kefuhq/kefu/schema"
)

// readsOf returns how many requests to read a stream have been made since.
func (o *operation) readsOf(stream string) func() int {
	o.t.Helper()
	sub, err := o.conn.NC.SubscribeSync("$JS.API.DIRECT.GET." + stream)
	o.NoError(err)
	o.NoError(o.conn.NC.Flush())
	return func() int {
		o.NoError(o.conn.NC.Flush())
		n, _, err := sub.Pending() // a callback might not have run yet
		o.NoError(err)
		return n
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
		o.Equal(1, ledger(), "%s with two apps", line)
		o.Equal(1, letters(), "%s with two apps", line)
	}
}

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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

// closedPipe is an output whose reader has gone.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestDeadListPrintsLettersAsTheyAreRead(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	for i := range 600 { // more than the broker hands out at once
		o.bury(deadLetter(fmt.Sprint("order-", i)))
	}
	path := filepath.Join(t.TempDir(), "kefu.yaml")
	o.NoError(os.WriteFile(path, []byte(o.file), 0o600))
	for _, format := range []string{"json", "ndjson"} {
		reads := o.readsOf(schema.StreamDead)
		cli := newCLI([]string{"S=x"}, strings.NewReader(""), closedPipe{}, io.Discard)
		cli.search = []string{path}
		o.NotEqual(exitDone, cli.execute(t.Context(), args("dead list -o "+format)))
		o.Equal(1, reads(), "%s: nothing is read for whom nothing can be printed", format)
	}
	o.Len(decode[[]deadRow](o, o.kefu("dead list -o json")), 600)
}

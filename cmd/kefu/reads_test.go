package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/wire"
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
		ledger, letters := o.readsOf(wire.StreamLedger), o.readsOf(schema.StreamDead)
		got := o.kefu(line)
		o.Equal(exitDone, got.code, got.err)
		o.Equal(1, ledger(), "%s with two apps", line)
		o.Equal(1, letters(), "%s with two apps", line)
	}
}

func TestLettersAreLookedUpByIDWithoutReadingAll(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.bury(deadLetter("order-1"), deadLetter("order-1", ofApp("wx2")))
	o.NoError(deadletter.Open(o.conn).Cover(t.Context(), true))
	const n = 2500 // the broker hands out 512 at once
	stored := make(chan error, 2*n)
	for i := range n {
		l := deadLetter(fmt.Sprint("order-", 2+i))
		m, err := deadletter.Message(l)
		o.NoError(err)
		o.conn.Outbox.Publish(m, func(at broker.Ack, err error) {
			stored <- err
			o.conn.Outbox.Publish(deadletter.IndexMessage(l, at.Seq), func(_ broker.Ack, err error) { stored <- err })
		})
	}
	for range cap(stored) {
		o.NoError(<-stored)
	}
	for _, c := range []struct {
		line string
		most int // requests: what lies before the index, the letter, the latest letters
	}{
		{"dead show order-2", 3}, {"dead show order-1", 2}, {"dead show order-2500", 2}, {"find order-2", 3},
		{"cancel order-2 --yes", 3},          // and is told that it is dead
		{"dead replay order-2 --dry-run", 6}, // once for what else has the id
	} {
		reads := o.readsOf(schema.StreamDead)
		got := o.kefu(c.line)
		o.Contains(got.out+got.err, "exhausted", c.line)
		o.LessOrEqual(reads(), c.most, c.line)
	}
	o.Len(decode[[]shownLetter](o, o.kefu("dead show order-1 -o json")), 2, "from before the index, of two apps")
	o.Len(decode[[]shownLetter](o, o.kefu("dead show order-2 -o json")), 1)
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

package root_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/root"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestFindAndCancelReadTheLedgerOnceForAllApps(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"find order-1", "cancel order-1 --yes"} {
		o := clitest.NewOperation(t)
		o.Send("wx1", "order-1")
		ledger, letters := o.ReadsOf(wire.StreamLedger), o.ReadsOf(schema.StreamDead)
		got := o.Kefu(line)
		o.Equal(cli.ExitDone, got.Code, got.Err)
		o.Equal(1, ledger(), "%s with two apps", line)
		o.Equal(1, letters(), "%s with two apps", line)
	}
}

func TestLettersAreLookedUpByIDWithoutReadingAll(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("order-1"), clitest.DeadLetter("order-1", clitest.OfApp("wx2")))
	o.NoError(deadletter.Open(o.Conn).Cover(t.Context(), true))
	const n = 2500 // the broker hands out 512 at once
	stored := make(chan error, 2*n)
	for i := range n {
		l := clitest.DeadLetter(fmt.Sprint("order-", 2+i))
		m, err := deadletter.Message(l)
		o.NoError(err)
		o.Conn.Outbox.Publish(m, func(at broker.Ack, err error) {
			stored <- err
			o.Conn.Outbox.Publish(deadletter.IndexMessage(l, at.Seq),
				func(_ broker.Ack, err error) {
					stored <- err
				})
		})
	}
	for range cap(stored) {
		o.NoError(<-stored)
	}
	for _, c := range []struct {
		line string
		most int // requests: what lies before the index, the letter, the latest letters
	}{
		{"dead show order-2", 3}, {"dead show order-1", 2}, {"dead show order-2500", 2},
		{"find order-2", 3},
		{"cancel order-2 --yes", 3},          // and is told that it is dead
		{"dead replay order-2 --dry-run", 6}, // once for what else has the id
	} {
		reads := o.ReadsOf(schema.StreamDead)
		got := o.Kefu(c.line)
		o.Contains(got.Out+got.Err, "exhausted", c.line)
		o.LessOrEqual(reads(), c.most, c.line)
	}
	o.Len(clitest.Decode[[]letter.Letter](o, o.Kefu("dead show order-1 -o json")), 2,
		"from before the index, of two apps")
	o.Len(clitest.Decode[[]letter.Letter](o, o.Kefu("dead show order-2 -o json")), 1)
}

// closedPipe is an output whose reader has gone.
type closedPipe struct{}

func (closedPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestDeadListPrintsLettersAsTheyAreRead(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for i := range 600 { // more than the broker hands out at once
		o.Bury(clitest.DeadLetter(fmt.Sprint("order-", i)))
	}
	p := cli.Process{
		In: strings.NewReader(""), Out: closedPipe{}, Err: io.Discard, Environ: []string{"S=x"},
		Search: []string{clitest.WriteConfig(t, o.File)},
	}
	for _, format := range []string{"json", "ndjson"} {
		reads := o.ReadsOf(schema.StreamDead)
		o.NotEqual(cli.ExitDone, root.Run(t.Context(), clitest.Args("dead list -o "+format), p))
		o.Equal(1, reads(), "%s: nothing is read for whom nothing can be printed", format)
	}
	o.Len(clitest.Decode[[]letter.Row](o, o.Kefu("dead list -o json")), 600)
}

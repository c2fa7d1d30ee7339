package ledger

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestInAClusterOneGetsGoAndMarksKeepTheirOrderWhenLeadersChange(t *testing.T) {
	t.Parallel()
	c := brokertest.StartCluster(t)
	const workers, keys = 3, 1500
	var (
		wg       sync.WaitGroup
		rulings  [workers][keys]Ruling
		answered = make(chan struct{}, workers*keys)
	)
	for w := range workers {
		l := open(t, c.Connect(), fmt.Sprint("w", w))
		wg.Go(func() {
			slots := make(chan struct{}, 32)
			var mine sync.WaitGroup
			for k := range keys {
				slots <- struct{}{}
				mine.Add(1)
				l.Write(Mark{Key: Key(k), Kind: Start, Seq: uint64(k), Attempt: 1},
					func(s Standing, err error) {
						defer mine.Done()
						if err != nil {
							t.Error(err)
						}
						rulings[w][k] = s.Ruling
						answered <- struct{}{}
						<-slots
					})
				l.Write(Mark{Key: Key(k), Kind: Harmless, Seq: uint64(k), Attempt: 1}, nil)
			}
			mine.Wait()
			if err := l.Drain(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		for range workers * keys / 4 {
			brokertest.Await(t, answered, "answers")
		}
		c.StepDown(wire.StreamLedger)
	}
	wg.Wait()
	for k := range keys {
		n := 0
		for w := range workers {
			if rulings[w][k] == Go {
				n++
			}
		}
		require.Equal(t, 1, n, "key %d", k)
	}
	type of struct {
		worker string
		key    Key
	}
	var written map[of][]Kind
	reader := c.Connect()
	// The node that answers may not have heard of the last marks yet.
	require.Eventually(t, func() bool {
		written = make(map[of][]Kind)
		newest := make(map[string]uint64)
		err := reader.Scan(t.Context(), wire.StreamLedger, broker.ScanOptions{},
			func(s broker.Stored) error {
				number, err := checkBatch(s.Data)
				if err != nil || number <= newest[s.Subject] {
					return err // no reader counts it
				}
				newest[s.Subject] = number
				readBatch(s.Data, func(m Mark) {
					at := of{s.Subject, m.Key}
					written[at] = append(written[at], m.Kind)
				})
				return nil
			})
		return err == nil && len(written) == workers*keys
	}, brokertest.Patience, 10*time.Millisecond, "each mark is stored")
	for o, kinds := range written {
		require.Equal(t, []Kind{Start, Harmless}, kinds,
			"%v: a worker's marks of an intent stand once, and in the order in which it wrote them",
			o)
	}
}

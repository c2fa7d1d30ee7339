package ledger

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
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
				l.Write(Mark{Key: Key(k), Kind: Start, Seq: uint64(k), Attempt: 1}, func(s Standing, err error) {
					defer mine.Done()
					if err != nil {
						t.Error(err)
					}
					rulings[w][k] = s.Ruling
					answered <- struct{}{}
					<-slots
				})
			}
			mine.Wait()
		})
	}
	for range 3 {
		for range workers * keys / 4 {
			brokertest.Await(t, answered, "answers")
		}
		c.StepDown(schema.StreamLedger)
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
	next := make(map[string]uint64)
	require.NoError(t, c.Connect().Scan(t.Context(), schema.StreamLedger, broker.ScanOptions{}, func(s broker.Stored) error {
		readBatch(s.Data, func(m Mark) {
			require.Equal(t, next[s.Subject], m.Seq, "marks of one worker stand in the order in which it wrote them")
			next[s.Subject]++
		})
		return nil
	}))
}

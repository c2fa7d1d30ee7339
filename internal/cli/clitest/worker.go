package clitest

import (
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/pool"
)

// takesAll is a worker that reads what it is given, and gives back what it is asked for.
type takesAll struct{}

func (takesAll) Acquired(*pool.Claim)  {}
func (takesAll) Release(c *pool.Claim) { c.Released() }
func (takesAll) Lost(*pool.Claim)      {}

// Worker has a worker of wx1 join the pool, which sends nothing, and waits until it is seen.
func (o *Operation) Worker(self pool.Worker) *pool.Pool {
	o.T.Helper()
	p, err := pool.Join(o.T.Context(), o.Conn, self, nil)
	o.NoError(err)
	o.T.Cleanup(func() { p.Leave(o.T.Context()) })
	p.Report(func() pool.Status { return self.Status })
	p.Serve(takesAll{}, map[string]int{"wx1": 4})
	o.Eventually(func() bool {
		workers, err := pool.Workers(o.T.Context(), o.Conn)
		o.NoError(err)
		return slices.ContainsFunc(workers, func(w pool.Worker) bool {
			return w.Name == self.Name && len(w.Apps) > 0
		})
	}, brokertest.Patience, time.Millisecond)
	return p
}

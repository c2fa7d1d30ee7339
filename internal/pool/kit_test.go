package pool

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

// reader is a worker's side of its claims. It does as it is told at once, but for releases while
// keep is set.
type reader struct {
	pool *Pool

	mu     sync.Mutex
	keep   bool
	asked  []*Claim
	has    map[Shard]*Claim
	events []string
	faults []string
}

func newReader(t *testing.T, conn *broker.Conn, name string, apps ...string) *reader {
	t.Helper()
	r := &reader{pool: join(t, conn, name), has: make(map[Shard]*Claim)}
	serve := make(map[string]int)
	for _, app := range apps {
		serve[app] = 4
	}
	r.pool.Serve(r, serve)
	return r
}

func (r *reader) note(what string, c *Claim) {
	r.events = append(r.events, fmt.Sprintf("%s %s.%d", what, c.App, c.Shard))
}

func (r *reader) Acquired(c *Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := Shard{c.App, c.Shard}
	if r.has[s] != nil {
		r.faults = append(r.faults, "acquired what had not ended")
	}
	r.has[s] = c
	r.note("acquired", c)
}

func (r *reader) Release(c *Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note("release", c)
	if r.has[Shard{c.App, c.Shard}] != c {
		r.faults = append(r.faults, "asked for what it does not have")
	}
	r.asked = append(r.asked, c)
	if !r.keep {
		r.release()
	}
}

// release gives back what was asked for. r.mu is held.
func (r *reader) release() {
	for _, c := range r.asked {
		delete(r.has, Shard{c.App, c.Shard})
		c.Released()
	}
	r.asked = nil
}

func (r *reader) Lost(c *Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Valid(time.Now()) {
		r.faults = append(r.faults, "lost a claim that is valid")
	}
	delete(r.has, Shard{c.App, c.Shard})
	r.asked = slices.DeleteFunc(r.asked, func(x *Claim) bool { return x == c })
	r.note("lost", c)
}

func (r *reader) do(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

// reads is how many shards it may send for now.
func (r *reader) reads() (n int) {
	r.do(func() {
		for _, c := range r.has {
			if c.Valid(time.Now()) {
				n++
			}
		}
	})
	return n
}

// happened are the events since the last call.
func (r *reader) happened() (out []string) {
	r.do(func() { out, r.events = r.events, nil })
	slices.Sort(out)
	return out
}

func lost(event string) bool { return strings.HasPrefix(event, "lost ") }

func (r *reader) leave(t *testing.T) {
	t.Helper()
	r.pool.Leave(t.Context())
	require.Empty(t, r.faults)
}

// spreads waits until the readers have so many shards each, largest first.
func spreads(t *testing.T, want []int, readers ...*reader) {
	t.Helper()
	require.Eventually(t, func() bool {
		var got []int
		for _, r := range readers {
			got = append(got, r.reads())
		}
		slices.Sort(got)
		slices.Reverse(got)
		return slices.Equal(want, got)
	}, 2*brokertest.Patience, 5*time.Millisecond, "%v", want)
}

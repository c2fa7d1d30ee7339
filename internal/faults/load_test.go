//go:build faults

package faults

import (
	"context"
	"fmt"
	"sync"

	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// producers is how many of them publish at once.
const producers = 16

// publishInBackground puts n texts into the queue, every other one live, each by a producer that
// repeats it until it is accepted. wait returns when all are.
func (s *scene) publishInBackground(ctx context.Context, n int) (wait func()) {
	s.T.Helper()
	p, err := publisher.New(s.JS, publisher.WithTimeout(stage.Patience))
	s.NoError(err)
	var all sync.WaitGroup
	var mu sync.Mutex
	for k := range producers {
		all.Go(func() {
			for i := k; i < n && ctx.Err() == nil; i += producers {
				id := fmt.Sprint("user", i)
				opts := []publisher.PublishOption{publisher.WithID(id)}
				if i%2 == 1 {
					opts = append(opts, publisher.WithBulk("campaign"))
				}
				_, err := p.Publish(ctx, stage.App,
					&schema.Packet{ToUser: id, Body: &schema.Text{Content: "hello"}}, opts...)
				if err != nil {
					s.T.Errorf("publish %s: %v", id, err)
					return
				}
				mu.Lock()
				s.published = append(s.published, id)
				mu.Unlock()
			}
		})
	}
	return all.Wait
}

// requireOneEndEach checks that n intents were accepted and each has exactly one end.
func (s *scene) requireOneEndEach(n int) seen {
	s.T.Helper()
	got := s.look()
	s.Len(s.published, n, "everything was accepted")
	s.Zero(got.lost)
	receipts := s.StoredReceipts()
	s.Len(receipts, n, "every intent has an end")
	for id, rs := range receipts {
		s.Len(rs, 1, "%s has more than one end: %+v", id, rs)
	}
	return got
}

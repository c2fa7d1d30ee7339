package worker

import (
	"context"
	"sync"
	"time"
)

// dayQuota remembers for a moment what the quota call said: hundreds of calls
// under way may be told at once that the day's quota is used up.
type dayQuota struct {
	mu    sync.Mutex
	asked time.Time
	some  bool
	said  bool // it had an answer
}

// quotaFresh is for how long an answer of the quota call is good enough. That
// call has a daily quota of its own.
const quotaFresh = 10 * time.Second

// left says whether anything is left of the day's quota of sends, although an
// answer said that it is used up, and whether the quota call said so. Without an
// answer of that call the quota counts as used up.
func (q *dayQuota) left(ctx context.Context, sender Sender) (some, said bool) {
	t, ok := sender.(QuotaTeller)
	if !ok {
		return false, false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if time.Since(q.asked) >= quotaFresh {
		n, err := t.RemainingSends(ctx)
		q.some, q.said, q.asked = err == nil && n > 0, err == nil, time.Now()
	}
	return q.some, q.said
}

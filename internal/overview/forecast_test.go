package overview

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// evening is 20:00 in Beijing; the day's budgets begin anew in four hours.
var evening = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestWhenABudgetWillBeUsedUp(t *testing.T) {
	t.Parallel()
	resets := evening.Add(4 * time.Hour)
	in := func(d time.Duration) *time.Time {
		at := evening.Add(d)
		return &at
	}
	for name, row := range map[string]struct {
		usage
		want *time.Time
	}{
		"at the rate of the last minutes": {usage{left: 3600, perSecond: 1}, in(time.Hour)},
		"not before it begins anew":       {usage{left: 14_400, perSecond: 1}, nil},
		"a second before it does": {
			usage{left: 14_399, perSecond: 1}, in(4*time.Hour - time.Second)},
		"nothing is sent": {usage{left: 1}, nil},
		"nothing is sent yet, and too much is queued": {
			usage{left: 1000, queued: 1000, budget: 10}, in(100 * time.Second)},
		"nothing is sent yet, and what is queued fits": {
			usage{left: 1000, queued: 999, budget: 10}, nil},
		"a queue without a rate":       {usage{left: 10, queued: 100}, nil},
		"the queue is behind the rate": {usage{left: 3600, perSecond: 1, queued: 9}, in(time.Hour)},
		"nothing is left":              {usage{perSecond: 1}, in(0)},
		"more was used than there was": {usage{left: -5}, in(0)},
	} {
		require.Equal(t, row.want, row.usedUpAt(evening, resets), name)
	}
}

package bench

import (
	"iter"
	"math"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

// Latency is how long intents took from publishing to their receipt by the API.
type Latency struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// Budget is what was made of the budgets of the apps.
type Budget struct {
	Limit   float64 `json:"limit"`
	Allowed float64 `json:"allowed"`          // in any sliding second: limit and burst
	Most    int     `json:"most_in_a_second"` // of the app that sent most
	// of the app that sent most, between its first and last
	Mean float64 `json:"mean_per_second"`
}

// Intents says what became of them.
type Intents struct {
	Accepted  int `json:"accepted"`  // by the queue
	Delivered int `json:"delivered"` // taken by the API, once at least
	Repeated  int `json:"repeated"`  // of these: more than once
	Busy      int `json:"busy"`      // posts that were answered -1
	Dead      int `json:"dead"`
	Left      int `json:"left"` // still in the queue or waiting for a retry
	Lost      int `json:"lost"` // none of these: there must be none

	// PostsPerIntent counts the posts that the API took: 1 is each intent once.
	PostsPerIntent float64 `json:"posts_per_intent"`

	// Healthy and Troubled are the intents that were offered to such apps, and those of them that
	// the API had taken when the last one was offered.
	Healthy  InTime `json:"healthy"`
	Troubled InTime `json:"troubled"`
}

// InTime is what was offered, and what of it was delivered meanwhile.
type InTime struct {
	Offered   int `json:"offered"`
	Delivered int `json:"delivered_meanwhile"`
}

// tally is what the sandbox's record says.
type tally struct {
	perSecond float64
	seconds   float64 // from the first receipt to the last
	live      *Latency
	bulk      *Latency
	budget    Budget
	intents   Intents
}

// count reads the record. ended is when the last intent had been offered.
func count(l *Load, records iter.Seq[sandbox.Record], ended time.Time) tally {
	var t tally
	var arrivals []int64 // of first deliveries, of healthy apps
	delivered := make(map[int]int)
	sends := make(map[string][]int64)
	took := make(map[schema.Lane][]time.Duration)
	posts := 0
	for r := range records {
		m, ok := readMark(r.Body)
		if !ok || m.kind == warmup {
			continue
		}
		at := r.At.UnixNano()
		sends[r.AppID] = append(sends[r.AppID], at)
		if !r.Delivered {
			t.intents.Busy++
			continue
		}
		posts++
		delivered[m.n]++
		switch n := delivered[m.n]; {
		case n == 2:
			t.intents.Repeated++
			continue
		case n > 2:
			continue
		}
		meanwhile := !r.At.After(ended)
		switch m.kind {
		case troubled:
			if meanwhile {
				t.intents.Troubled.Delivered++
			}
			continue
		case offered:
			if meanwhile {
				t.intents.Healthy.Delivered++
			}
			took[m.lane] = append(took[m.lane], time.Duration(at-m.at))
		}
		arrivals = append(arrivals, at)
	}
	t.intents.Delivered = len(delivered)
	if len(delivered) > 0 {
		t.intents.PostsPerIntent = float64(posts) / float64(len(delivered))
	}
	t.perSecond, t.seconds = pace(arrivals)
	t.live, t.bulk = latency(took[schema.LaneLive]), latency(took[schema.LaneBulk])
	t.budget.Limit, t.budget.Allowed = l.PerSecond, l.PerSecond+float64(l.Burst)
	for _, at := range sends {
		if most := maxWithin(at, time.Second); most > t.budget.Most {
			t.budget.Most = most
			perSecond, _ := pace(at)
			t.budget.Mean = round(perSecond, 2)
		}
	}
	return t
}

// pace returns how many a second there were from the first to the last, which is not counted: n
// moments have n-1 steps between them. It sorts them.
func pace(at []int64) (perSecond, seconds float64) {
	if len(at) < 2 {
		return 0, 0
	}
	slices.Sort(at)
	seconds = time.Duration(at[len(at)-1] - at[0]).Seconds()
	if seconds <= 0 {
		return 0, 0
	}
	return float64(len(at)-1) / seconds, seconds
}

// maxWithin returns the largest number of moments in any window of a length, whose end is not part
// of it. It sorts them.
func maxWithin(at []int64, window time.Duration) int {
	slices.Sort(at)
	most, first := 0, 0
	for last, t := range at {
		for t-at[first] >= int64(window) {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

func latency(took []time.Duration) *Latency {
	if len(took) == 0 {
		return nil
	}
	slices.Sort(took)
	at := func(share float64) float64 { return milliseconds(percentile(took, share)) }
	return &Latency{N: len(took), P50: at(0.50), P90: at(0.90), P99: at(0.99), Max: at(1)}
}

// percentile is the least of the sorted values that a share of them does not exceed (nearest rank):
// a value that was seen, not one between two.
func percentile[T any](sorted []T, share float64) T {
	rank := int(math.Ceil(share * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d)/float64(time.Microsecond)) / 1000
}

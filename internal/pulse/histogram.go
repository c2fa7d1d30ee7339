package pulse

import (
	"math/bits"
	"time"
)

// buckets are enough for 18 h: four for each doubling of unit. What takes longer is in the last
// one.
const buckets = 112

// unit is the width of the first bucket.
const unit = 250 * time.Microsecond

// histogram counts durations.
type histogram [buckets]uint32

func (h *histogram) observe(d time.Duration) { h[bucketOf(d)]++ }

// bucketOf is the bucket of a duration.
func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0) / unit)
	if v < 4 {
		return int(v)
	}
	n := bits.Len64(v) - 1
	return min(4*(n-1)+int(v>>(n-2)&3), buckets-1)
}

// lower is where a bucket begins, in units.
func lower(bucket int) float64 {
	if bucket < 4 {
		return float64(bucket)
	}
	return float64(uint64(4+bucket%4) << (bucket/4 - 1))
}

func (h *histogram) add(o *histogram) {
	for i, n := range o {
		h[i] += n
	}
}

func (h *histogram) count() (n int) {
	for _, c := range h {
		n += int(c)
	}
	return n
}

// quantile is the duration, in seconds, that a share q of all does not exceed, as far as buckets
// can tell: off by a quarter at most, or by unit. It is 0 while there are none.
func (h *histogram) quantile(q float64) float64 {
	rank := q * float64(h.count())
	for i, c := range h {
		if c == 0 {
			continue
		}
		if n := float64(c); rank > n {
			rank -= n
			continue
		}
		from, to := lower(i), lower(i+1)
		return (from + (to-from)*rank/float64(c)) * unit.Seconds()
	}
	return 0
}

// p99 is the bucket of the slowest hundredth, and 1; 0 while there are none.
func (h *histogram) p99() uint8 {
	rest := (h.count() + 99) / 100
	for i := buckets - 1; i >= 0 && rest > 0; i-- {
		if rest -= int(h[i]); rest <= 0 {
			return uint8(i + 1)
		}
	}
	return 0
}

// secondsOf is the end of the bucket that p99 names, in seconds.
func secondsOf(p99 uint8) float64 {
	if p99 == 0 {
		return 0
	}
	return lower(int(p99)) * unit.Seconds()
}

func (h *histogram) latency() Latency {
	return Latency{Count: h.count(), P50: h.quantile(0.5), P99: h.quantile(0.99)}
}

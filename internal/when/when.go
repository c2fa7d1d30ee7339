// Package when reads points in time and durations as people write them, on a command line or in a
// URL.
package when

import (
	"strconv"
	"strings"
	"time"
)

// Parse returns a time, or the duration that stands for one: RFC 3339, a date or a date with a time in
// a zone, or a duration as Duration reads it.
func Parse(s string, zone *time.Location) (at time.Time, d time.Duration, ok bool) {
	for _, layout := range []string{
		time.RFC3339, "2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04",
		"2006-01-02T15:04:05",
	} {
		if at, err := time.ParseInLocation(layout, s, zone); err == nil {
			return at, 0, true
		}
	}
	d, ok = Duration(s)
	return time.Time{}, d, ok
}

// Duration reads 90m, 36h or 7d; none is below zero.
func Duration(s string) (time.Duration, bool) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || n > 36500 {
			return 0, false
		}
		return time.Duration(n * float64(24*time.Hour)), true
	}
	d, err := time.ParseDuration(s)
	return d, err == nil && d >= 0
}

package cli

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// ParseWhen reads a time as people write it: RFC 3339, a date or a date with a time (of this
// machine's zone), or how long ago (90m, 36h, 7d).
func ParseWhen(flag, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if ago, ok := ParseLong(s); ok {
		return now.Add(-ago), nil
	}
	return time.Time{}, Usagef("--%s %q is not a time: want 2026-11-24T08:15:00+08:00, 2026-11-24, \"2026-11-24 08:15\", or how long ago: 90m, 36h, 7d", flag, s)
}

// ParseLong reads a duration that may be given in days.
func ParseLong(s string) (time.Duration, bool) {
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

// LongDuration is a flag with a duration that may be given in days.
type LongDuration time.Duration

// Set is the flag being given.
func (d *LongDuration) Set(s string) error {
	long, ok := ParseLong(s)
	if !ok {
		return errors.New("want a duration such as 90m, 36h or 7d")
	}
	*d = LongDuration(long)
	return nil
}

func (d *LongDuration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type is what the help calls the value.
func (d *LongDuration) Type() string { return "duration" }

// Moment is a time for people, of this machine's zone.
func Moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// About is a duration as people say it.
func About(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

package cli

import (
	"errors"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/when"
	"github.com/spf13/pflag"
)

// When is a flag with a point in time: a time, or how far that is from now.
type When struct {
	past bool // a duration counts back from now, not ahead

	text   string
	at     time.Time     // zero: a duration was given
	offset time.Duration // of the duration, negative in the past
}

// PastVar adds a flag with a time whose durations count back from now.
func PastVar(flags *pflag.FlagSet, w *When, name, usage string) {
	w.past = true
	flags.Var(w, name, usage)
}

// FutureVar adds a flag with a time whose durations count ahead from now.
func FutureVar(flags *pflag.FlagSet, w *When, name, usage string) { flags.Var(w, name, usage) }

// Set reads a time as people write it: RFC 3339, a date or a date with a time of this machine's
// zone, or a duration (90m, 36h, 7d).
func (w *When) Set(s string) error { return w.set(s, time.Local) }

func (w *When) set(s string, zone *time.Location) error {
	at, offset, ok := when.Parse(s, zone)
	if !ok {
		from := "how long from now"
		if w.past {
			from = "how long ago"
		}
		return &valueError{errors.New("not a time: want 2026-11-24T08:15:00+08:00, 2026-11-24, " +
			`"2026-11-24 08:15", or ` + from + ": 90m, 36h, 7d")}
	}
	if w.past {
		offset = -offset
	}
	w.text, w.at, w.offset = s, at, offset
	return nil
}

func (w *When) String() string { return w.text }

// Type is what the help calls the value.
func (w *When) Type() string { return "time" }

// Relative tells whether the flag was given a duration.
func (w *When) Relative() bool { return w.text != "" && w.at.IsZero() }

// At returns the time that is meant; zero when the flag was not given.
func (w *When) At(now time.Time) time.Time {
	if w.Relative() {
		return now.Add(w.offset)
	}
	return w.at
}

// duration is a flag with a duration that may be given in days.
type duration time.Duration

// DurationVar adds a flag with a duration, which may be given in days. value is its default.
func DurationVar(
	flags *pflag.FlagSet, d *time.Duration, name string, value time.Duration, usage string,
) {
	*d = value
	flags.Var((*duration)(d), name, usage)
}

// Set is the flag being given.
func (d *duration) Set(s string) error {
	parsed, ok := when.Duration(s)
	if !ok {
		return &valueError{errors.New("not a duration such as 90m, 36h or 7d")}
	}
	*d = duration(parsed)
	return nil
}

func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return shortened(time.Duration(*d))
}

// Type is what the help calls the value.
func (d *duration) Type() string { return "duration" }

// valueError is what is wrong with the value of a flag: "not a duration such as 90m".
type valueError struct{ error }

// badValue returns the error about the value of a flag of one of this package's types, else nil.
func badValue(err error) error {
	var bad *valueError
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &bad) || !errors.As(err, &invalid) {
		return nil
	}
	return Usagef("--%s %q is %w", invalid.GetFlag().Name, invalid.GetValue(), bad)
}

// Moment returns a time for people, of this machine's zone.
func Moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// MomentOfYear is Moment without year and seconds, for a narrow column of what is not old.
func MomentOfYear(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("01-02 15:04")
}

// MomentMS is Moment with milliseconds, for what happens in quick succession.
func MomentMS(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

// About returns a duration as people say it.
func About(d time.Duration) string {
	switch {
	case d < time.Second:
		d = d.Round(time.Millisecond)
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	return shortened(d)
}

// Took returns how long something took, to the millisecond.
func Took(d time.Duration) string { return d.Round(time.Millisecond).String() }

// shortened returns a duration without the units that are 0 at its end: 2m, not 2m0s.
func shortened(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

package cli

import (
	"github.com/spf13/pflag"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// latency is a flag with how long each send of the sandbox takes.
type latency sandbox.Latency

// LatencyVar adds --latency. What l holds is its default.
func LatencyVar(flags *pflag.FlagSet, l *sandbox.Latency) {
	flags.Var((*latency)(l), "latency",
		"how long each send takes: a `duration` (50ms) or a range (20ms..80ms)")
}

// Set is the flag being given.
func (l *latency) Set(s string) error {
	parsed, err := sandbox.ParseLatency(s)
	if err != nil {
		return &valueError{err}
	}
	*l = latency(parsed)
	return nil
}

func (l *latency) String() string {
	switch {
	case *l == latency{}:
		return ""
	case l.Max <= l.Min:
		return l.Min.String()
	}
	return l.Min.String() + ".." + l.Max.String()
}

// Type is what the help calls the value.
func (l *latency) Type() string { return "duration" }

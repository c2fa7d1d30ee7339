package cli

import "github.com/kefuhq/kefu/internal/sandbox"

// Latency reads how long each send takes from a flag.
func Latency(flag, s string) (sandbox.Latency, error) {
	latency, err := sandbox.ParseLatency(s)
	if err != nil {
		return latency, Usagef("%s %q is %w", flag, s, err)
	}
	return latency, nil
}

package sandbox

import (
	"errors"
	"strings"
	"time"
)

// ParseLatency reads "50ms" or "20ms..80ms"; "" is none.
func ParseLatency(s string) (Latency, error) {
	if s == "" {
		return Latency{}, nil
	}
	low, high, ranged := strings.Cut(s, "..")
	least, err := time.ParseDuration(low)
	most := least
	if err == nil && ranged {
		most, err = time.ParseDuration(high)
	}
	if err != nil || least < 0 || most < least {
		return Latency{}, errors.New("not a duration such as 50ms or a range such as 20ms..80ms")
	}
	return Latency{Min: least, Max: most}, nil
}

package sandbox

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// forcedApart is how far forced refreshes are apart at least, when they are limited at all.
const forcedApart = 30 * time.Second

// TokenSettings are how strict the token calls are. The zero value forces as often as wanted, from
// everywhere.
type TokenSettings struct {
	// ForcedADay is how often a day an app's stable token may be renewed by force_refresh; beyond
	// it 45009. Within 30 seconds of the last time the same token is given again. 0 is no limit,
	// and no 30 seconds; 20 is the real API's.
	ForcedADay int `json:"forced_a_day,omitempty"`
	// Addresses are those that tokens are given to, such as "10.1.2.3" or "10.0.0.0/8"; others draw
	// 40164. Empty is any.
	Addresses []string `json:"addresses,omitempty"`
}

// check returns the addresses, read.
func (t *TokenSettings) check() ([]netip.Prefix, error) {
	if t.ForcedADay < 0 {
		return nil, errors.New("forced_a_day: below zero")
	}
	var all []netip.Prefix
	for _, text := range t.Addresses {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("addresses: %q is no address such as 10.1.2.3 or 10.0.0.0/8",
					text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		all = append(all, prefix)
	}
	return all, nil
}

// allowsAddress reports whether a token may be given to the caller's address.
func (s *settings) allowsAddress(q *request) bool {
	if len(s.addresses) == 0 {
		return true
	}
	addr, err := netip.ParseAddr(q.clientIP())
	if err != nil {
		return false
	}
	for _, p := range s.addresses {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// forcedRefreshes counts an app's forced refreshes. The tokens' lock guards it.
type forcedRefreshes struct {
	day  int64
	n    int
	last time.Time
}

// allow says what becomes of a forced refresh: it is made, left out since the last was a moment
// ago, or refused.
func (f *forcedRefreshes) allow(aDay int, now time.Time) (renew bool, code int) {
	if aDay == 0 {
		return true, 0
	}
	if day := dayOf(now); day != f.day {
		f.day, f.n = day, 0
	}
	switch {
	case now.Sub(f.last) < forcedApart:
		return false, 0
	case f.n >= aDay:
		return false, 45009
	}
	f.n++
	f.last = now
	return true, 0
}

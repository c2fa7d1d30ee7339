package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes.
type Size int64

// sizeUnits are the units a size may be written in, the longest suffixes first so that "GiB" is not
// read as "B".
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads "4GiB", "512MB", "1.5KiB" or plain bytes. Units with an i count in steps of 1024,
// those without in steps of 1000.
func ParseSize(s string) (Size, error) {
	number, unit := strings.TrimSpace(s), int64(1)
	for _, u := range sizeUnits {
		if head, ok := cutSuffixFold(number, u.suffix); ok {
			number, unit = strings.TrimSpace(head), u.bytes
			break
		}
	}
	if whole, err := strconv.ParseInt(number, 10, 64); err == nil {
		if whole < 0 || whole > math.MaxInt64/unit {
			return 0, fmt.Errorf("%q is out of range for a size", s)
		}
		return Size(whole * unit), nil
	}
	// Digits and one point only: ParseFloat would also take 1e3, 0x1p4, Inf and NaN.
	if strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("%q is not a size such as 4GiB, 512MB or 1048576", s)
	}
	part, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size such as 4GiB, 512MB or 1048576", s)
	}
	if bytes := part * float64(unit); bytes < math.MaxInt64 {
		return Size(bytes), nil
	}
	return 0, fmt.Errorf("%q is out of range for a size", s)
}

func cutSuffixFold(s, suffix string) (string, bool) {
	cut := len(s) - len(suffix)
	if cut < 0 || !strings.EqualFold(s[cut:], suffix) {
		return s, false
	}
	return s[:cut], true
}

// String returns the size in the unit that gives the smallest whole number, so that ParseSize reads
// exactly the same size.
func (s Size) String() string {
	best, unit := int64(s), "B"
	for _, u := range sizeUnits {
		if n := int64(s) / u.bytes; n < best && int64(s)%u.bytes == 0 {
			best, unit = n, u.suffix
		}
	}
	return strconv.FormatInt(best, 10) + unit
}

// TokenKind says who gets the access token.
type TokenKind string

// The kinds of token source.
const (
	TokenStable TokenKind = "stable" // kefu, from the stable_token endpoint with the AppSecret
	TokenFile   TokenKind = "file"   // someone who writes it into a file
	TokenURL    TokenKind = "url"    // a central token server
)

// TokenSource says where an app's access token comes from.
type TokenSource struct {
	Kind TokenKind
	Path string // of TokenFile
	URL  string // of TokenURL; may hold credentials: print the source, not this
}

const tokenForms = "stable, file:PATH, url:https://HOST/PATH"

// ParseTokenSource reads "stable", "file:PATH" or "url:URL". Its error does not repeat the text,
// which may be a pasted token.
func ParseTokenSource(s string) (TokenSource, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch {
	case s == string(TokenStable):
		return TokenSource{Kind: TokenStable}, nil
	case kind == string(TokenFile) && rest != "":
		return TokenSource{Kind: TokenFile, Path: rest}, nil
	case kind == string(TokenURL) && isWebURL(rest):
		return TokenSource{Kind: TokenURL, URL: rest}, nil
	}
	return TokenSource{}, errors.New("a token source is one of " + tokenForms)
}

// String returns the text the source was read from, without a URL's credentials and query.
func (t TokenSource) String() string {
	switch t.Kind {
	case TokenFile:
		return "file:" + t.Path
	case TokenURL:
		return "url:" + RedactURL(t.URL)
	default:
		return string(t.Kind)
	}
}

// NeedsSecret reports whether the source works with the app's AppSecret.
func (t TokenSource) NeedsSecret() bool { return t.Kind == TokenStable }

// RedactURL hides the user, the password and the query of a URL, or of each in a list separated by
// commas. A list is hidden as a whole when part of it cannot be parsed and may hold any of these: a
// password with a comma in it splits a URL in two.
func RedactURL(list string) string {
	parts := strings.Split(list, ",")
	for i, part := range parts {
		u, err := url.Parse(strings.TrimSpace(part))
		if err != nil || u.Host == "" {
			if strings.ContainsAny(list, "@?") {
				return redacted
			}
			continue
		}
		if u.User == nil && u.RawQuery == "" && u.Fragment == "" {
			continue
		}
		if u.User != nil {
			u.User = url.User(redacted)
		}
		if u.RawQuery != "" {
			u.RawQuery = redacted
		}
		u.Fragment = ""
		parts[i] = u.String()
	}
	return strings.Join(parts, ",")
}

const redacted = "REDACTED"

// hasUser reports whether a URL, or one of a list, holds a user, a password or a token.
func hasUser(list string) bool {
	for part := range strings.SplitSeq(list, ",") {
		if u, err := url.Parse(strings.TrimSpace(part)); err == nil && u.User != nil {
			return true
		}
	}
	return false
}

// isWebURL reports whether s is an absolute http(s) URL.
func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Hostname() != "" && (u.Scheme == "https" || u.Scheme == "http")
}

// isLoopback reports whether a host name or address can only mean this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// loopbackAddress reports whether a host:port can be reached from this machine only.
func loopbackAddress(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && isLoopback(host)
}

// duration returns the short form of a time.Duration: 48h, not 48h0m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

package config

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/kefuhq/kefu/schema"
)

// rule is how the text of one key becomes the value of its field.
type rule struct {
	kind    string // of Key.Type
	allowed string // of Key.Allowed
	// set stores the value in the field, given by its pointer. It returns what is wrong with the
	// value as the end of a sentence: "is not within 1..64".
	set func(field any, raw string) string
	// show returns the value as an error may print it; nil prints it as it is. A rule whose values
	// may be secrets shows nothing.
	show func(raw string) string
	// secret marks a file that only the process should be able to read.
	secret bool
}

// complain returns the sentence about a value that was refused.
func (r rule) complain(raw, complaint string) string {
	if r.show != nil {
		raw = r.show(raw)
	}
	if raw == "" && r.show != nil {
		return "the value " + complaint
	}
	return fmt.Sprintf("%q %s", raw, complaint)
}

// hidden is for rules whose values are secrets, or could be secrets by mistake.
func hidden(string) string { return "" }

// number is a type whose values have bounds.
type number interface {
	int | int64 | float64 | time.Duration | Size
}

// between is a rule for numbers from lowest to highest, both included.
func between[T number](lowest, highest T) rule {
	allowed := fmt.Sprintf("%s..%s", format(lowest), format(highest))
	return rule{
		kind: kindOf(lowest), allowed: allowed,
		set: func(field any, raw string) string {
			// A row names both the field and the rule: a mismatch panics in every test.
			into := field.(*T)
			if complaint := parse(into, raw); complaint != "" {
				return complaint
			}
			if cmp.Compare(*into, lowest) < 0 || cmp.Compare(*into, highest) > 0 {
				return "is not within " + allowed
			}
			return ""
		},
	}
}

// oneOf is a rule for the given words.
func oneOf[T ~string](words ...T) rule {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = string(w)
	}
	allowed := strings.Join(list, ", ")
	return rule{
		kind: "choice", allowed: allowed,
		set: func(field any, raw string) string {
			*field.(*T) = T(raw)
			if !slices.Contains(list, raw) {
				return "is not one of " + allowed
			}
			return ""
		},
	}
}

// text is a rule for text that check has no complaint about.
func text(kind, allowed string, check func(raw string) string) rule {
	return rule{kind: kind, allowed: allowed, set: func(field any, raw string) string {
		*field.(*string) = raw
		return check(raw)
	}}
}

var boolean = rule{kind: "boolean", allowed: "true, false",
	set: func(field any, raw string) string {
		switch raw {
		case "true", "false":
			*field.(*bool) = raw == "true"
			return ""
		}
		return "is not one of true, false"
	}}

var token = rule{kind: "token", allowed: tokenForms, show: hidden,
	set: func(field any, raw string) string {
		source, err := ParseTokenSource(raw)
		*field.(*TokenSource) = source
		if err != nil {
			return "is not one of " + tokenForms
		}
		return ""
	}}

var address = text("address", "HOST:PORT", checkAddress)

var addressOrNone = text("address", "HOST:PORT", func(raw string) string {
	if raw == "" {
		return ""
	}
	return checkAddress(raw)
})

func checkAddress(raw string) string {
	_, port, err := net.SplitHostPort(raw)
	if err != nil {
		return "is not an address such as 127.0.0.1:8080"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return "has no port within 0..65535"
	}
	return ""
}

// web allows http too: whether http is permitted depends on the host and on wechat.allow_http,
// which checkTokenURL looks at.
var web = shown(RedactURL, text("url", "https://HOST", func(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || !isWebURL(raw) {
		return "is not a URL such as https://api.weixin.qq.com"
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "is more than scheme, host and path"
	}
	return ""
}))

var natsURL = shown(RedactURL,
	text("url", "embedded, nats://HOST:PORT, tls://HOST:PORT, ws://…, wss://…",
		func(raw string) string {
			if raw == Embedded {
				return ""
			}
			for part := range strings.SplitSeq(raw, ",") {
				u, err := url.Parse(strings.TrimSpace(part))
				if err != nil || u.Hostname() == "" ||
					!slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
					return "is not embedded and not an address such as nats://127.0.0.1:4222"
				}
			}
			return ""
		}))

var folder = text("folder", "a path", func(raw string) string {
	if raw == "" {
		return "is not a path"
	}
	return ""
})

var webOrigin = text("origin", "SCHEME://HOST", func(raw string) string {
	if raw == "" {
		return ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" ||
		raw != u.Scheme+"://"+u.Host {
		return "is not scheme and host such as https://kefu.example.com, with nothing behind"
	}
	return ""
})

var file = text("file", "a path", func(string) string { return "" })

var secretFile = func() rule {
	r := shown(hidden, text("file", "a path", notASecret))
	r.secret = true
	return r
}()

var variable = shown(hidden, text("text", "a variable's name", func(raw string) string {
	if complaint := notASecret(raw); complaint != "" {
		return complaint
	}
	if raw != "" && !variableName.MatchString(raw) {
		return "is not the name of an environment variable"
	}
	return ""
}))

var appid = text("text", "[A-Za-z0-9_-]{1,128}", func(raw string) string {
	if schema.CheckToken("appid", raw) != nil {
		return "is not 1 to 128 of the characters A-Z a-z 0-9 _ -"
	}
	return ""
})

var label = text("text", "1..64 characters", func(raw string) string {
	if !utf8.ValidString(raw) || utf8.RuneCountInString(raw) > 64 ||
		strings.ContainsFunc(raw, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "is not up to 64 printable characters"
	}
	return ""
})

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	looksSecret  = regexp.MustCompile(`^[0-9a-fA-F]{32}$`) // an AppSecret's form
)

// notASecret refuses an AppSecret given in place of the file or variable that holds it, before it
// is logged as a path.
func notASecret(raw string) string {
	if looksSecret.MatchString(raw) {
		return "looks like an AppSecret itself: put that into a file only kefu can read, and the " +
			"file's path here"
	}
	return ""
}

func shown(show func(string) string, r rule) rule {
	r.show = show
	return r
}

// parse stores the number that raw holds in into, a pointer. It returns what is wrong with raw.
func parse(into any, raw string) string {
	switch into := into.(type) {
	case *int:
		n, err := strconv.Atoi(plainDigits(raw))
		if err != nil {
			return "is not a whole number"
		}
		*into = n
	case *int64:
		n, err := strconv.ParseInt(plainDigits(raw), 10, 64)
		if err != nil {
			return "is not a whole number"
		}
		*into = n
	case *float64:
		x, err := strconv.ParseFloat(raw, 64)
		if err != nil || math.IsNaN(x) {
			return "is not a number"
		}
		*into = x
	case *time.Duration:
		d, err := time.ParseDuration(raw)
		if err != nil {
			return "is not a duration such as 30s, 10m or 48h"
		}
		*into = d
	case *Size:
		n, err := ParseSize(raw)
		if err != nil {
			return "is not a size such as 4GiB, 512MB or 1048576"
		}
		*into = n
	}
	return ""
}

// plainDigits removes the underscores of 5_000_000, which YAML 1.1 allows.
func plainDigits(raw string) string {
	if strings.HasPrefix(raw, "_") || strings.HasSuffix(raw, "_") || strings.Contains(raw, "__") {
		return raw
	}
	return strings.ReplaceAll(raw, "_", "")
}

// format returns a value as it would be written in the file.
func format(value any) string {
	switch v := value.(type) {
	case time.Duration:
		return duration(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

func kindOf(value any) string {
	switch value.(type) {
	case time.Duration:
		return "duration"
	case Size:
		return "size"
	case float64:
		return "number"
	default:
		return "integer"
	}
}

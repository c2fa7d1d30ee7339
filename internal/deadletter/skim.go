package deadletter

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kefuhq/kefu/schema"
)

// skim reads from a stored letter what filters, groups, tallies and lists look at: what it died of,
// whose it is, when it was published and died, whether it may have been sent, and how many attempts
// there were. All else stays empty, and strings share text's memory. That takes a quarter of the time of a full
// decode, and most looks at the box choose few of many letters.
//
// It reads letters in the form in which [Message] writes them, and returns false for everything
// else: what encoding/json might read otherwise must be read by it.
func skim(text string, l *schema.Letter) bool {
	*l = schema.Letter{}
	r := skimmer{text: text}
	r.object(letterFields, func(name, value string) bool {
		switch name {
		case "id":
			l.ID = plain(value)
		case "appid":
			l.AppID = plain(value)
		case "generation":
			return integer(value, &l.Generation)
		case "lane":
			l.Lane = schema.Lane(plain(value))
		case "campaign":
			l.Campaign = plain(value)
		case "openid":
			l.OpenID = plain(value)
		case "source":
			l.Source = plain(value)
		case "reason":
			l.Reason = schema.Reason(plain(value))
		case "detail":
			l.Detail = plain(value)
		case "errcode":
			l.Errcode = new(int)
			return integer(value, l.Errcode)
		case "errmsg":
			l.Errmsg = plain(value)
		case "attempts":
			l.Attempts = blankAttempts[:min(r.attempts, len(blankAttempts))]
			return r.attempts <= len(blankAttempts)
		case "possible_duplicate":
			l.PossibleDuplicate = value == "true"
		case "published_at":
			return moment(value, &l.PublishedAt)
		case "died_at":
			return moment(value, &l.DiedAt)
		}
		return true
	})
	return !r.odd && r.at == len(text) && l.ID != ""
}

// blankAttempts are the attempts of skimmed letters, of which only the number is known.
var blankAttempts [1000]schema.Attempt

// kind is what the value of a field looks like.
type kind uint8

const (
	aString kind = iota
	anInteger
	aCount // an integer of at least 0
	aNumber
	aBool
	aTime
	theHeaders
	theAttempts
)

// field is a field of a JSON object.
type field struct {
	name string
	kind kind
}

// letterFields are those of schema.Letter, in their order. Two are missing that few letters have:
// headers and bodies that are not UTF-8.
var letterFields = []field{
	{"id", aString}, {"appid", aString}, {"generation", anInteger}, {"lane", aString},
	{"campaign", aString}, {"openid", aString}, {"source", aString}, {"reason", aString},
	{"detail", aString}, {"errcode", anInteger}, {"errmsg", aString}, {"rid", aString},
	{"http_status", anInteger}, {"possible_duplicate", aBool}, {"attempts", theAttempts},
	{"subject", aString}, {"headers", theHeaders}, {"body", aString}, {"sequence", aCount},
	{"published_at", aTime}, {"first_at", aTime}, {"last_at", aTime}, {"died_at", aTime},
	{"worker", aString},
}

// attemptFields are those of schema.Attempt.
var attemptFields = []field{
	{"n", anInteger}, {"at", aTime}, {"ms", aNumber}, {"outcome", aString}, {"errcode", anInteger},
	{"errmsg", aString}, {"rid", aString}, {"http_status", anInteger}, {"worker", aString},
}

// skimmer reads JSON without white space. odd is set by the first thing that it does not expect,
// and then everything it returns means nothing.
type skimmer struct {
	text     string
	at       int
	odd      bool
	attempts int // that the last list of them tells of
}

// next tells whether a byte comes next, and steps over it.
func (r *skimmer) next(c byte) bool {
	if r.odd || r.at >= len(r.text) || r.text[r.at] != c {
		return false
	}
	r.at++
	return true
}

func (r *skimmer) expect(c byte) {
	if !r.next(c) {
		r.odd = true
	}
}

// object reads an object that has some of the fields, each at most once and in their order, and
// calls take for each.
func (r *skimmer) object(fields []field, take func(name, value string) bool) {
	r.expect('{')
	for first := true; !r.odd && !r.next('}'); first = false {
		if !first {
			r.expect(',')
		}
		name := r.string()
		for len(fields) > 0 && fields[0].name != name {
			fields = fields[1:]
		}
		r.expect(':')
		if r.odd || len(fields) == 0 {
			r.odd = true
			return
		}
		value := r.value(fields[0].kind)
		r.odd = r.odd || !take(name, value)
		fields = fields[1:]
	}
}

// list reads a list, and returns how many values it has.
func (r *skimmer) list(value func()) (n int) {
	r.expect('[')
	for ; !r.odd && !r.next(']'); n++ {
		if n > 0 {
			r.expect(',')
		}
		value()
	}
	return n
}

// value reads a value of a kind. It returns one that is a string, a number or a word.
func (r *skimmer) value(k kind) string {
	switch k {
	case aString:
		return r.string()
	case anInteger, aCount, aNumber:
		return r.number(k)
	case aBool:
		return r.word()
	case aTime:
		var at time.Time
		value := r.string()
		r.odd = r.odd || !moment(value, &at)
		return value
	case theHeaders:
		r.headers()
	case theAttempts:
		last := 0
		listed := r.list(func() {
			last = 0
			r.object(attemptFields, func(name, value string) bool {
				return name != "n" || integer(value, &last)
			})
		})
		r.attempts = max(listed, last) // as AttemptsOf
	}
	return ""
}

// headers reads lists by name. A name that comes twice is as good as one that comes once: nobody
// looks.
func (r *skimmer) headers() {
	r.expect('{')
	for first := true; !r.odd && !r.next('}'); first = false {
		if !first {
			r.expect(',')
		}
		r.string()
		r.expect(':')
		r.list(func() { r.string() })
	}
}

// string reads a string and returns what stands between its quotes.
func (r *skimmer) string() string {
	r.expect('"')
	for begin, at := r.at, r.at; !r.odd && at < len(r.text); at++ {
		c := r.text[at]
		if !special[c] {
			continue
		}
		r.at = at + 1
		switch c {
		case '"':
			return r.text[begin:at]
		case '\\':
			r.escape()
			at = r.at - 1
		default:
			r.odd = true
		}
	}
	r.odd = true
	return ""
}

// special are the bytes in a string that need a closer look.
var special = func() (is [256]bool) {
	for c := range 0x20 {
		is[c] = true
	}
	is['"'], is['\\'] = true, true
	return is
}()

// escape reads what follows a backslash.
func (r *skimmer) escape() {
	if r.at >= len(r.text) || !strings.ContainsRune(`"\/bfnrtu`, rune(r.text[r.at])) {
		r.odd = true
		return
	}
	r.at++
	if r.text[r.at-1] != 'u' {
		return
	}
	for range 4 {
		if r.at >= len(r.text) || !isHex(r.text[r.at]) {
			r.odd = true
			return
		}
		r.at++
	}
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// word reads true or false.
func (r *skimmer) word() string {
	for _, word := range []string{"true", "false"} {
		if strings.HasPrefix(r.text[r.at:], word) {
			r.at += len(word)
			return word
		}
	}
	r.odd = true
	return ""
}

// number reads a number without an exponent that surely fits.
func (r *skimmer) number(k kind) string {
	const mostDigits = 18
	begin := r.at
	if k != aCount {
		r.next('-')
	}
	whole := r.at
	r.digits()
	r.odd = r.odd || r.at-whole > mostDigits || r.at-whole > 1 && r.text[whole] == '0'
	if k == aNumber && r.next('.') {
		r.digits()
	}
	return r.text[begin:r.at]
}

// digits steps over at least one.
func (r *skimmer) digits() {
	begin := r.at
	for r.at < len(r.text) && '0' <= r.text[r.at] && r.text[r.at] <= '9' {
		r.at++
	}
	r.odd = r.odd || r.at == begin
}

// plain returns what a string means of which value is what stands between its quotes.
func plain(value string) (s string) {
	if !strings.Contains(value, `\`) && utf8.ValidString(value) {
		return value
	}
	_ = json.Unmarshal([]byte(`"`+value+`"`), &s) // string has read it
	return s
}

// integer reads a number that has digits only.
func integer(value string, n *int) (ok bool) {
	var err error
	*n, err = strconv.Atoi(value)
	return err == nil
}

// moment reads a time as encoding/json does.
func moment(value string, t *time.Time) (ok bool) { return t.UnmarshalText([]byte(value)) == nil }

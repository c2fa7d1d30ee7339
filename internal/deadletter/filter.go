package deadletter

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Filter chooses letters. Every field that is set must hold; a list holds when
// one of its values does. The zero Filter chooses all.
type Filter struct {
	AppID      string
	IDs        []string
	Reasons    []schema.Reason
	Errcodes   []int // of the last answer
	Lane       schema.Lane
	Campaign   string
	Source     string
	OpenID     string
	Generation int       // 0 for any
	Since      time.Time // died then or later
	Until      time.Time // died before then
	Text       string    // stands in detail or errmsg, in any letter case

	Group       string // fingerprint of what it died of: Group.ID
	MinAttempts int
}

// IsZero says whether the filter chooses everything: what changes much asks
// for that by name.
func (f Filter) IsZero() bool { return len(f.conditions(new(folded))) == 0 }

// Match says whether the filter chooses a letter.
func (f Filter) Match(l *schema.Letter) bool { return allHold(f.conditions(new(folded)), l) }

// Subject is the narrowest subject under which every letter lies that the
// filter can choose: the broker then sends no others. An appid or reason that
// is none leaves its place open, and Match refuses what comes.
func (f Filter) Subject() string {
	app, reason := wire.AnyToken, wire.AnyToken
	if f.AppID != "" && schema.CheckToken("appid", f.AppID) == nil {
		app = f.AppID
	}
	if len(f.Reasons) == 1 && schema.CheckToken("reason", string(f.Reasons[0])) == nil {
		reason = string(f.Reasons[0])
	}
	return wire.DeadFilter(app, reason)
}

// quickMatch returns a test on the stored bytes that lets pass all that the filter
// may choose: looking for one id in a million letters need not decode them.
func (f Filter) quickMatch() func(data []byte) bool {
	var names, codes [][]byte
	for _, id := range f.IDs {
		names = append(names, needle(id))
	}
	if len(names) == 0 && f.OpenID != "" {
		names = append(names, needle(f.OpenID))
	}
	for _, code := range f.Errcodes {
		codes = append(codes, strconv.AppendInt(nil, int64(code), 10))
	}
	return func(data []byte) bool { return containsAny(data, names) && containsAny(data, codes) }
}

// containsAny tells whether one of the needles stands in data. Without needles, or with many, which
// take longer to look for than a letter to read, it is true.
func containsAny(data []byte, needles [][]byte) bool {
	return len(needles) == 0 || len(needles) > mostLookUps ||
		slices.ContainsFunc(needles, func(n []byte) bool { return bytes.Contains(data, n) })
}

// needle is a string as it stands in a stored letter.
func needle(s string) []byte {
	b, _ := encode(s, len(s)+len(`""`)) // a string always can be
	return b
}

// Words returns the filter as the audit keeps it: "app=wx… reason=expired,unknown".
// Recipients appear under their pseudonyms, "#" before each. It returns "" for a
// filter that chooses everything.
func (f Filter) Words(p broker.Pseudonyms) string {
	var words []string
	for _, c := range f.conditions(new(folded)) {
		words = append(words, c.name+"="+c.value(func(openid string) string {
			return "#" + p.Of(openid)
		}))
	}
	return strings.Join(words, " ")
}

// summarize lists a few values and counts the rest.
func summarize(values []string) string {
	const most = 20
	if len(values) <= most {
		return strings.Join(values, ",")
	}
	return strings.Join(values[:most], ",") + " and " + strconv.Itoa(len(values)-most) + " more"
}

// openids is what an openid looks like: 28 characters, the first an o.
var openids = regexp.MustCompile(`\bo[A-Za-z0-9_-]{27}\b`)

// AttemptsOf is how many attempts were made of a letter. It may hold fewer: a worker that gives an
// intent back because its app is held, or that is lost, leaves their number, and not what came of
// them.
func AttemptsOf(l *schema.Letter) int {
	n := len(l.Attempts)
	if n == 0 {
		return 0
	}
	return max(n, l.Attempts[n-1].Number)
}

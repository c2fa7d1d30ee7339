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
func (f Filter) IsZero() bool {
	return f.words(func(string) string { return "#" }) == ""
}

// Match says whether the filter chooses a letter.
func (f Filter) Match(l *schema.Letter) bool { return f.match(l, nil) }

// match is Match with a memory for what letters died of.
func (f Filter) match(l *schema.Letter, known *folded) bool {
	switch {
	case f.AppID != "" && f.AppID != l.AppID,
		len(f.IDs) > 0 && !slices.Contains(f.IDs, l.ID),
		len(f.Reasons) > 0 && !slices.Contains(f.Reasons, l.Reason),
		len(f.Errcodes) > 0 && (l.Errcode == nil || !slices.Contains(f.Errcodes, *l.Errcode)),
		f.Lane != "" && f.Lane != l.Lane,
		f.Campaign != "" && f.Campaign != l.Campaign,
		f.Source != "" && f.Source != l.Source,
		f.OpenID != "" && f.OpenID != l.OpenID,
		f.Generation > 0 && f.Generation != l.Generation,
		len(l.Attempts) < f.MinAttempts,
		!f.Since.IsZero() && l.DiedAt.Before(f.Since),
		!f.Until.IsZero() && !l.DiedAt.Before(f.Until):
		return false
	}
	if f.Group != "" && f.Group != known.fingerprint(l).id() {
		return false
	}
	return f.Text == "" || contains(l.Detail, f.Text) || contains(l.Errmsg, f.Text)
}

func contains(s, part string) bool {
	return strings.Contains(strings.ToLower(s), strings.ToLower(part))
}

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
	return f.words(func(openid string) string { return "#" + p.Of(openid) })
}

func (f Filter) words(hashed func(string) string) string {
	var words []string
	add := func(name, value string) {
		if value != "" {
			words = append(words, name+"="+value)
		}
	}
	add("app", f.AppID)
	add("id", summarize(f.IDs))
	reasons := make([]string, len(f.Reasons))
	for i, r := range f.Reasons {
		reasons[i] = string(r)
	}
	add("reason", strings.Join(reasons, ","))
	codes := make([]string, len(f.Errcodes))
	for i, c := range f.Errcodes {
		codes[i] = strconv.Itoa(c)
	}
	add("errcode", strings.Join(codes, ","))
	add("lane", string(f.Lane))
	add("campaign", f.Campaign)
	add("source", f.Source)
	if f.OpenID != "" {
		add("openid", hashed(f.OpenID))
	}
	if f.Generation > 0 {
		add("generation", strconv.Itoa(f.Generation))
	}
	add("group", f.Group)
	if f.MinAttempts > 0 {
		add("min-attempts", strconv.Itoa(f.MinAttempts))
	}
	if !f.Since.IsZero() {
		add("since", f.Since.UTC().Format(time.RFC3339))
	}
	if !f.Until.IsZero() {
		add("until", f.Until.UTC().Format(time.RFC3339))
	}
	if f.Text != "" {
		add("text", strconv.Quote(openids.ReplaceAllStringFunc(f.Text, hashed)))
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

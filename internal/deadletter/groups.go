package deadletter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kefuhq/kefu/schema"
)

// Group is letters that died of the same thing: of one app, for one reason, with one
// errcode, and with words that differ in ids and numbers only.
type Group struct {
	ID      string        `json:"group"` // the fingerprint; chooses the letters in a Filter
	AppID   string        `json:"app"`
	Reason  schema.Reason `json:"reason"`
	Errcode *int          `json:"errcode"` // nil when there was no answer
	Errmsg  string        `json:"errmsg"`  // without what differs; of no answer the letters' detail

	Count      int       `json:"count"`
	LastHour   int       `json:"last_hour"`   // of them, died in the last hour
	HourBefore int       `json:"hour_before"` // and in the hour before that one
	First      time.Time `json:"first_at"`    // when the first of them died
	Last       time.Time `json:"last_at"`
	Example    string    `json:"example"` // the id of the newest

	// by somebody, since the newest of them died; nil when nobody looks after it
	Acknowledged *Acknowledgement `json:"acknowledged,omitempty"`
}

// mostGroups bounds what one look at the box keeps in memory. The errmsg of a group
// may quote what a producer chose.
const mostGroups = 5000

// otherWords stands for the words of letters beyond mostGroups.
const otherWords = "(other words)"

// Groups gathers the letters that the filter chooses by what they died of, the
// largest group first.
func (b *Box) Groups(ctx context.Context, filter Filter, now time.Time) ([]Group, error) {
	g := groups{now: now, known: make(map[fingerprint]*Group)}
	if err := b.skim(ctx, filter, func(i Item) error {
		g.add(&i.Letter)
		return nil
	}); err != nil {
		return nil, err
	}
	acknowledged, err := b.Acknowledged(ctx)
	if err != nil {
		return nil, err
	}
	return WithAcknowledged(g.sorted(), acknowledged), nil
}

// groups are gathered letter by letter.
type groups struct {
	now    time.Time
	known  map[fingerprint]*Group
	folded folded
}

func (g *groups) add(l *schema.Letter) {
	p := g.folded.fingerprint(l)
	group := g.known[p]
	if group == nil && len(g.known) >= mostGroups {
		p.words = otherWords
		group = g.known[p]
	}
	if group == nil {
		p = p.clone()
		group = &Group{ID: p.id(), AppID: p.app, Reason: p.reason, Errcode: l.Errcode,
			Errmsg: p.words, First: l.DiedAt}
		g.known[p] = group
	}
	group.Count++
	switch ago := g.now.Sub(l.DiedAt); {
	case ago < time.Hour:
		group.LastHour++
	case ago < 2*time.Hour:
		group.HourBefore++
	}
	if l.DiedAt.Before(group.First) {
		group.First = l.DiedAt
	}
	if !l.DiedAt.Before(group.Last) {
		group.Last, group.Example = l.DiedAt, strings.Clone(l.ID)
	}
}

func (g *groups) sorted() []Group {
	out := make([]Group, 0, len(g.known))
	for _, group := range g.known {
		out = append(out, *group)
	}
	slices.SortFunc(out, func(a, b Group) int {
		if a.Count != b.Count {
			return b.Count - a.Count
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// fingerprint is what the letters of a group have in common.
type fingerprint struct {
	app    string
	reason schema.Reason
	code   string // "" for none
	words  string
}

func fingerprintOf(l *schema.Letter) fingerprint { return (*folded)(nil).fingerprint(l) }

// fingerprint is fingerprintOf with a memory.
func (f *folded) fingerprint(l *schema.Letter) fingerprint {
	p := fingerprint{app: l.AppID, reason: l.Reason}
	if l.Errcode != nil {
		p.code = strconv.Itoa(*l.Errcode)
	}
	p.words = f.withoutIDs(l.Errmsg)
	if p.words == "" && l.Errcode == nil {
		p.words = f.withoutIDs(l.Detail)
	}
	return p
}

// clone returns a fingerprint that keeps no letter in memory.
func (p fingerprint) clone() fingerprint {
	return fingerprint{app: strings.Clone(p.app), reason: schema.Reason(strings.Clone(string(p.reason))),
		code: p.code, words: strings.Clone(p.words)}
}

// id is the fingerprint for people and scripts. It is the same in every box.
func (p fingerprint) id() string {
	sum := sha256.Sum256([]byte(strings.Join(
		[]string{p.app, string(p.reason), p.code, p.words}, "\x00")))
	return hex.EncodeToString(sum[:4])
}

// GroupOf returns the ID of the group that a letter is of.
func GroupOf(l *schema.Letter) string { return fingerprintOf(l).id() }

// IsGroup says whether a text can be the ID of a group.
func IsGroup(id string) bool { return groupID.MatchString(id) }

var groupID = regexp.MustCompile(`^[0-9a-f]{8}$`)

// differs matches what makes two errmsgs of one trouble differ: the rid, WeChat's
// hints in brackets, quoted text, openids and other words with a digit in them.
var differs = regexp.MustCompile(
	`(?i)\brid:\s*\S+|\bhints?:?\s*\[[^\]]*\]|"[^"]*"|\bo[A-Za-z0-9_-]{27}\b|[A-Za-z_-]*\d[A-Za-z0-9_.:-]*`)

// spaces matches white space that folding leaves behind.
var spaces = regexp.MustCompile(`\s+`)

// folded remembers what withoutIDs makes of texts: most letters died of what others died of. A nil
// one remembers nothing.
type folded struct{ known map[string]string }

// mostFolded bounds what is remembered.
const mostFolded = 1000

func (f *folded) withoutIDs(s string) string {
	s = withoutLastRID(s)
	if f == nil {
		return withoutIDs(s)
	}
	words, ok := f.known[s]
	if !ok {
		words = withoutIDs(s)
		if f.known == nil {
			f.known = make(map[string]string)
		}
		if len(f.known) < mostFolded {
			f.known[strings.Clone(s)] = strings.Clone(words)
		}
	}
	return words
}

// withoutLastRID cuts off the rid with which WeChat ends an errmsg, where withoutIDs would surely
// do the same: what it takes out before is not in the way.
func withoutLastRID(s string) string {
	const mark = " rid: "
	at := strings.LastIndex(s, mark)
	if at < 0 || strings.Contains(s[:at], `"`) ||
		strings.LastIndexByte(s[:at], '[') > strings.LastIndexByte(s[:at], ']') ||
		strings.Contains(strings.ToLower(s[:at]), "rid:") {
		return s
	}
	if rid := s[at+len(mark):]; rid == "" || strings.ContainsFunc(rid, unicode.IsSpace) {
		return s
	}
	return s[:at]
}

// withoutIDs is a text with "#" for numbers and names in it, and without what only
// tells one call from another.
func withoutIDs(s string) string {
	s = differs.ReplaceAllStringFunc(s, func(found string) string {
		lower := strings.ToLower(found)
		switch {
		case strings.HasPrefix(lower, "rid:"), strings.HasPrefix(lower, "hint"):
			return ""
		}
		return "#"
	})
	return strings.TrimSpace(spaces.ReplaceAllString(s, " "))
}

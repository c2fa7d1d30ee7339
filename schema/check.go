package schema

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits are the bounds that an app may set, because the API's differ with time and account. Zero
// fields mean the defaults.
type Limits struct {
	// Most articles of a news message, from 1; default 10. The API's page today says 1 (45008).
	NewsArticles int
	// Most bytes of UTF-8 of a text, from 1; default 2048 (45002).
	TextBytes int
	// Whether a video must have a thumb_media_id; default [PresenceRequired], as the API's page
	// says.
	VideoThumb Presence
	// What the app is; default [KindOfficialAccount].
	Kind AppKind
}

// Presence says whether a field must be there.
type Presence string

// What a [Presence] may be.
const (
	PresenceRequired Presence = "required"
	PresenceOptional Presence = "optional" // The API's older page has no thumb_media_id of a video.
)

// AppKind is the kind of account that an app is. Both send under the same path, but not the same
// messages.
type AppKind string

// The kinds of app.
const (
	KindOfficialAccount AppKind = "official"
	// It may also send a [Link], and a [MiniProgramPage] of its own without appid.
	KindMiniProgram AppKind = "miniprogram"
)

func (l Limits) withoutThumb() bool  { return l.VideoThumb == PresenceOptional }
func (l Limits) isMiniProgram() bool { return l.Kind == KindMiniProgram }

func (l Limits) withDefaults() Limits {
	if l.NewsArticles < 1 {
		l.NewsArticles = 10
	}
	if l.TextBytes < 1 {
		l.TextBytes = 2048
	}
	return l
}

// FieldError says which field breaks which rule, in words for the producer. It never holds the
// value: texts and openids stay out of errors and logs.
type FieldError struct {
	// Field is the JSON path ("news.articles[2].title"), "packet" for the packet as a whole, or the
	// name of a header or subject token.
	Field string `json:"field"`

	// Rule is what is wrong with it, as in "2049 bytes, at most 2048". Positions are offsets into
	// the packet, from 0.
	Rule string `json:"rule"`
}

// Error returns the field and the rule.
func (e *FieldError) Error() string { return e.Field + ": " + e.Rule }

// prefixed puts the name of the enclosing object in front of the field.
func (e *FieldError) prefixed(name string) *FieldError {
	switch {
	case e.Field == "" || e.Field[0] == '[':
		e.Field = name + e.Field
	default:
		e.Field = name + "." + e.Field
	}
	return e
}

// withDefaultField names the whole when the rule is about no field of it.
func (e *FieldError) withDefaultField(whole string) *FieldError {
	if e.Field == "" {
		e.Field = whole
	}
	return e
}

// A rule returns what is wrong with the value of a required field, "" when nothing is.
type rule func(value string, limits Limits) string

func notBlank(value string, _ Limits) string {
	if strings.TrimSpace(value) == "" {
		return "blank"
	}
	return ""
}

func textSize(value string, limits Limits) string {
	switch {
	case value == "":
		return "empty, at least 1 byte"
	case len(value) > limits.TextBytes:
		return fmt.Sprintf("%d bytes, at most %d", len(value), limits.TextBytes)
	}
	return ""
}

// kindRule returns what is wrong with a message of this msgtype from the app, "" when nothing is.
func kindRule(msgType string, limits Limits) string {
	if msgType == link && !limits.isMiniProgram() {
		return "link is a message of mini programs: if the app is one, say so (kind: miniprogram)"
	}
	return ""
}

// The API's pages print their examples with these in place of URLs. Whoever publishes the examples
// of a page as they stand, to see the thing work, must not be refused for it; no other value that
// is not a URL passes.
func musicURL(value string, _ Limits) string     { return absoluteURL(value, "MUSIC_URL") }
func linkURL(value string, _ Limits) string      { return absoluteURL(value, "URL") }
func linkThumbURL(value string, _ Limits) string { return absoluteURL(value, "THUMB_URL") }

// hqMusicURL also takes the musicurl's, which stands for a missing one.
func hqMusicURL(value string, _ Limits) string {
	return absoluteURL(value, "HQ_MUSIC_URL", "MUSIC_URL")
}

func absoluteURL(value string, placeholders ...string) string {
	if slices.Contains(placeholders, value) {
		return ""
	}
	if strings.TrimSpace(value) == "" {
		return "blank"
	}
	u, err := url.Parse(value) // Its error quotes the value: not for ours.
	if err != nil || u.Hostname() == "" || hasSpace(value) ||
		(u.Scheme != "http" && u.Scheme != "https") {
		return "must be an absolute http or https URL"
	}
	return ""
}

// kfAccount wants prefix@wechatid and leaves the letters of both to the API, which has widened them
// more than once.
func kfAccount(value string, _ Limits) string {
	if strings.TrimSpace(value) == "" {
		return "blank"
	}
	prefix, id, found := strings.Cut(value, "@")
	if !found || prefix == "" || id == "" || strings.Contains(id, "@") || hasSpace(value) {
		return "must be prefix@wechatid"
	}
	return ""
}

func hasSpace(s string) bool { return strings.ContainsFunc(s, unicode.IsSpace) }

// Check applies the rules of [Decode] to a packet built in Go, and those that only such a packet
// can break: valid UTF-8, no control characters, unknown fields in normal form, at most [MaxPacket]
// bytes when written. What passes, Decode accepts. The error is a [*FieldError].
func (p *Packet) Check(limits Limits) error {
	limits = limits.withDefaults()
	if err := p.check(limits, true); err != nil {
		return err
	}
	if err := checkExtra(p.Extra, 1, topLevel[:]); err != nil {
		return err.prefixed("packet")
	}
	if n := len(Encode(p)); n > MaxPacket {
		return tooLarge(n)
	}
	return nil
}

// check applies the rules to each known field. What comes from Decode needs less: it has read only
// clean strings and checked the entries of lists.
func (p *Packet) check(limits Limits, built bool) *FieldError {
	switch {
	case p.ToUser == "":
		return &FieldError{Field: "touser", Rule: "missing"}
	case !isToken(p.ToUser):
		return &FieldError{Field: "touser", Rule: tokenRule}
	case !p.hasBody():
		return &FieldError{Field: "msgtype", Rule: "missing"}
	}
	if rule := kindRule(p.Body.MsgType(), limits); rule != "" {
		return &FieldError{Field: msgType, Rule: rule}
	}
	if err := p.Body.form().check(limits, built, 2); err != nil {
		return err.prefixed(p.Body.MsgType())
	}
	if p.CustomService != nil {
		if err := p.CustomService.form().check(limits, built, 2); err != nil {
			return err.prefixed(customService)
		}
	}
	if p.AIMsgContext != nil {
		if err := p.AIMsgContext.form().check(limits, built, 2); err != nil {
			return err.prefixed(aiMsgContext)
		}
	}
	return nil
}

func (f form) check(limits Limits, built bool, depth int) *FieldError {
	for i := range f.fields {
		field := &f.fields[i]
		var err *FieldError
		switch {
		case field.str != nil:
			err = field.checkText(limits, built, f.empty.has(i))
		case field.list != nil:
			err = field.checkList(limits, built, depth+1)
		}
		if err != nil {
			return err.prefixed(field.name)
		}
	}
	if built {
		names := f.names()
		return checkExtra(*f.extra, depth, names[:])
	}
	return nil
}

func (f *field) checkText(limits Limits, built, given bool) *FieldError {
	value := *f.str
	if built {
		if rule := unclean(value); rule != "" {
			return &FieldError{Rule: rule}
		}
	}
	if f.rule == nil {
		return nil
	}
	if value == "" && !given {
		if f.mayBeMissing(limits) {
			return nil
		}
		return &FieldError{Rule: "missing"}
	}
	if rule := f.rule(value, limits); rule != "" {
		return &FieldError{Rule: rule}
	}
	return nil
}

func (f *field) checkList(limits Limits, built bool, depth int) *FieldError {
	n := f.list.len()
	if err := countRule(f.list, n, limits); err != nil || !built {
		return err
	}
	for i := range n {
		if err := f.list.at(i).check(limits, built, depth+1); err != nil {
			return err.prefixed(index(i))
		}
	}
	return nil
}

func countRule(l list, n int, limits Limits) *FieldError {
	most, noun := l.most(limits)
	switch {
	case n < 1:
		return &FieldError{Rule: "no " + noun + ", at least 1"}
	case n > most:
		return &FieldError{Rule: fmt.Sprintf("%d %s, at most %d", n, noun, most)}
	}
	return nil
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// unclean returns what is wrong with the characters of a string, "" when nothing is.
func unclean(s string) string {
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size < 2 {
				return "not valid UTF-8 at byte " + strconv.Itoa(i)
			}
		}
		if isForbidden(r) {
			return fmt.Sprintf("control character %U at byte %d", r, i)
		}
	}
	return ""
}

// checkExtra checks the unknown fields of an object at the given depth, where other names are
// known.
func checkExtra(extra []Member, depth int, known []string) *FieldError {
	var others siblings
	for i, member := range extra {
		rule := others.add(member.Name)
		for _, name := range known {
			if name != "" && strings.EqualFold(member.Name, name) {
				rule = "named as the known field " + strconv.Quote(name)
			}
		}
		if rule == "" {
			rule = unclean(member.Name)
		}
		if rule == "" {
			if normal, err := normalize(member.Value, depth+1); err != nil {
				rule = err.Rule
			} else if string(normal) != string(member.Value) {
				rule = "value not in normal form: use NewMember"
			}
		}
		if rule != "" {
			return &FieldError{Rule: "unknown field " + index(i) + ": " + rule}
		}
	}
	return nil
}

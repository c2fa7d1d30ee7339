package phone

import (
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kefuhq/kefu/internal/page"
)

// maxText is how much of a text is shown, in bytes: more than WeChat takes.
const maxText = 8 << 10

// span is a part of a text: words, a link, or an entry of a menu that stands in the text.
type span struct {
	Text string
	Href string // http or https; empty for words
	Note string // where a link leads that no browser opens
	Menu string // what a click says
	ID   string // of the entry
}

var (
	// anchor is the only markup that WeChat takes in a text.
	anchor = regexp.MustCompile(`(?is)<a\s([^<>]*)>(.*?)</a>`)
	target = regexp.MustCompile(`(?is)(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)')`)
)

// spansOf finds the links of a text. Everything else of it is words, whatever it looks like.
func spansOf(text string) []span {
	if len(text) > maxText {
		cut := maxText
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	var spans []span
	words := func(s string) {
		if s != "" {
			spans = append(spans, span{Text: page.Clean(s)})
		}
	}
	for {
		at := anchor.FindStringSubmatchIndex(text)
		if at == nil {
			words(text)
			return spans
		}
		link, ok := linkOf(text[at[2]:at[3]], text[at[4]:at[5]])
		if !ok {
			words(text[:at[1]])
		} else {
			words(text[:at[0]])
			spans = append(spans, link)
		}
		text = text[at[1]:]
	}
}

// linkOf reads the attributes of an anchor; false: it leads nowhere that WeChat would go.
func linkOf(attributes, text string) (span, bool) {
	found := target.FindStringSubmatch(attributes)
	if found == nil || strings.TrimSpace(text) == "" {
		return span{}, false
	}
	s := span{Text: page.Clean(text)}
	u, err := url.Parse(found[1] + found[2])
	if err != nil {
		return span{}, false
	}
	switch {
	case (u.Scheme == "http" || u.Scheme == "https") && u.Host != "":
		s.Href = u.String()
	case u.Scheme == "weixin" && u.Host == "bizmsgmenu":
		s.Menu, s.ID = u.Query().Get("msgmenucontent"), u.Query().Get("msgmenuid")
		s.Note = page.Clean(u.String())
	case u.Scheme == "weixin":
		s.Note = page.Clean(u.String())
	default:
		return span{}, false
	}
	return s, true
}

// short is the beginning of a text on one line.
func short(s string) string {
	const most = 60
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	s = strings.Join(strings.Fields(page.Clean(s)), " ")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// initial is what stands in the place of a picture.
func initial(name string) string {
	for _, r := range page.Clean(name) {
		return strings.ToUpper(string(r))
	}
	return "?"
}

func chatURL(app, openID string) string {
	return appURL(app) + "/" + url.PathEscape(openID)
}

func appURL(app string) string { return Path + "/" + url.PathEscape(app) }

func topic(app, openID string) string { return app + "/" + openID }

// clock is a moment to the minute, with its day when that is another one.
func clock(t time.Time) string {
	if t = t.Local(); t.Format(time.DateOnly) == time.Now().Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("01-02 15:04")
}

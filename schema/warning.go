package schema

import (
	"fmt"
	"strings"
	"unicode"
)

// Warning says what is doubtful about a valid packet: WeChat will take it, or may, and show
// something else than it says.
type Warning struct {
	// Field is the JSON path, as in [FieldError].
	Field string `json:"field"`

	// Text says what will become of the field. It never holds its value.
	Text string `json:"text"`
}

// Warnings lists what is doubtful about a packet that has passed [Decode] or [Packet.Check], in the
// order of its fields; nil when nothing is. No packet is refused for one.
func (p *Packet) Warnings() []Warning {
	if !p.hasBody() {
		return nil
	}
	warnings := p.Body.form().warnings(nil, p.Body.MsgType())
	if news, ok := p.Body.(*News); ok && len(news.Articles) > todaysArticles {
		warnings = append(warnings, Warning{
			Field: "news.articles",
			Text: fmt.Sprintf("%d articles: today's API takes %d and answers 45008 to more",
				len(news.Articles), todaysArticles),
		})
	}
	return warnings
}

// todaysArticles is how many articles the API's page allows today. Limits.NewsArticles may be more,
// since the page has changed.
const todaysArticles = 1

func (f form) warnings(dst []Warning, path string) []Warning {
	for i := range f.fields {
		field := &f.fields[i]
		name := path + "." + field.name
		if field.list != nil {
			for n := range field.list.len() {
				dst = field.list.at(n).warnings(dst, name+index(n))
			}
			continue
		}
		if field.doubt == nil {
			continue
		}
		if text := field.doubt(*field.str); text != "" {
			dst = append(dst, Warning{Field: name, Text: text})
		}
	}
	return dst
}

// A doubt returns what WeChat will make of a valid value that is not what it says, "" when nothing.
type doubt func(value string) string

// breaks is the doubt about all that people read. Escaped twice, a line break is no line break any
// more.
func breaks(value string) string {
	if strings.Contains(value, `\n`) {
		return `a backslash and an n, which users see as such: ` +
			`a line break is escaped once in JSON, "\n"`
	}
	return ""
}

func shownText(value string) string {
	invisible := func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }
	if value != "" && strings.TrimFunc(value, invisible) == "" {
		return "blanks only, which users do not see"
	}
	return breaks(value)
}

// menuID: WeChat ignores an id that is no number and tells the tap under one of its own, from 101
// on, as github.com/microsoft/BotFramework-WeChat pull request 48 found.
func menuID(value string) string {
	if strings.Trim(value, "0123456789") != "" {
		return "not a number: WeChat ignores it and numbers the entries itself, from 101"
	}
	return ""
}

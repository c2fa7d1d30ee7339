package phone

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wechat"
)

// message is one in a conversation, as it is shown.
type message struct {
	At      time.Time
	N       int            // its record; 0: of the user
	Action  sandbox.Action // of the user
	Kind    string         // the msgtype, or "raw" when it cannot be read
	Spans   []span
	Title   string
	About   string // description
	Media   string // media_id, or whatever names the thing
	Link    string // where a card leads, as text
	Cards   []card
	Entries []entry // of a menu
	Tail    []span  // of a menu
	Nick    string  // of the account that speaks
	Avatar  string  // URL of its picture

	Delivered bool
	Unknown   bool // delivered, and the sender was not told so
	Errcode   int
	Means     wechat.Code
	Fault     string
	Escaped   bool
}

// card is one of news.
type card struct{ Title, About, Link string }

// entry is one of a menu.
type entry struct{ ID, Text string }

// body is a message as it was sent. Whatever is not there, or of another kind, is empty.
type body map[string]any

func (b body) in(name string) body {
	inner, _ := b[name].(map[string]any)
	return inner
}

func (b body) list(name string) []body {
	var all []body
	items, _ := b[name].([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

func (b body) text(name string) string {
	switch v := b[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

func decode(text string) (body, bool) {
	var b body
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if d.Decode(&b) != nil {
		return nil, false
	}
	return b, true
}

// maxCards is how many news or entries of one message are shown.
const maxCards = 20

// messageOf reads a record.
func messageOf(r *sandbox.Record, accounts map[string]sandbox.KFAccount) message {
	m := message{
		At: r.At, N: r.N, Kind: r.MsgType, Delivered: r.Delivered, Errcode: r.Errcode,
		Fault: r.Fault, Escaped: r.Escaped,
	}
	m.Unknown = m.Delivered && (!r.Answered || r.Errcode != 0)
	if r.Errcode != 0 {
		m.Means = wechat.Explain(wechat.CallSend, r.Errcode)
	}
	b, ok := decode(r.Body)
	if !ok {
		m.Kind, m.Spans = "raw", []span{{Text: page.Clean(cut(r.Body))}}
		return m
	}
	if account := b.in("customservice").text("kf_account"); account != "" {
		m.Nick = account
		if a, known := accounts[account]; known {
			m.Nick = a.Nickname
			if len(a.Avatar) > 0 {
				m.Avatar = "/sandbox/kfaccounts/avatar?appid=" + url.QueryEscape(r.AppID) +
					"&kf_account=" + url.QueryEscape(account) + "&v=" + strconv.Itoa(len(a.Avatar))
			}
		}
	}
	m.read(b.in(r.MsgType), r)
	return m
}

// read takes what the message's own object says.
func (m *message) read(in body, r *sandbox.Record) {
	switch m.Kind {
	case "text":
		m.Spans = spansOf(in.text("content"))
	case "image", "voice", "mpnews":
		m.Media = in.text("media_id")
	case "video":
		m.Media, m.Title, m.About = in.text("media_id"), in.text("title"), in.text("description")
	case "music":
		m.Title, m.About, m.Link = in.text("title"), in.text("description"), in.text("musicurl")
	case "news":
		for _, a := range first(in.list("articles"), maxCards) {
			m.Cards = append(m.Cards,
				card{cut(a.text("title")), cut(a.text("description")), cut(a.text("url"))})
		}
	case "mpnewsarticle":
		m.Media = in.text("article_id")
	case "msgmenu":
		m.Spans, m.Tail = spansOf(in.text("head_content")), spansOf(in.text("tail_content"))
		for _, e := range first(in.list("list"), maxCards) {
			m.Entries = append(m.Entries, entry{cut(e.text("id")), cut(e.text("content"))})
		}
	case "wxcard":
		m.Media = in.text("card_id")
	case "miniprogrampage":
		m.Title, m.About, m.Link = in.text("title"), in.text("appid"), in.text("pagepath")
	case "link":
		m.Title, m.About, m.Link = in.text("title"), in.text("description"), in.text("url")
	default:
		m.Kind, m.Spans = "raw", []span{{Text: page.Clean(cut(r.Body))}}
	}
	m.Title, m.About = cut(m.Title), cut(m.About)
	m.Media, m.Link = cut(m.Media), cut(m.Link)
}

// cut bounds what is shown of a text.
func cut(s string) string {
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}

func first[T any](all []T, n int) []T { return all[:min(n, len(all))] }

// snippet is a message in the list of conversations.
func (m *message) snippet() string {
	var text strings.Builder
	for _, s := range m.Spans {
		text.WriteString(s.Text)
	}
	switch {
	case text.Len() > 0:
		return short(text.String())
	case m.Title != "":
		return short(m.Title)
	case len(m.Cards) > 0:
		return short(m.Cards[0].Title)
	case len(m.Entries) > 0:
		return short(m.Entries[0].Text)
	}
	return short(m.Media)
}

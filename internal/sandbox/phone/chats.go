package phone

import (
	"strconv"
	"strings"

	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/internal/sandbox"
)

const (
	chatsShown    = 30
	messagesShown = 40
	// searched is among how many of the last records a text is looked for.
	searched = 100_000
)

// chatsView is the list of conversations, and the one that is open.
type chatsView struct {
	AppID, Query string
	Lines        []chatLine
	Total        int
	Page         int
	Older, Newer string // URLs of the list's other pages
	Chat         *chatView
	Apps         []string
	BaseURL      string // of the API, as a setting of kefu
}

// chatLine is a conversation in the list.
type chatLine struct {
	AppID, OpenID string
	Last          message
	Says          string
	Mine          bool // the user's
	Reach         sandbox.Reach
	Current       bool
}

// chatView is a conversation.
type chatView struct {
	AppID, OpenID string
	Reach         sandbox.Reach
	Messages      []message
	Before        int // the page ends before this event; 0: it shows the latest
	Older         int // where the page before begins; 0: there is none
	Situations    []situation
	Command       string
}

func (p *Phone) chats(r *request) (answer, error) {
	v, err := p.list(r, r.PathValue("app"), "")
	if err != nil {
		return answer{}, err
	}
	title := r.T("Conversations")
	if v.AppID != "" {
		title = page.Clean(v.AppID)
	}
	return answer{template: "chats", title: title, body: v, live: true, search: v.Query}, nil
}

// list is the list of conversations, of one app or all.
func (p *Phone) list(r *request, appID, openID string) (chatsView, error) {
	v := chatsView{AppID: appID, Query: r.URL.Query().Get("q"), Page: 1,
		BaseURL: "KEFU_WECHAT_BASE_URL=" + baseURL(r)}
	if n := r.URL.Query().Get("page"); n != "" {
		var err error
		if v.Page, err = strconv.Atoi(n); err != nil || v.Page < 1 || v.Page > 1_000_000 {
			return v, badRequest(r.T("There is no such page of the list."))
		}
	}
	filter := appID
	if openID != "" {
		filter = "" // beside a conversation stand those of all apps
	}
	lines, total := p.book.list(p.wanted(filter, v.Query), (v.Page-1)*chatsShown, chatsShown)
	v.Total = total
	for _, l := range lines {
		v.Lines = append(v.Lines, p.line(l, l.key == key{appID, openID}))
	}
	self := Path
	if filter != "" {
		self = appURL(filter)
	}
	if openID == "" {
		link := func(n int) string {
			return self + "?q=" + escape(v.Query) + "&page=" + strconv.Itoa(n)
		}
		if v.Page > 1 {
			v.Newer = link(v.Page - 1)
		}
		if v.Page*chatsShown < total {
			v.Older = link(v.Page + 1)
		}
	}
	v.Apps = p.apps(lines)
	return v, nil
}

// wanted chooses conversations: of an app, and by a text in its openid or in what was sent to it.
func (p *Phone) wanted(appID, query string) func(key) bool {
	if query == "" {
		if appID == "" {
			return nil
		}
		return func(k key) bool { return k.app == appID }
	}
	said := map[key]bool{}
	for r := range p.box.Records(sandbox.Filter{Call: sandbox.CallSend, AppID: appID,
		Contains: query, Since: max(p.book.newest()-searched, 0)}) {
		said[key{r.AppID, r.OpenID}] = true
	}
	small := strings.ToLower(query)
	return func(k key) bool {
		return (appID == "" || k.app == appID) &&
			(said[k] || strings.Contains(strings.ToLower(k.openID), small) ||
				strings.Contains(strings.ToLower(k.app), small))
	}
}

func (p *Phone) line(l line, current bool) chatLine {
	c := chatLine{AppID: l.app, OpenID: l.openID, Current: current,
		Reach: p.box.Reach(l.app, l.openID)}
	c.Last, c.Mine = p.message(l.latest, nil), l.latest.act != nil
	c.Last.At = l.at
	c.Says = c.Last.snippet()
	return c
}

// message shows an event.
func (p *Phone) message(e event, accounts map[string]sandbox.KFAccount) message {
	if e.act != nil {
		m := message{At: e.act.at, Action: e.act.action}
		if e.act.text != "" {
			m.Spans = []span{{Text: page.Clean(cut(e.act.text))}}
		}
		return m
	}
	record, ok := p.box.Record(e.n)
	if !ok {
		return message{Kind: "forgotten", N: e.n}
	}
	return messageOf(&record, accounts)
}

// apps are those that somebody may be a user of: the known ones, and those in the list.
func (p *Phone) apps(lines []line) []string {
	all, seen := p.box.Apps(), map[string]bool{}
	for _, a := range all {
		seen[a] = true
	}
	for _, l := range lines {
		if !seen[l.app] {
			seen[l.app] = true
			all = append(all, l.app)
		}
	}
	return all
}

func (p *Phone) chat(r *request) (answer, error) {
	app, openID := r.PathValue("app"), r.PathValue("openid")
	v, err := p.list(r, app, openID)
	if err != nil {
		return answer{}, err
	}
	before := 0
	if b := r.URL.Query().Get("before"); b != "" {
		if before, err = strconv.Atoi(b); err != nil || before < 1 {
			return answer{}, badRequest(r.T("There is no such page of the conversation."))
		}
	}
	events, first, more := p.book.read(app, openID, before, messagesShown)
	c := &chatView{AppID: app, OpenID: openID, Reach: p.box.Reach(app, openID), Before: before,
		Situations: situationList}
	if more {
		c.Older = first
	}
	accounts := map[string]sandbox.KFAccount{}
	for _, a := range p.box.KFAccounts(app) {
		accounts[a.Account] = a
	}
	for _, e := range events {
		c.Messages = append(c.Messages, p.message(e, accounts))
	}
	v.Chat = c
	return answer{template: "chats", title: page.Clean(short(openID)), body: v, live: true,
		search: v.Query}, nil
}

// baseURL is where the browser finds the sandbox.
func baseURL(r *request) string {
	if r.TLS != nil {
		return "https://" + page.Clean(r.Host)
	}
	return "http://" + page.Clean(r.Host)
}

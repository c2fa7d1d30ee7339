package phone

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/plainjson"
	"github.com/kefuhq/kefu/internal/sandbox"
)

// situation is something that happens to sends, with a name.
type situation struct {
	ID   string
	Text string // English; translated where it is shown
	rule sandbox.Rule
}

var situationList = []situation{
	{"quota", "Quota used up today (45009)", sandbox.Rule{Errcode: 45009}},
	{"minute", "Too often this minute (45011)", sandbox.Rule{Errcode: 45011}},
	{"busy", "API busy (-1)", sandbox.Rule{Errcode: -1}},
	{"token", "Access token expired (42001)", sandbox.Rule{Errcode: 42001}},
	{"refreshed", "Token refreshed by somebody else (40001)", sandbox.Rule{ExpireTokens: true}},
	{"window", "Reply window closed (45015)", sandbox.Rule{Errcode: 45015}},
	{"allowance", "Allowance used up (45047)", sandbox.Rule{Errcode: 45047}},
	{"follower", "The user does not follow (43004)", sandbox.Rule{Errcode: 43004}},
	// WeChat looks at the address when a token is fetched.
	{"ip", "IP not on the allow list (40164)", sandbox.Rule{Call: sandbox.CallToken, Errcode: 40164}},
	{"forbidden", "API not granted to the app (48001)", sandbox.Rule{Errcode: 48001}},
	{"lost-after", "Answer lost after it was sent",
		sandbox.Rule{Reset: sandbox.ResetAfter}},
	{"lost-before", "Connection lost before it was sent",
		sandbox.Rule{Reset: sandbox.ResetBefore}},
	{"slow", "Slow answers (2 to 6 s)", sandbox.Rule{Delay: 2 * time.Second,
		DelayMax: 6 * time.Second}},
	{"hang", "No answer at all", sandbox.Rule{Hang: true}},
	{"gateway", "HTTP 502 from a gateway", sandbox.Rule{HTTPStatus: 502}},
	{"html", "A web page in place of an answer", sandbox.Rule{HTTPStatus: 200,
		Body: "<html>bad gateway</html>", ContentType: "text/html"}},
}

// situationsView is the page of what is scripted.
type situationsView struct {
	Situations    []situation
	AppID, OpenID string
	Chosen        string
	Rules         []ruleLine
	Settings      []choice
	Now, Ahead    string
}

// ruleLine is a rule of the script.
type ruleLine struct {
	sandbox.RuleStatus
	Text  string // of its situation; empty: it has none
	JSON  string
	Spent bool // it has acted as often as it may
}

// choice is one of the settings that have a name.
type choice struct {
	ID, Text string
	Current  bool
}

func (p *Phone) situations(r *request) (answer, error) {
	q := r.URL.Query()
	v := situationsView{
		Situations: situationList, AppID: q.Get("app"), OpenID: q.Get("openid"),
		Chosen: q.Get("situation"), Now: p.box.Now().Local().Format(time.DateTime),
	}
	for _, s := range p.box.Rules() {
		v.Rules = append(v.Rules, ruleLineOf(s))
	}
	v.Settings = p.choices()
	if ahead := time.Until(p.box.Now()).Round(time.Second); ahead > 0 {
		v.Ahead = r.Took(ahead)
	}
	return answer{template: "situations", title: r.T("Situations"), body: v, live: true}, nil
}

// ruleLineOf names a rule by what it does, whomever it is about.
func ruleLineOf(s sandbox.RuleStatus) ruleLine {
	l := ruleLine{RuleStatus: s, Spent: s.Rule.Times > 0 && s.Hits >= s.Rule.Times}
	if text, err := plainjson.Marshal(s.Rule); err == nil {
		l.JSON = cut(string(text))
	}
	does := s.Rule
	if does.Call == sandbox.CallSend {
		does.Call = ""
	}
	does.AppID, does.OpenID, does.Times, does.Share = "", "", 0, 0
	for _, known := range situationList {
		if fmt.Sprint(does) == fmt.Sprint(known.rule) {
			l.Text = known.Text
		}
	}
	return l
}

// addSituation puts a situation into the script.
func (p *Phone) addSituation(r *request) (answer, error) {
	i := slices.IndexFunc(situationList, func(s situation) bool {
		return s.ID == r.PostFormValue("situation")
	})
	if i < 0 {
		return answer{}, badRequest(r.T("There is no such situation."))
	}
	rule := situationList[i].rule
	rule.AppID = strings.TrimSpace(r.PostFormValue("app"))
	if rule.Call == "" {
		rule.Call = sandbox.CallSend
		rule.OpenID = strings.TrimSpace(r.PostFormValue("openid"))
	} // else it is of calls that name nobody
	var err error
	if rule.Times, err = number(r, "times", 0, 1_000_000); err != nil {
		return answer{}, err
	}
	share, err := number(r, "share", 1, 100)
	if err != nil {
		return answer{}, err
	}
	if share > 0 && share < 100 {
		rule.Share = float64(share) / 100
	}
	if err := rule.Check(); err != nil {
		return answer{}, badRequest(err.Error())
	}
	p.box.Add(rule)
	if rule.Call == sandbox.CallToken { // the next send has to fetch one
		p.box.ExpireTokens(slices.DeleteFunc([]string{rule.AppID}, func(id string) bool { return id == "" })...)
	}
	if r.PostFormValue("back") == "chat" && rule.AppID != "" && rule.OpenID != "" {
		return answer{to: chatURL(rule.AppID, rule.OpenID) + "?did=added"}, nil
	}
	return answer{to: Path + "/situations?did=added"}, nil
}

// number reads a field that may be empty, which is 0.
func number(r *request, name string, least, most int) (int, error) {
	text := strings.TrimSpace(r.PostFormValue(name))
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, badRequest(r.T("%s must be a whole number from %d to %d.", name, least, most))
	}
	return n, nil
}

// removeSituation takes a rule out of the script, or all.
func (p *Phone) removeSituation(r *request) (answer, error) {
	if id := r.PostFormValue("id"); id == "all" {
		p.box.RemoveRules()
	} else if n, err := strconv.Atoi(id); err != nil || !p.box.Remove(n) {
		return answer{}, badRequest(r.T("It is gone already."))
	}
	return answer{to: Path + "/situations?did=removed"}, nil
}

// choices are the settings with names, and the lenient ones.
func (p *Phone) choices() []choice {
	now := fmt.Sprint(settingsJSON(p.box.Settings()))
	all := []choice{
		{ID: "lenient", Text: "Lenient: everybody may be written to"},
		{ID: sandbox.LikeToday, Text: "As strict as WeChat today: " +
			"5 messages within 48 hours of the user's, content, quotas"},
		{ID: sandbox.LikeDocument, Text: "As the older document says: " +
			"as many messages as wanted within 48 hours"},
	}
	for i := range all {
		set, _ := sandbox.Like(all[i].ID)
		all[i].Current = settingsJSON(set) == now
	}
	return all
}

func settingsJSON(s sandbox.Settings) string {
	text, _ := plainjson.Marshal(s) // it is a struct of ours
	return string(text)
}

func (p *Phone) changeSettings(r *request) (answer, error) {
	name := r.PostFormValue("like")
	set, known := sandbox.Like(name)
	if !known && name != "lenient" {
		return answer{}, badRequest(r.T("There are no such settings."))
	}
	p.box.Configure(set)
	return answer{to: Path + "/situations?did=settings"}, nil
}

// forward puts the clock forward, which closes windows.
func (p *Phone) forward(r *request) (answer, error) {
	by := map[string]time.Duration{"1m": time.Minute, "1h": time.Hour, "24h": 24 * time.Hour,
		"48h": 48 * time.Hour}[r.PostFormValue("by")]
	if by == 0 {
		return answer{}, badRequest(
			r.T("The clock goes forward by a minute, an hour, a day or two."))
	}
	p.box.Advance(by)
	return answer{to: Path + "/situations?did=clock"}, nil
}

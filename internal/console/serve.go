package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/schema"
)

// patience is how long a page may take to be read from the broker.
const patience = 20 * time.Second

// request is what a page is asked.
type request struct {
	*http.Request
	page.Printer
	by     string // who asks, for the audit; empty when nobody signed in
	canAct bool
	client string // address, for counting failures to sign in
	secure bool   // the browser uses HTTPS
	w      http.ResponseWriter
}

// answer is a page, or where to look next.
type answer struct {
	template string
	title    string
	status   int // 0: 200
	body     any
	notice   *page.Notice
	live     bool   // the page changes by itself
	to       string // look there instead
}

// refusal is an error that says what is wrong with a request.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

// bad refuses a request; the text, in the reader's language, says what is wrong and what to do.
func (r *request) bad(english string, args ...any) error {
	return refusal{http.StatusBadRequest, r.T(english, args...)}
}

// missing says that what a request names is not there.
func (r *request) missing(english string, args ...any) error {
	return refusal{http.StatusNotFound, r.T(english, args...)}
}

func notFound(_ *Console, r *request) (answer, error) {
	return answer{}, r.missing("There is no page %s.", page.Clean(r.URL.Path))
}

// serve answers a route.
func (c *Console) serve(rt route) http.Handler {
	return c.withSession(rt.needs, func(w http.ResponseWriter, hr *http.Request) {
		ctx, cancel := context.WithTimeout(hr.Context(), patience)
		defer cancel()
		r := c.newRequest(w, hr.WithContext(ctx))
		a, err := rt.handle(c, r)
		if err != nil {
			a = c.failed(r, err)
		}
		if a.to != "" {
			http.Redirect(w, hr, a.to, http.StatusSeeOther)
			return
		}
		c.render(w, r, a)
	})
}

func (c *Console) newRequest(w http.ResponseWriter, hr *http.Request) *request {
	who := c.who(hr)
	return &request{
		Request: hr, Printer: c.site.Printer(hr), by: who.name, canAct: who.canAct,
		client: clientOf(hr), secure: c.secure(hr), w: w,
	}
}

// failed turns an error into a page.
func (c *Console) failed(r *request, err error) answer {
	status, text := http.StatusBadGateway, err.Error()
	var no refusal
	switch {
	case errors.As(err, &no):
		status = no.status
	case errors.Is(err, context.DeadlineExceeded):
		text = r.T("The broker did not answer within %s.", r.Took(patience))
	}
	if status >= http.StatusInternalServerError && r.Context().Err() == nil {
		c.Log.Warn("a page of the console failed", "page", r.Pattern, "err", err)
	}
	return answer{template: "failed", title: r.T("Not shown"), status: status, body: text}
}

// render shows a page in the shell.
func (c *Console) render(w http.ResponseWriter, r *request, a answer) {
	f := page.Frame{
		Product: "kefu", Title: a.title, Home: "/", Notice: a.notice, Body: a.body,
	}
	if f.Notice == nil {
		f.Notice = noticeOf(r)
	}
	if a.live {
		f.Live = "/live"
	}
	if c.mayRead(r.Request) {
		f.Summary = c.summary(r)
		f.Search = &page.Search{Action: "/find", Name: "q", Hint: r.T("Find by id or openid")}
		for _, p := range pages {
			f.Nav = append(f.Nav, page.Link{
				Text: r.T(p.text), Href: p.path, Key: p.key, Current: within(r.URL.Path, p.path),
			})
		}
		if c.Token != nil {
			f.Actions = append(f.Actions, page.Link{
				Text: r.T("Sign out"), Href: "/logout", Post: true,
			})
		}
	}
	status := a.status
	if status == 0 {
		status = http.StatusOK
	}
	c.site.Render(w, r.Request, status, a.template, f)
}

// within says whether a path is that of a page of the navigation or below it.
func within(path, nav string) bool {
	return path == nav || nav != "/" && strings.HasPrefix(path, nav+"/")
}

// notices are what a page says after something was done; the URL names one of them in "did".
var notices = map[string]page.Notice{
	"signed-in":          {Level: "good", Text: "You are signed in."},
	"paused":             {Level: "good", Text: "The app is held: nothing more of it is sent until it is resumed."},
	"resumed":            {Level: "good", Text: "The holds of the app are lifted."},
	"probing":            {Level: "good", Text: "The workers try the app now; what comes of it shows here."},
	"campaign-paused":    {Level: "good", Text: "The campaign is paused."},
	"campaign-resumed":   {Level: "good", Text: "The campaign goes on."},
	"campaign-cancelled": {Level: "good", Text: "The campaign is cancelled: nothing more of it is sent."},
	"not-changed":        {Level: "warn", Text: "Nothing was changed: it has ended or is fed to its end."},
	"acknowledged":       {Level: "good", Text: "The group is acknowledged until another letter dies of the same."},
	"reopened":           {Level: "good", Text: "The group is open again."},
	"discarded":          {Level: "good", Text: "The letters are discarded."},
	"ordered":            {Level: "good", Text: "The workers carry it out; this page may be left."},
	"job-paused":         {Level: "good", Text: "The replay is paused."},
	"job-resumed":        {Level: "good", Text: "The replay goes on."},
	"job-aborted":        {Level: "good", Text: "The replay ends; what it has queued is sent."},
	"not-held":           {Level: "warn", Text: "The app is not held."},
	"withdrawn":          {Level: "good", Text: "It is withdrawn and will not be sent."},
	"too-late":           {Level: "warn", Text: "It is too late: the message has ended already."},
}

func noticeOf(r *request) *page.Notice {
	n, ok := notices[r.URL.Query().Get("did")]
	if !ok {
		return nil
	}
	n.Text = r.T(n.Text)
	return &n
}

// did returns where to look after something was done.
func did(path, notice string) answer {
	u, err := url.Parse(path)
	if err != nil {
		return answer{to: "/"}
	}
	q := u.Query()
	q.Set("did", notice)
	u.RawQuery = q.Encode()
	return answer{to: u.String()}
}

// maxParameter is how many bytes of a parameter are read.
const maxParameter = 2048

// text returns a parameter of the URL or of a form, without white space around it.
func (r *request) text(name string) (string, error) {
	v := strings.TrimSpace(r.FormValue(name))
	if len(v) > maxParameter {
		return "", r.bad("%s is too long.", name)
	}
	if strings.IndexFunc(v, unseen) >= 0 {
		return "", r.bad("%s has characters that cannot be seen.", name)
	}
	return v, nil
}

// unseen says whether a character is a control that no text needs.
func unseen(c rune) bool { return unicode.IsControl(c) && !strings.ContainsRune("\n\r\t", c) }

// number returns a parameter that is a whole number within a range, or what it is without one.
func (r *request) number(name string, without, least, most int) (int, error) {
	v, err := r.text(name)
	if err != nil || v == "" {
		return without, err
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return 0, r.bad("%s must be a whole number from %d to %d.", name, least, most)
	}
	return n, nil
}

// app returns a parameter that names an app; "" when there is none.
func (r *request) app(name string) (string, error) {
	v, err := r.text(name)
	if err != nil || v == "" {
		return "", err
	}
	if schema.CheckToken("appid", v) != nil {
		return "", r.bad("%s is no appid.", page.Clean(v))
	}
	return v, nil
}

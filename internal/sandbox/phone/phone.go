// Package phone is the sandbox's own web page: what each recipient has received, as a chat would
// show it, and what a user can do in answer. It also scripts the sandbox, by situations with names.
//
// A conversation has a URL of its own: /phone/{appid}/{openid}. Everything that changes something
// is a form sent by POST, so that the page works without script; with script it shows what happens
// as it happens.
//
// What is shown comes from whoever can reach the sandbox, and is hostile. No picture, page or
// script is ever loaded from elsewhere.
package phone

import (
	"embed"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"time"

	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/internal/sandbox"
)

//go:embed all:templates lang assets
var files embed.FS

// Path is where the phone is on its sandbox.
const Path = "/phone"

// maxForm is how long a form may be, in bytes.
const maxForm = 64 << 10

// typingGone is how long after a call of typing the pages look again, when its sign is gone.
const typingGone = 16 * time.Second

// Phone is the page. It is the sandbox's [sandbox.Pages].
type Phone struct {
	box     *sandbox.Sandbox
	book    *book
	hub     *page.Hub
	site    *page.Site
	handler http.Handler
}

// Attach gives a sandbox that does not serve yet its phone. The sandbox closes it.
func Attach(box *sandbox.Sandbox) {
	p := &Phone{
		box: box, book: newBook(), hub: page.NewHub(),
		site: page.MustNew(page.Files{
			Templates: sub("templates"), Texts: sub("lang"), Assets: sub("assets"),
			Functions: template.FuncMap{
				"chatURL": chatURL, "appURL": appURL, "short": short, "clock": clock,
				"initial": initial,
			},
		}),
	}
	p.handler = p.routes()
	box.Attach(p)
}

// Happened takes down what happened and has open pages look again.
func (p *Phone) Happened(e sandbox.Event) {
	switch e.Kind {
	case sandbox.Called:
		if e.AppID == "" || e.OpenID == "" {
			return
		}
		switch e.Call {
		case sandbox.CallSend:
			p.book.add(e.AppID, e.OpenID, event{n: e.N}, e.At, e.N-sandbox.DefaultKeep)
		case sandbox.CallTyping:
			time.AfterFunc(typingGone, func() { p.hub.Changed(topic(e.AppID, e.OpenID)) })
		default:
			return
		}
		p.hub.Changed(topic(e.AppID, e.OpenID))
	case sandbox.Acted:
		p.book.add(e.AppID, e.OpenID, event{act: &deed{e.At, e.Action, e.Text}}, e.At, 0)
		p.hub.Changed(topic(e.AppID, e.OpenID))
	case sandbox.Forgot:
		p.book.clear()
		p.hub.Changed("")
	case sandbox.Changed:
		p.hub.Changed("")
	}
}

// ServeHTTP answers below /phone, /assets/ and /preferences.
func (p *Phone) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Close ends the streams of open pages.
func (p *Phone) Close() { p.hub.Close() }

func (p *Phone) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*request) (answer, error){
		"GET /phone":                      p.chats,
		"GET /phone/{app}":                p.chats,
		"GET /phone/{app}/{openid}":       p.chat,
		"POST /phone/{app}/{openid}/act":  p.act,
		"POST /phone/users":               p.newUser,
		"GET /phone/situations":           p.situations,
		"POST /phone/situations":          p.addSituation,
		"POST /phone/situations/remove":   p.removeSituation,
		"POST /phone/situations/settings": p.changeSettings,
		"POST /phone/situations/clock":    p.forward,
		"/":                               notFound,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			p.serve(w, r, handle)
		})
	}
	mux.HandleFunc("GET /phone/{$}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, Path, http.StatusSeeOther)
	})
	mux.Handle("GET /phone/live", p.hub)
	mux.Handle("GET /assets/", p.site.Assets())
	mux.HandleFunc("POST /preferences", page.Preferences)
	return mux
}

// request is what a page is asked.
type request struct {
	*http.Request
	page.Printer
}

// answer is a page, or where to look next.
type answer struct {
	template, title string
	status          int // 0: 200
	search          string
	body            any
	live            bool
	to              string // look there instead
}

// refusal is an error that says what is wrong with a request.
type refusal struct {
	status int
	text   string
}

func (r refusal) Error() string { return r.text }

func badRequest(text string) error { return refusal{http.StatusBadRequest, text} }

func notFound(r *request) (answer, error) {
	return answer{}, refusal{http.StatusNotFound, r.T("There is no such page.")}
}

func (p *Phone) serve(
	w http.ResponseWriter, hr *http.Request, handle func(*request) (answer, error),
) {
	hr.Body = http.MaxBytesReader(w, hr.Body, maxForm)
	r := &request{Request: hr, Printer: p.site.Printer(hr)}
	var a answer
	err := hr.ParseForm()
	if err != nil {
		err = badRequest(r.T("The form cannot be read: it is too long or broken."))
	} else {
		a, err = handle(r)
	}
	if err != nil {
		a = answer{template: "failed", title: r.T("Not done"), body: page.Clean(err.Error()),
			status: http.StatusInternalServerError}
		if no := (refusal{}); errors.As(err, &no) {
			a.status = no.status
		}
	}
	if a.to != "" {
		http.Redirect(w, hr, a.to, http.StatusSeeOther)
		return
	}
	p.render(w, r, a)
}

func (p *Phone) render(w http.ResponseWriter, r *request, a answer) {
	path, rules := r.URL.Path, p.box.Rules()
	f := page.Frame{
		Product: r.T("kefu phone"), Title: a.title, Home: Path, Body: a.body,
		Nav: []page.Link{
			{Text: r.T("Conversations"), Href: Path, Key: "c",
				Current: path != Path+"/situations" && a.template != "failed"},
			{Text: r.T("Situations"), Href: Path + "/situations", Key: "s",
				Count: len(rules), Current: path == Path+"/situations"},
		},
		Search: &page.Search{Action: Path, Name: "q", Value: a.search,
			Hint: r.T("Find an openid or a text")},
		Notice: noticeOf(r),
	}
	if a.live {
		f.Live = Path + "/live"
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	p.site.Render(w, r.Request, a.status, a.template, f)
}

// notices say what came of a form, by the parameter "did" of the page that it leads to.
func noticeOf(r *request) *page.Notice {
	text := ""
	switch r.URL.Query().Get("did") {
	case "added":
		text = r.T("It is scripted: the next calls that it is about meet it.")
	case "removed":
		text = r.T("It is taken back.")
	case "settings":
		text = r.T("The settings hold from now on.")
	case "clock":
		text = r.T("The sandbox's clock was put forward.")
	default:
		return nil
	}
	return &page.Notice{Level: "good", Text: text}
}

func sub(name string) fs.FS {
	f, err := fs.Sub(files, name)
	if err != nil {
		panic(err) // a folder of the program itself
	}
	return f
}

// Package page is what kefu's web pages have in common, those of the operators' console and that of
// the sandbox's phone: the shell around a page, its two languages, what a browser may do with it
// (Guard), and how it stays up to date (Hub and assets/live.js).
//
// A page is rendered on the server by html/template, into memory first, so that an error is a clean
// answer. It works without script. With script, it fetches itself when the Hub says that something
// changed, and the elements marked data-live are changed to what was fetched.
//
//	site := page.MustNew(page.Files{Templates: files, Texts: texts})
//	site.Render(w, r, http.StatusOK, "overview", page.Frame{Title: "Overview", Body: view})
//
// What is shown comes from producers, users and the API, and is hostile: nothing here, and no
// template of a page, uses template.HTML or its relatives.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets templates lang
var own embed.FS

// Files are the templates and texts of one set of pages.
type Files struct {
	// Templates holds *.html. Each file is a page named as the file is and defines "main", which
	// is given a *View. Those whose names begin with an underscore are shared by all pages.
	Templates fs.FS
	Texts     fs.FS // *.zh.json: English text → Chinese text
	Assets    fs.FS // served beside those of this package; may be nil
	Functions template.FuncMap
	// Failed is told of a page that could not be rendered, which is a mistake of the program; nil:
	// nobody is. The error may quote what the page shows.
	Failed func(name string, err error)
}

// Site renders a set of pages.
type Site struct {
	pages  map[string]*template.Template
	texts  texts
	assets http.Handler
	styles []string // further stylesheets
	failed func(name string, err error)
}

// MustNew reads the files of a site, which are part of the program: it panics if one of them
// cannot be used.
func MustNew(f Files) *Site {
	s, err := newSite(f)
	if err != nil {
		panic("page: " + err.Error())
	}
	return s
}

func newSite(f Files) (*Site, error) {
	s := &Site{pages: make(map[string]*template.Template), failed: f.Failed}
	var err error
	if s.texts, err = readTexts(own, f.Texts); err != nil {
		return nil, err
	}
	base := template.New("").Option("missingkey=error").Funcs(functions()).Funcs(f.Functions)
	if base, err = base.ParseFS(own, "templates/*.html"); err != nil {
		return nil, err
	}
	names, err := fs.Glob(f.Templates, "*.html")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if strings.HasPrefix(name, "_") {
			if base, err = base.ParseFS(f.Templates, name); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range names {
		if strings.HasPrefix(name, "_") {
			continue
		}
		t, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if t, err = t.ParseFS(f.Templates, name); err != nil {
			return nil, err
		}
		s.pages[strings.TrimSuffix(name, ".html")] = t
	}
	return s, s.addAssets(f.Assets)
}

// Frame is a page and what the shell shows around it.
type Frame struct {
	Product string // which set of pages this is
	Title   string
	Home    string // where the product's name leads
	Nav     []Link
	Summary []Number // a bar of figures below the navigation
	Search  *Search  // nil: none
	Actions []Link   // at the right of the navigation, such as signing out
	Notice  *Notice
	Live    string // URL of the Hub; empty: the page does not change by itself
	Body    any
}

// Link leads to a page. One with Post changes something.
type Link struct {
	Text    string
	Href    string
	Current bool
	Count   int // shown beside it; 0: nothing is shown
	Post    bool
	Key     string // leads there after "g"; may be empty
}

// Number is a figure in the bar.
type Number struct {
	Text  string
	Value string
	Href  string
	Level string // "", "warn" or "bad"
}

// Search is the box that is always there.
type Search struct {
	Action, Name, Value, Hint string
}

// Notice says what came of what somebody did.
type Notice struct {
	Level string // "good", "warn" or "bad"
	Text  string
}

// View is what a template is given. Its T puts a text into the reader's language.
type View struct {
	Frame
	Printer
	Path  string // of this page, with its query
	Theme string // light, dark or empty, for what the system says
	Now   time.Time
	Style []string
}

// Render answers with a page. A page that was not changed since the browser fetched it is answered
// by 304. f.Body is given to the template as .Body.
func (s *Site) Render(w http.ResponseWriter, r *http.Request, status int, name string, f Frame) {
	v := &View{
		Frame: f, Printer: s.Printer(r), Path: r.URL.RequestURI(), Theme: theme(r),
		Now: time.Now(), Style: s.styles,
	}
	t, ok := s.pages[name]
	if !ok {
		panic(fmt.Sprintf("page: no template %q", name))
	}
	var out bytes.Buffer
	if err := t.ExecuteTemplate(&out, "shell", v); err != nil {
		// A mistake in a template: the answer shows none of the data.
		if s.failed != nil {
			s.failed(name, err)
		}
		http.Error(w, "this page cannot be shown: "+name, http.StatusInternalServerError)
		return
	}
	sum := sha256.Sum256(out.Bytes())
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("ETag", tag)
	if status == http.StatusOK && r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // the browser has left
}

// Assets serves stylesheet and scripts. It is mounted at /assets/.
func (s *Site) Assets() http.Handler { return s.assets }

func (s *Site) addAssets(more fs.FS) error {
	files := make(map[string][]byte)
	parts := []fs.FS{must(fs.Sub(own, "assets"))}
	if more != nil {
		parts = append(parts, more)
	}
	for i, part := range parts {
		names, err := fs.Glob(part, "*")
		if err != nil {
			return err
		}
		for _, name := range names {
			content, err := fs.ReadFile(part, name)
			if err != nil {
				return err
			}
			files[name] = content
			if i > 0 && path.Ext(name) == ".css" {
				s.styles = append(s.styles, name)
			}
		}
	}
	s.assets = serveFiles(files)
	return nil
}

func serveFiles(files map[string][]byte) http.Handler {
	files = maps.Clone(files)
	types := map[string]string{
		".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
		".svg": "image/svg+xml",
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, ok := files[path.Base(r.URL.Path)]
		kind := types[path.Ext(r.URL.Path)]
		if !ok || kind == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", kind)
		_, _ = w.Write(content) // the browser has left
	})
}

func must(f fs.FS, err error) fs.FS {
	if err != nil {
		panic(err)
	}
	return f
}

// theme returns the colours that somebody chose.
func theme(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		return c.Value
	}
	return ""
}

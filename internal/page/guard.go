package page

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// MaxBody is how long the body of a request may be, in bytes.
const MaxBody = 1 << 20

// policy lets a page load only what this program serves, and run no script that stands in it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// Guard says who may ask for pages, and what a browser may do with them.
type Guard struct {
	// Loopback says that the pages are served on a loopback address only. Then a request must name
	// this machine as its host: a page of somebody else whose name leads here (DNS rebinding) would
	// otherwise be of the same origin as these.
	Loopback bool
	// MaxBody is how long the body of a request may be, in bytes; 0: the constant MaxBody.
	MaxBody int64
	// Origin is how browsers see the pages behind a proxy, such as https://kefu.example.com.
	Origin string
	// OriginKey is the setting that holds Origin, for who is refused.
	OriginKey string
}

// Wrap returns a handler that lets h answer what may be asked, with the headers that keep other
// sites out. What changes something must be asked for by this site itself, or by a program that is
// no browser.
func (g Guard) Wrap(h http.Handler) (http.Handler, error) {
	same := http.NewCrossOriginProtection()
	if g.Origin != "" {
		if err := same.AddTrustedOrigin(g.Origin); err != nil {
			return nil, err
		}
	}
	same.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		text := "refused: this request comes from another site"
		if g.OriginKey != "" {
			text += "; behind a proxy, set " + g.OriginKey + " to how browsers see these pages"
		}
		http.Error(w, text, http.StatusForbidden)
	}))
	limit := g.MaxBody
	if limit == 0 {
		limit = MaxBody
	}
	inner := same.Handler(http.MaxBytesHandler(h, limit))
	hosts := g.hosts()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		SetHeaders(w.Header())
		if g.Loopback && !slices.Contains(hosts, hostOf(r.Host)) {
			http.Error(w, "refused: these pages are for this machine; ask for them as localhost",
				http.StatusMisdirectedRequest)
			return
		}
		inner.ServeHTTP(w, r)
	}), nil
}

// SetHeaders sets the headers of every answer.
func SetHeaders(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it a browser sends "Origin: null" with a form, and over plain HTTP
	// nothing else tells that the form is our own.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

func (g Guard) hosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if u, err := url.Parse(g.Origin); err == nil && u.Hostname() != "" {
		hosts = append(hosts, strings.ToLower(u.Hostname()))
	}
	return hosts
}

// hostOf returns a Host header without its port.
func hostOf(header string) string {
	host, _, err := net.SplitHostPort(header)
	if err != nil {
		host = header
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/page"
)

const (
	// A session ends when nothing was asked for so long, and in any case after a working day.
	sessionIdle = 4 * time.Hour
	sessionLife = 12 * time.Hour
	maxSessions = 1000

	// Somebody who mistypes tries again at once; who guesses has to wait. A token is far too long
	// to be guessed at this pace.
	failuresBurst = 5
	failuresEvery = 20 * time.Second
	maxClients    = 10000
)

// visitor is who asks.
type visitor struct {
	name    string // for the audit
	canRead bool
	canAct  bool
}

// session is one browser that signed in.
type session struct {
	name         string
	began, asked time.Time
	token        [sha256.Size]byte // that it signed in with: another one ends the session
}

// sessions are the browsers that signed in. They end with the process.
type sessions struct {
	now func() time.Time

	mu       sync.Mutex
	byID     map[string]*session
	failures map[string]*rate.Limiter // by the address of who failed to sign in
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{
		now: now, byID: make(map[string]*session), failures: make(map[string]*rate.Limiter),
	}
}

// begin returns the id of a new session.
func (s *sessions) begin(name string, token [sha256.Size]byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	oldest := ""
	for id, other := range s.byID {
		if other.over(now) {
			delete(s.byID, id)
		} else if oldest == "" || other.asked.Before(s.byID[oldest].asked) {
			oldest = id
		}
	}
	if len(s.byID) >= maxSessions {
		delete(s.byID, oldest)
	}
	id := rand.Text()
	s.byID[id] = &session{name, now, now, token}
	return id
}

func (s *session) over(now time.Time) bool {
	return now.Sub(s.asked) > sessionIdle || now.Sub(s.began) > sessionLife
}

// name returns whose session it is.
func (s *sessions) name(id string, token [sha256.Size]byte) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.byID[id]
	if !ok {
		return "", false
	}
	if now := s.now(); !found.over(now) && found.token == token {
		found.asked = now
		return found.name, true
	}
	delete(s.byID, id)
	return "", false
}

func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, id)
}

// mayTry says whether an address may try to sign in.
func (s *sessions) mayTry(client string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.failures[client]
	return !ok || l.TokensAt(s.now()) >= 1
}

// fail notes that an address gave a wrong token.
func (s *sessions) fail(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	l, ok := s.failures[client]
	if !ok {
		if len(s.failures) >= maxClients {
			for other, l := range s.failures {
				if l.TokensAt(now) >= failuresBurst {
					delete(s.failures, other)
				}
			}
		}
		if len(s.failures) >= maxClients {
			client = "" // all further ones share one
		}
		if l, ok = s.failures[client]; !ok {
			l = rate.NewLimiter(rate.Every(failuresEvery), failuresBurst)
			s.failures[client] = l
		}
	}
	l.AllowN(now, 1)
}

// cookie is the name of the cookie that holds the id of a session. A browser takes one with the
// prefix over HTTPS only, and from this host only.
func cookie(secure bool) string {
	if secure {
		return "__Host-kefu_console"
	}
	return "kefu_console"
}

// secure says whether the browser uses HTTPS, to this process or to a proxy in front of it.
func (c *Console) secure(r *http.Request) bool {
	return r.TLS != nil || strings.HasPrefix(c.Origin, "https://")
}

// who returns who asks, and what they may do.
func (c *Console) who(r *http.Request) visitor {
	if c.Token == nil {
		return visitor{name: c.Actor, canRead: true, canAct: c.Trusted}
	}
	token, err := c.Token()
	if err != nil || token == "" {
		return visitor{} // nobody can sign in with a token that cannot be read
	}
	if given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		client := clientOf(r)
		if !c.sessions.mayTry(client) {
			return visitor{}
		}
		if !same(given, token) {
			c.sessions.fail(client)
			return visitor{}
		}
		return visitor{name: "script with the console's token", canRead: true, canAct: true}
	}
	held, err := r.Cookie(cookie(c.secure(r)))
	if err != nil {
		return visitor{}
	}
	name, ok := c.sessions.name(held.Value, sha256.Sum256([]byte(token)))
	return visitor{name: name, canRead: ok, canAct: ok}
}

func (c *Console) mayRead(r *http.Request) bool { return c.who(r).canRead }

// withSession lets those through who have the right.
func (c *Console) withSession(needs right, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := c.who(r)
		switch {
		case needs == anybody, needs == reading && who.canRead, needs == acting && who.canAct:
			h(w, r)
		case c.Token == nil:
			c.refuse(w, r, http.StatusForbidden, "This console only shows: set console.token_file "+
				"to a file with a token to sign in with, or use the command that the page shows.")
		case r.Method == http.MethodGet && r.URL.Path != "/live" && r.Header.Get("Authorization") == "":
			http.Redirect(w, r, "/login?to="+url.QueryEscape(r.URL.RequestURI()),
				http.StatusSeeOther)
		default:
			c.refuse(w, r, http.StatusUnauthorized, "Sign in first.")
		}
	})
}

func (c *Console) refuse(w http.ResponseWriter, hr *http.Request, status int, text string) {
	r := c.newRequest(w, hr)
	c.render(w, r, answer{
		template: "failed", title: r.T("Refused"), status: status, body: r.T(text),
	})
}

// loginView is the page to sign in.
type loginView struct{ To, Name, Wrong string }

func (c *Console) loginPage(r *request) (answer, error) {
	if c.Token == nil || c.mayRead(r.Request) {
		return answer{to: page.Back(r.URL.Query().Get("to"))}, nil
	}
	return answer{template: "login", title: r.T("Sign in"),
		body: loginView{To: page.Back(r.URL.Query().Get("to"))}}, nil
}

func (c *Console) login(r *request) (answer, error) {
	if c.Token == nil {
		return answer{to: "/"}, nil
	}
	to, name := page.Back(r.PostFormValue("to")), strings.TrimSpace(r.PostFormValue("name"))
	again := func(status int, text string) (answer, error) {
		return answer{template: "login", title: r.T("Sign in"), status: status,
			body: loginView{To: to, Name: name, Wrong: r.T(text)}}, nil
	}
	if !c.sessions.mayTry(r.client) {
		return again(http.StatusTooManyRequests,
			"Too many wrong tokens came from your address: wait a minute.")
	}
	token, err := c.Token()
	if err != nil || token == "" {
		c.Log.Error("nobody can sign in to the console", "err", err)
		return again(http.StatusServiceUnavailable,
			"The token cannot be read on the server: its log says why.")
	}
	if !same(strings.TrimSpace(r.PostFormValue("token")), token) {
		c.sessions.fail(r.client)
		c.Log.Warn("somebody failed to sign in to the console", "from", r.client)
		return again(http.StatusUnauthorized, "This is not the token.")
	}
	if !nameable(name) {
		return again(http.StatusBadRequest,
			"Say who you are, in up to 64 characters: the audit will name you.")
	}
	id := c.sessions.begin(name+" (console)", sha256.Sum256([]byte(token)))
	//nolint:gosec // G124: Secure is set where the browser uses HTTPS; over plain HTTP it would drop it
	http.SetCookie(r.w, &http.Cookie{
		Name: cookie(r.secure), Value: id, Path: "/", MaxAge: int(sessionLife.Seconds()),
		HttpOnly: true, Secure: r.secure, SameSite: http.SameSiteStrictMode,
	})
	return did(to, "signed-in"), nil
}

func (c *Console) logout(r *request) (answer, error) {
	if held, err := r.Cookie(cookie(r.secure)); err == nil {
		c.sessions.end(held.Value)
	}
	//nolint:gosec // G124: as above
	http.SetCookie(r.w, &http.Cookie{
		Name: cookie(r.secure), Path: "/", MaxAge: -1, HttpOnly: true, Secure: r.secure,
		SameSite: http.SameSiteStrictMode,
	})
	return answer{to: "/login"}, nil
}

func preferences(w http.ResponseWriter, r *http.Request) { page.Preferences(w, r) }

// same compares two texts in a time that does not tell where they differ.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func nameable(name string) bool {
	return name != "" && len([]rune(name)) <= 64 &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// clientOf returns the address of who asks. Behind a proxy that is the proxy's: then all who fail
// there wait together.
func clientOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (c *Console) guard() page.Guard {
	host, _, err := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	return page.Guard{
		Loopback: err == nil && (host == "localhost" || ip != nil && ip.IsLoopback()),
		Origin:   c.Origin, OriginKey: "console.origin",
	}
}

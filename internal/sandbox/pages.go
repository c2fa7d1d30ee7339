package sandbox

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/page"
)

// Pages are web pages that show what the sandbox received, such as the phone. They answer below
// /phone and what such pages share: /assets/ and /preferences.
type Pages interface {
	http.Handler
	// Happened is told of what happens, as it happens. It must not wait.
	Happened(Event)
	// Close ends what the pages do by themselves. It is called by [Sandbox.Close].
	Close()
}

// Kind is what kind of [Event] there was.
type Kind int

// The kinds of events.
const (
	Called  Kind = iota // a call was received, of which N is the number
	Acted               // a user did something
	Forgot              // nothing of what was received is there any more
	Changed             // rules, settings or accounts are others
)

// Event is something that happened in a sandbox.
type Event struct {
	Kind   Kind
	N      int    // of a call: its record, see [Sandbox.Record]
	Call   string // its name
	AppID  string
	OpenID string // may be empty for calls
	At     time.Time
	Action Action // of a user
	Text   string // what the user wrote
}

// Attach adds pages to a sandbox that does not serve yet. They are closed with it.
func (s *Sandbox) Attach(p Pages) { s.pages = p }

func (s *Sandbox) tell(e Event) {
	if s.pages != nil {
		s.pages.Happened(e)
	}
}

// Record returns the record with this number, and false when it is not remembered.
func (s *Sandbox) Record(n int) (Record, bool) {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	if n < s.journal.oldest() || n > s.journal.last || s.journal.keep == 0 {
		return Record{}, false
	}
	return s.journal.slot(n).record(n), true
}

// Now returns the sandbox's time.
func (s *Sandbox) Now() time.Time { return s.now() }

// Apps returns the apps whose secrets are known.
func (s *Sandbox) Apps() []string { return s.apps.known() }

// Reach is what a user may be sent now.
type Reach struct {
	Known   bool // the user did something once
	Window  bool // the settings have reply windows; without them everybody may be written to
	Open    bool
	Until   time.Time // when the window closes, or closed; zero: it never was open
	Limited bool      // the allowance has a limit, of which Left is what is left
	Left    int
	Typing  bool // the user sees that somebody is typing
}

// Reach says what the app may send to a user now.
func (s *Sandbox) Reach(appID, openID string) Reach {
	set, now := s.settings.Load(), s.now()
	var u *User
	r := Reach{Window: set.allowances != nil}
	if a := s.apps.find(appID); a != nil { // looking makes no app
		a.mu.Lock()
		defer a.mu.Unlock()
		u = a.users[openID]
		r.Known, r.Typing = u != nil, now.Before(a.typing[openID])
	}
	switch {
	case !r.Window:
		r.Open = u != nil || !set.KnownUsers
	case u != nil && u.Action != UserUnfollowed:
		gives := set.allowances[u.Action]
		r.Until, r.Open = u.At.Add(gives.Lasts), now.Before(u.At.Add(gives.Lasts))
		r.Limited, r.Left = gives.Sends > 0, max(gives.Sends-u.Sent, 0)
	}
	return r
}

// guarded are the handlers of everything that is not the API: as anybody may ask, and as one may
// who reached this machine by its loopback address, which must be by a name of this machine.
type guarded struct{ far, near http.Handler }

// guard lets no page of another site see or script the sandbox.
func guard(h http.Handler) guarded {
	wrap := func(g page.Guard) http.Handler {
		wrapped, err := g.Wrap(h)
		if err != nil {
			panic(err) // it has no origin that could be wrong
		}
		return wrapped
	}
	return guarded{
		far:  wrap(page.Guard{MaxBody: maxScript}),
		near: wrap(page.Guard{MaxBody: maxScript, Loopback: true}),
	}
}

// ServeHTTP goes by the address that the connection came in by, so that it holds for a listener of
// all addresses as well.
func (g guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if ok && addr.IP.IsLoopback() {
		g.near.ServeHTTP(w, r)
		return
	}
	g.far.ServeHTTP(w, r)
}

// ofPages says whether a path is one that pages answer.
func ofPages(path string) bool {
	return path == "/phone" || path == "/preferences" || strings.HasPrefix(path, "/phone/") ||
		strings.HasPrefix(path, "/assets/")
}

// elsewhere answers what is not the API.
func (s *Sandbox) elsewhere(control http.Handler) http.Handler {
	return guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.pages != nil && ofPages(r.URL.Path) {
			s.pages.ServeHTTP(w, r)
			return
		}
		control.ServeHTTP(w, r)
	}))
}

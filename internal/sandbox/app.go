package sandbox

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// appState is what the sandbox knows of one app beside its tokens, which point here: a call finds
// it without a look-up.
type appState struct {
	id          string
	usage       []usage      // by route
	typingCount atomic.Int64 // of typing; a send looks no further while it is 0

	mu       sync.Mutex // guards what follows
	clears   monthlyClears
	accounts accountList
	typing   map[string]time.Time // until when a user sees that somebody is typing, by openid
	users    map[string]*User     // by openid
}

// apps are all apps that have got a token or were spoken of by a control call.
type apps struct {
	calls int

	mu      sync.Mutex
	byID    map[string]*appState
	secrets map[string]string // empty: every app and every secret is accepted
}

func newApps(calls int) *apps {
	return &apps{calls: calls, byID: map[string]*appState{}, secrets: map[string]string{}}
}

// SetSecret makes an app known by its secret, or gives it another one. Once one is known, token
// calls of others answer 40013, and with another secret 40125.
func (s *Sandbox) SetSecret(appID, secret string) {
	s.apps.mu.Lock()
	defer s.apps.mu.Unlock()
	s.apps.secrets[appID] = secret
}

func (as *apps) checkSecret(appID, secret string) int {
	as.mu.Lock()
	defer as.mu.Unlock()
	want, known := as.secrets[appID]
	switch {
	case appID == "":
		return 41002
	case secret == "":
		return 41004
	case len(as.secrets) == 0:
		return 0
	case !known:
		return 40013
	case secret != want:
		return 40125
	}
	return 0
}

// known returns the apps whose secrets are known.
func (as *apps) known() []string {
	as.mu.Lock()
	defer as.mu.Unlock()
	return slices.Sorted(maps.Keys(as.secrets))
}

// forget is the state of every app as it was at the start. Tokens go on pointing here.
func (as *apps) forget() {
	as.mu.Lock()
	defer as.mu.Unlock()
	for _, a := range as.byID {
		a.forget()
	}
}

func (a *appState) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.clearUsage(time.Time{})
	a.clears, a.accounts = monthlyClears{}, accountList{}
	clear(a.users)
	clear(a.typing)
	a.typingCount.Store(0)
}

// find finds an app; nil: nobody has spoken of it.
func (as *apps) find(id string) *appState {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.byID[id]
}

// get finds an app, or makes it.
func (as *apps) get(id string) *appState {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.byID[id]
	if a == nil {
		a = &appState{id: id, usage: make([]usage, as.calls), typing: map[string]time.Time{},
			users: map[string]*User{}}
		as.byID[id] = a
	}
	return a
}

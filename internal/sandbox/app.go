package sandbox

import "sync"

// appState is what the sandbox knows of one app beside its tokens, which point here: a call finds it without a look-up.
type appState struct {
	id    string
	usage []usage // by route

	mu     sync.Mutex // guards what follows
	clears clears
	desk   desk
	typing map[string]typing // by openid
}

// apps are all apps that have got a token or were spoken of by a control call.
type apps struct {
	calls int

	mu   sync.Mutex
	byID map[string]*appState
}

func newApps(calls int) *apps { return &apps{calls: calls, byID: map[string]*appState{}} }

// get finds an app, or makes it.
func (as *apps) get(id string) *appState {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.byID[id]
	if a == nil {
		a = &appState{id: id, usage: make([]usage, as.calls), typing: map[string]typing{}}
		as.byID[id] = a
	}
	return a
}

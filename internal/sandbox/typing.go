package sandbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// typingLasts is how long a user sees that somebody is typing, unless a message comes or it is cancelled.
const typingLasts = 15 * time.Second

// typing is until when a user sees it.
type typing struct{ until time.Time }

// typingWish is what a typing call asks for.
type typingWish struct {
	ToUser  string `json:"touser"`
	Command string `json:"command"`
}

func (s *Sandbox) readTyping(q *request) {
	var wish typingWish
	if json.Unmarshal([]byte(q.body), &wish) == nil {
		q.openID = strings.Clone(wish.ToUser)
	}
}

func (s *Sandbox) answerTyping(q *request) answer {
	if code := s.admit(q, http.MethodPost); code != 0 {
		return refuse(code)
	}
	var wish typingWish
	code := q.decode(&wish)
	switch {
	case code != 0:
	case wish.ToUser == "":
		code = 40003
	case wish.Command == "Typing":
		code = s.startTyping(q.token.app, wish.ToUser, q.at)
	case wish.Command == "CancelTyping":
		s.endTyping(q.token.app, wish.ToUser)
	default:
		code = 45072
	}
	if code != 0 {
		return refuse(code)
	}
	return done()
}

func (s *Sandbox) startTyping(a *appState, openID string, now time.Time) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.typing[openID].until) {
		return 45081
	}
	if _, there := a.typing[openID]; !there {
		s.typers.Add(1)
	}
	a.typing[openID] = typing{now.Add(typingLasts)}
	return 0
}

// endTyping is on the path of every send: while nobody is typing it costs one load.
func (s *Sandbox) endTyping(a *appState, openID string) {
	if s.typers.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.typing[openID]; there {
		delete(a.typing, openID)
		s.typers.Add(-1)
	}
}

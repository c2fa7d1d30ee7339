package sandbox

import (
	"encoding/json"
	"time"
)

// typingLasts is how long a user sees that somebody is typing, unless a message comes or it is
// cancelled.
const typingLasts = 15 * time.Second

// typingWish is what a typing call asks for.
type typingWish struct {
	ToUser  *string `json:"touser"`
	Command string  `json:"command"`
}

func (s *Sandbox) readTyping(q *request) {
	var wish typingWish
	if json.Unmarshal([]byte(q.body), &wish) == nil && wish.ToUser != nil {
		q.openID = *wish.ToUser
	}
}

func (s *Sandbox) answerTyping(q *request) answer {
	var wish typingWish
	code := s.admitPost(q, &wish)
	switch {
	case code != 0:
	case wish.ToUser == nil:
		code = 41009
	case q.openID == "":
		code = 40003
	case wish.Command == "Typing":
		if code = s.reach(q, s.settings.Load(), mayType); code == 0 {
			code = q.token.app.startTyping(q.openID, q.at)
		}
	case wish.Command == "CancelTyping":
		q.token.app.endTyping(q.openID)
	default:
		code = 45072
	}
	if code != 0 {
		return refuse(code)
	}
	return done()
}

func (a *appState) startTyping(openID string, now time.Time) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.typing[openID]) {
		return 45081
	}
	if _, there := a.typing[openID]; !there {
		a.typers.Add(1)
	}
	a.typing[openID] = now.Add(typingLasts)
	return 0
}

// endTyping is on the path of every send: while nobody is typing it costs one load.
func (a *appState) endTyping(openID string) {
	if a.typers.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.typing[openID]; there {
		delete(a.typing, openID)
		a.typers.Add(-1)
	}
}

package sandbox

import (
	"encoding/json"
	"time"
)

// typingLasts is how long a user sees that somebody is typing, unless a message comes or it is
// cancelled.
const typingLasts = 15 * time.Second

// typingRequest is what a typing call asks for.
type typingRequest struct {
	ToUser  *string `json:"touser"`
	Command string  `json:"command"`
}

func (s *Sandbox) readTyping(q *request) {
	var asked typingRequest
	if json.Unmarshal([]byte(q.body), &asked) == nil && asked.ToUser != nil {
		q.openID = *asked.ToUser
	}
}

func (s *Sandbox) answerTyping(q *request) answer {
	var asked typingRequest
	code := s.admitPost(q, &asked)
	switch {
	case code != 0:
	case asked.ToUser == nil:
		code = 41009
	case q.openID == "":
		code = 40003
	case asked.Command == "Typing":
		if code = s.mayReach(q, s.settings.Load(), mayType); code == 0 {
			code = q.token.app.startTyping(q.openID, q.at)
		}
	case asked.Command == "CancelTyping":
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
		a.typingCount.Add(1)
	}
	a.typing[openID] = now.Add(typingLasts)
	return 0
}

// endTyping is on the path of every send: while nobody is typing it costs one load.
func (a *appState) endTyping(openID string) {
	if a.typingCount.Load() == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.typing[openID]; there {
		delete(a.typing, openID)
		a.typingCount.Add(-1)
	}
}

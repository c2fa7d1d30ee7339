package sandbox

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/plainjson"
)

// Action is what a user did; it opens a window in which messages may be sent to them.
type Action string

// The actions.
const (
	UserMessaged   Action = "message"
	UserClicked    Action = "click" // a menu entry
	UserFollowed   Action = "follow"
	UserScanned    Action = "scan" // a QR code
	UserPaid       Action = "pay"
	UserUnfollowed Action = "unfollow" // closes the window
)

var actions = []string{
	string(UserMessaged), string(UserClicked), string(UserFollowed), string(UserScanned),
	string(UserPaid), string(UserUnfollowed),
}

// Values of [Settings.Window].
const (
	WindowDocument = "document" // any action: as many messages as wanted within 48 hours
	// a message: 5 within 48 hours; click, follow, scan: 3 within a minute; payment: no limit
	// within 48 hours.
	WindowToday = "today"
)

// Allowance is what an action gives: so many messages within so much time.
type Allowance struct {
	Sends int           `json:"sends,omitempty"` // 0 is no limit
	Lasts time.Duration `json:"lasts"`           // in JSON a text such as "48h"
}

// windows are the allowances by the value of Settings.Window. An action that is not there gives
// nothing.
var windows = map[string]map[Action]Allowance{
	WindowDocument: {
		UserMessaged: {0, 48 * time.Hour}, UserClicked: {0, 48 * time.Hour},
		UserFollowed: {0, 48 * time.Hour},
		UserScanned:  {0, 48 * time.Hour}, UserPaid: {0, 48 * time.Hour},
	},
	WindowToday: {
		UserMessaged: {5, 48 * time.Hour}, UserClicked: {3, time.Minute},
		UserFollowed: {3, time.Minute},
		UserScanned:  {3, time.Minute}, UserPaid: {0, 48 * time.Hour},
	},
}

// typingWindow is how long after a message, to or from the user, a typing call is taken.
const typingWindow = 30 * time.Second

// User is what the sandbox knows of a user of an app.
type User struct {
	OpenID string    `json:"openid"`
	Action Action    `json:"action"` // the last one; it alone counts
	At     time.Time `json:"at"`     // when that was
	Sent   int       `json:"sent"`   // messages taken since, counted while there is a window
	sentAt time.Time
}

// Act lets a user of an app do something. It panics on an action that there is not.
func (s *Sandbox) Act(appID, openID string, action Action) {
	s.ActSaying(appID, openID, action, "")
}

// ActSaying is Act with what the user wrote, which pages show.
func (s *Sandbox) ActSaying(appID, openID string, action Action, text string) {
	if !slices.Contains(actions, string(action)) {
		panic(fmt.Sprintf("sandbox: action %q: not %s", action, joinOr(actions)))
	}
	at := s.now()
	defer s.tell(Event{Kind: Acted, AppID: appID, OpenID: openID, At: at, Action: action,
		Text: text})
	a := s.apps.get(appID)
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.users[openID]
	if u == nil {
		u = &User{OpenID: openID}
		a.users[openID] = u
	}
	u.Action, u.At, u.Sent = action, at, 0
}

// Users returns the users of an app that ever did something, by openid.
func (s *Sandbox) Users(appID string) []User {
	a := s.apps.get(appID)
	a.mu.Lock()
	defer a.mu.Unlock()
	users := make([]User, 0, len(a.users))
	for _, u := range a.users {
		users = append(users, *u)
	}
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.OpenID, b.OpenID) })
	return users
}

// mayReach says whether the app may do something to the user now: when its users are known and have
// a window open, judge has the last word. Without known users and a window it costs nothing.
func (s *Sandbox) mayReach(
	q *request, set *settings, judge func(*User, Allowance, time.Time) int,
) int {
	if set.allowances == nil && !set.KnownUsers {
		return 0
	}
	a := q.token.app
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.users[q.openID]
	switch {
	case u == nil && set.KnownUsers:
		return 40003
	case set.allowances == nil:
		return 0
	case u == nil, q.at.Sub(u.At) >= set.allowances[u.Action].Lasts:
		return 45015
	}
	return judge(u, set.allowances[u.Action], q.at)
}

// spendMessage takes one of the allowance.
func spendMessage(u *User, a Allowance, now time.Time) int {
	if a.Sends > 0 && u.Sent >= a.Sends {
		return 45047
	}
	u.Sent++
	u.sentAt = now
	return 0
}

// mayType wants a message from or to the user a moment ago.
func mayType(u *User, _ Allowance, now time.Time) int {
	if now.Sub(u.At) > typingWindow && now.Sub(u.sentAt) > typingWindow {
		return 45080
	}
	return 0
}

// allowancesOf returns the allowances by the settings, nil when there is no window.
func allowancesOf(s *Settings) map[Action]Allowance {
	if s.Window == "" {
		return nil
	}
	all := maps.Clone(windows[s.Window])
	maps.Copy(all, s.Allowances)
	return all
}

func (s *Settings) checkWindow() error {
	if err := oneOf("window", s.Window, "", WindowDocument, WindowToday); err != nil {
		return err
	}
	if len(s.Allowances) > 0 && s.Window == "" {
		return fmt.Errorf("allowances: without window")
	}
	for action, a := range s.Allowances {
		if err := oneOf("allowances", string(action), actions...); err != nil {
			return err
		}
		if a.Sends < 0 || a.Lasts < 0 {
			return fmt.Errorf("allowances: %s: below zero", action)
		}
	}
	return nil
}

// allowanceJSON is an Allowance with its duration as text.
type allowanceJSON struct {
	Sends int          `json:"sends,omitempty"`
	Lasts textDuration `json:"lasts"`
}

// MarshalJSON writes the allowance as the control API has it.
func (a Allowance) MarshalJSON() ([]byte, error) {
	return plainjson.Marshal(allowanceJSON{a.Sends, textDuration(a.Lasts)})
}

// UnmarshalJSON reads an allowance strictly.
func (a *Allowance) UnmarshalJSON(b []byte) error {
	var w allowanceJSON
	if err := unmarshalStrict(b, &w); err != nil {
		return err
	}
	a.Sends, a.Lasts = w.Sends, time.Duration(w.Lasts)
	return nil
}

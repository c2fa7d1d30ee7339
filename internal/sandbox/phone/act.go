package phone

import (
	"net/url"
	"strings"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// maxName is how long an appid and an openid may be that somebody makes up here.
const maxName = 128

func escape(s string) string { return url.QueryEscape(s) }

// act lets the user of a conversation do something.
func (p *Phone) act(r *request) (answer, error) {
	app, openID := r.PathValue("app"), r.PathValue("openid")
	if !p.book.has(app, openID) && (!fitsName(app) || !fitsName(openID)) {
		return answer{}, badRequest(r.T("An appid and an openid are needed: " +
			"letters, digits, - and _, at most 128 of them."))
	}
	action := sandbox.Action(r.PostFormValue("do"))
	text := strings.TrimSpace(r.PostFormValue("text"))
	switch action {
	case sandbox.UserMessaged:
		if text == "" {
			return answer{}, badRequest(r.T("There is nothing to send: write something first."))
		}
	case "menu":
		// An entry of a menu in a message says its text, as if the user had written it.
		action = sandbox.UserMessaged
	case sandbox.UserClicked, sandbox.UserFollowed, sandbox.UserUnfollowed, sandbox.UserScanned,
		sandbox.UserPaid:
		text = ""
	default:
		return answer{}, badRequest(r.T("A user does no such thing."))
	}
	p.box.ActSaying(app, openID, action, text)
	return answer{to: chatURL(app, openID)}, nil
}

// newUser makes a user by letting them follow, and opens the conversation.
func (p *Phone) newUser(r *request) (answer, error) {
	app, openID := strings.TrimSpace(r.PostFormValue("app")),
		strings.TrimSpace(r.PostFormValue("openid"))
	for _, name := range []string{app, openID} {
		if !fitsName(name) {
			return answer{}, badRequest(r.T("An appid and an openid are needed: " +
				"letters, digits, - and _, at most 128 of them."))
		}
	}
	p.box.Act(app, openID, sandbox.UserFollowed)
	return answer{to: chatURL(app, openID)}, nil
}

func fitsName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name,
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

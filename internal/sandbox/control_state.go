package sandbox

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// This file is the part of the control API that is about the state behind the calls.

// ofApp answers what there is of the app in the query.
func ofApp[T any](get func(appID string) T) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		q := newQuery(r.URL.Query())
		appID := q.need("appid")
		if err := q.err(); err != nil {
			return badRequest(err)
		}
		return writeJSON(w, http.StatusOK, get(appID))
	}
}

func (s *Sandbox) getSettings(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.Settings())
}

// postSettings changes the fields that are there and leaves the others, as they are or as "like"
// says.
func (s *Sandbox) postSettings(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxScript))
	if err != nil {
		return badRequest(err)
	}
	set, err := ReadSettings(body, s.Settings())
	if err != nil {
		return badRequest(err)
	}
	s.Configure(set)
	return writeJSON(w, http.StatusOK, set)
}

func (s *Sandbox) deleteSettings(w http.ResponseWriter, _ *http.Request) error {
	s.Configure(s.opts.Settings)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// getApps tells no secrets.
func (s *Sandbox) getApps(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, append([]string{}, s.apps.known()...))
}

func (s *Sandbox) postApp(w http.ResponseWriter, r *http.Request) error {
	var a struct {
		AppID  string `json:"appid"`
		Secret string `json:"secret"`
	}
	if err := readJSON(w, r, &a); err != nil {
		return err
	}
	if a.AppID == "" || a.Secret == "" {
		return badRequest(errors.New("appid and secret are needed"))
	}
	s.SetSecret(a.AppID, a.Secret)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// postUsers lets one user do something, or many: all, or none when one entry is wrong.
func (s *Sandbox) postUsers(w http.ResponseWriter, r *http.Request) error {
	type userAction struct {
		AppID  string `json:"appid"`
		OpenID string `json:"openid"`
		Action string `json:"action"`
		Text   string `json:"text"` // what they wrote, for who looks
	}
	asked, err := readMany[userAction](w, r)
	if err != nil {
		return err
	}
	for i, a := range asked {
		err := oneOf("action", a.Action, actions...)
		if a.AppID == "" || a.OpenID == "" {
			err = errors.New("appid and openid are needed")
		}
		if err != nil {
			return badRequest(fmt.Errorf("number %d of %d: %w", i+1, len(asked), err))
		}
	}
	for _, a := range asked {
		s.ActSaying(a.AppID, a.OpenID, Action(a.Action), a.Text)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Sandbox) getClock(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]any{
		"now": s.now(), "ahead": time.Duration(s.ahead.Load()).String(),
	})
}

func (s *Sandbox) postClock(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	forward := q.duration("forward", 0)
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	if forward <= 0 {
		return badRequest(errors.New("forward: how far is needed, such as 48h; the clock does " +
			"not go back"))
	}
	s.Advance(forward)
	return s.getClock(w, r)
}

func (s *Sandbox) postQuota(w http.ResponseWriter, r *http.Request) error {
	var set struct {
		AppID string `json:"appid"`
		Call  string `json:"call"`
		Used  int    `json:"used"`
	}
	if err := readJSON(w, r, &set); err != nil {
		return err
	}
	switch {
	case set.AppID == "":
		return badRequest(errors.New("appid is needed"))
	case set.Used < 0:
		return badRequest(errors.New("used: below zero"))
	case len(routesOf(s.routes, set.Call)) == 0:
		return badRequest(fmt.Errorf("call: no call has the name or path %q", set.Call))
	}
	s.SetUsed(set.AppID, set.Call, set.Used)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Sandbox) postKFAccount(w http.ResponseWriter, r *http.Request) error {
	var put struct {
		AppID string `json:"appid"`
		KFAccount
	}
	if err := readJSON(w, r, &put); err != nil {
		return err
	}
	if put.AppID == "" || put.Account == "" {
		return badRequest(errors.New("appid and kf_account are needed"))
	}
	return writeJSON(w, http.StatusOK, s.PutKFAccount(put.AppID, put.KFAccount))
}

func (s *Sandbox) deleteKFAccount(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	appID, account := q.need("appid"), q.need("kf_account")
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	if !s.RemoveKFAccount(appID, account) {
		return &controlError{http.StatusNotFound, fmt.Errorf("no account %q", account)}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// getAvatar serves the pictures that the image URLs of getkflist name.
func (s *Sandbox) getAvatar(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	appID, account, _ := q.need("appid"), q.need("kf_account"), q.text("v")
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	for _, a := range s.KFAccounts(appID) {
		if a.Account == account && len(a.Avatar) > 0 {
			w.Header().Set("Content-Type", "image/jpeg")
			_, err := w.Write(a.Avatar)
			return err
		}
	}
	return &controlError{http.StatusNotFound, fmt.Errorf("no account %q with an avatar", account)}
}

package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// This file is the part of the control API that is about the state behind the calls.

func (s *Sandbox) getSettings(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.Settings())
}

// postSettings changes the fields that are there and leaves the others.
func (s *Sandbox) postSettings(w http.ResponseWriter, r *http.Request) error {
	set := s.Settings()
	if err := readJSON(w, r, &set); err != nil {
		return err
	}
	if err := set.Check(); err != nil {
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
		return badRequest(errors.New("forward: how far is needed, such as 48h; the clock does not go back"))
	}
	s.Advance(forward)
	return s.getClock(w, r)
}

// getQuota answers how often an app has made each call today.
func (s *Sandbox) getQuota(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	appID := q.need("appid")
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	return writeJSON(w, http.StatusOK, s.Used(appID))
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

func (s *Sandbox) getKFAccounts(w http.ResponseWriter, r *http.Request) error {
	q := newQuery(r.URL.Query())
	appID := q.need("appid")
	if err := q.err(); err != nil {
		return badRequest(err)
	}
	return writeJSON(w, http.StatusOK, append([]KFAccount{}, s.KFAccounts(appID)...))
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

// getAvatar is where the image URLs of getkflist lead to.
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

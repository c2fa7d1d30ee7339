package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// firstKFID is the number of an app's first account, as in the document.
const firstKFID = 1001

// KFAccount is a customer-service account of an app.
type KFAccount struct {
	Account  string `json:"kf_account"`
	Nickname string `json:"nickname"`
	// ID is given by the sandbox: 1001, 1002 …
	ID int `json:"kf_id"`
	// Status is how the account is logged in, as getonlinekflist tells it; 0 is not at all. 1 is in
	// the browser.
	Status int `json:"status,omitempty"`
	// AcceptedCase is how many conversations it has.
	AcceptedCase int `json:"accepted_case,omitempty"`
	// Avatar is the JPEG that was uploaded last.
	Avatar []byte `json:"avatar,omitempty"`
}

// desk are an app's accounts in the order in which they came. The app's lock guards it.
type desk struct {
	accounts []KFAccount
	last     int // kf_id
}

func (d *desk) find(account string) *KFAccount {
	for i := range d.accounts {
		if d.accounts[i].Account == account {
			return &d.accounts[i]
		}
	}
	return nil
}

func (d *desk) add(a KFAccount) KFAccount {
	d.last = max(d.last+1, firstKFID)
	a.ID = d.last
	d.accounts = append(d.accounts, a)
	return a
}

func (d *desk) remove(account string) bool {
	before := len(d.accounts)
	d.accounts = slices.DeleteFunc(d.accounts, func(a KFAccount) bool {
		return a.Account == account
	})
	return len(d.accounts) < before
}

// deskFor is where a call makes its change: at the app's desk, or at a copy of it that nobody will
// see. The app must be locked.
func (a *appState) deskFor(q *request) *desk {
	if q.lose {
		return &desk{accounts: slices.Clone(a.desk.accounts), last: a.desk.last}
	}
	return &a.desk
}

// PutKFAccount gives an app an account, or changes it, past all rules of the API; its ID is the
// sandbox's.
func (s *Sandbox) PutKFAccount(appID string, a KFAccount) KFAccount {
	app := s.apps.get(appID)
	app.mu.Lock()
	defer app.mu.Unlock()
	if old := app.desk.find(a.Account); old != nil {
		a.ID = old.ID
		*old = a
		return a
	}
	return app.desk.add(a)
}

// KFAccounts are the accounts that an app has, in the order in which they came.
func (s *Sandbox) KFAccounts(appID string) []KFAccount {
	app := s.apps.get(appID)
	app.mu.Lock()
	defer app.mu.Unlock()
	return append([]KFAccount{}, app.desk.accounts...)
}

// RemoveKFAccount takes an account away and says whether it was there.
func (s *Sandbox) RemoveKFAccount(appID, account string) bool {
	app := s.apps.get(appID)
	app.mu.Lock()
	defer app.mu.Unlock()
	return app.desk.remove(account)
}

// kfWish is what add and update ask for.
type kfWish struct {
	Account  string `json:"kf_account"`
	Nickname string `json:"nickname"`
	Password string `json:"password"`
}

func (s *Sandbox) answerKFAdd(q *request) answer {
	return s.changeKF(q, func(set *KFSettings, d *desk, wish kfWish) kfFault {
		switch {
		case d.find(wish.Account) != nil:
			return kfExists
		case len(d.accounts) >= set.limit():
			return kfTooMany
		}
		d.add(KFAccount{Account: wish.Account, Nickname: wish.Nickname})
		return kfFault{}
	})
}

func (s *Sandbox) answerKFUpdate(q *request) answer {
	return s.changeKF(q, func(_ *KFSettings, d *desk, wish kfWish) kfFault {
		a := d.find(wish.Account)
		if a == nil {
			return kfUnknown
		}
		a.Nickname = wish.Nickname
		return kfFault{}
	})
}

// changeKF checks what add and update have in common and then makes the change.
func (s *Sandbox) changeKF(q *request, change func(*KFSettings, *desk, kfWish) kfFault) answer {
	var wish kfWish
	if code := s.admitPost(q, &wish); code != 0 {
		return refuse(code)
	}
	set, none := &s.settings.Load().KFAccounts, kfFault{}
	for _, f := range []kfFault{checkKFAccount(wish.Account), set.checkNickname(wish.Nickname),
		checkKFPassword(wish.Password)} {
		if f != none {
			return refuse(set.code(f))
		}
	}
	app := q.token.app
	app.mu.Lock()
	defer app.mu.Unlock()
	if f := change(set, app.deskFor(q), wish); f != none {
		return refuse(set.code(f))
	}
	return done()
}

// answerKFDelete finds the account in the body, or without one in the query: SDKs do the one or the
// other.
func (s *Sandbox) answerKFDelete(q *request) answer {
	set := &s.settings.Load().KFAccounts
	method := map[string]string{DeleteGet: http.MethodGet, DeletePost: http.MethodPost}[set.Delete]
	if code := s.admit(q, method); code != 0 {
		return refuse(code)
	}
	wish := kfWish{Account: queryAccount(q.query, set.RawQuery)}
	if q.size > 0 {
		if code := q.decode(&wish); code != 0 {
			return refuse(code)
		}
	}
	app := q.token.app
	app.mu.Lock()
	defer app.mu.Unlock()
	if !app.deskFor(q).remove(wish.Account) {
		return refuse(set.code(kfUnknown))
	}
	return done()
}

// queryAccount is the query's kf_account; raw, it is taken as it stands.
func queryAccount(query string, raw bool) string {
	if !raw {
		v, _ := url.ParseQuery(query) // what can be read is
		return v.Get("kf_account")
	}
	for pair := range strings.SplitSeq(query, "&") {
		if account, found := strings.CutPrefix(pair, "kf_account="); found {
			return account
		}
	}
	return ""
}

func (s *Sandbox) answerKFList(q *request) answer {
	if code := s.admit(q, http.MethodGet); code != 0 {
		return refuse(code)
	}
	type row struct {
		Account  string `json:"kf_account"`
		Nick     string `json:"kf_nick"`
		ID       string `json:"kf_id"` // a string here, a number in the other list, as documented
		ImageURL string `json:"kf_headimgurl"`
	}
	blank := ""
	if s.settings.Load().KFAccounts.ImageSpace {
		blank = " "
	}
	rows := []row{}
	for _, a := range s.KFAccounts(q.appID) {
		rows = append(rows, row{a.Account, a.Nickname, strconv.Itoa(a.ID),
			blank + avatarURL(q.http.Host, q.appID, a)})
	}
	return tell(struct {
		Rows []row `json:"kf_list"`
	}{rows})
}

func (s *Sandbox) answerKFOnline(q *request) answer {
	if code := s.admit(q, http.MethodGet); code != 0 {
		return refuse(code)
	}
	type row struct {
		Account      string `json:"kf_account"`
		Status       int    `json:"status"`
		ID           int    `json:"kf_id"`
		AcceptedCase int    `json:"accepted_case"`
	}
	rows := []row{}
	for _, a := range s.KFAccounts(q.appID) {
		if a.Status != 0 {
			rows = append(rows, row{a.Account, a.Status, a.ID, a.AcceptedCase})
		}
	}
	return tell(struct {
		Rows []row `json:"kf_online_list"`
	}{rows})
}

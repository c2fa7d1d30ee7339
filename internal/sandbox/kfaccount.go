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

// accountList are an app's accounts in the order in which they came. The app's lock guards it.
type accountList struct {
	accounts []KFAccount
	last     int // kf_id
}

func (d *accountList) find(account string) *KFAccount {
	for i := range d.accounts {
		if d.accounts[i].Account == account {
			return &d.accounts[i]
		}
	}
	return nil
}

func (d *accountList) add(a KFAccount) KFAccount {
	d.last = max(d.last+1, firstKFID)
	a.ID = d.last
	d.accounts = append(d.accounts, a)
	return a
}

func (d *accountList) remove(account string) bool {
	before := len(d.accounts)
	d.accounts = slices.DeleteFunc(d.accounts, func(a KFAccount) bool {
		return a.Account == account
	})
	return len(d.accounts) < before
}

// accountsFor returns where a call makes its change: in the app's accounts, or in a copy of them
// that nobody will see. The app must be locked.
func (a *appState) accountsFor(q *request) *accountList {
	if q.lose {
		return &accountList{accounts: slices.Clone(a.accounts.accounts), last: a.accounts.last}
	}
	return &a.accounts
}

// PutKFAccount gives an app an account, or changes it, past all rules of the API; its ID is the
// sandbox's.
func (s *Sandbox) PutKFAccount(appID string, a KFAccount) KFAccount {
	defer s.tell(Event{Kind: Changed})
	app := s.apps.get(appID)
	app.mu.Lock()
	defer app.mu.Unlock()
	if old := app.accounts.find(a.Account); old != nil {
		a.ID = old.ID
		*old = a
		return a
	}
	return app.accounts.add(a)
}

// KFAccounts returns the accounts that an app has, in the order in which they came.
func (s *Sandbox) KFAccounts(appID string) []KFAccount {
	app := s.apps.get(appID)
	app.mu.Lock()
	defer app.mu.Unlock()
	return append([]KFAccount{}, app.accounts.accounts...)
}

// RemoveKFAccount takes an account away and says whether it was there.
func (s *Sandbox) RemoveKFAccount(appID, account string) bool {
	app := s.apps.get(appID)
	app.mu.Lock()
	defer app.mu.Unlock()
	return app.accounts.remove(account)
}

// kfAccountRequest is what add and update ask for.
type kfAccountRequest struct {
	Account  string `json:"kf_account"`
	Nickname string `json:"nickname"`
	Password string `json:"password"`
}

func (s *Sandbox) answerKFAdd(q *request) answer {
	return s.changeKF(q, func(set *KFSettings, d *accountList, asked kfAccountRequest) kfFault {
		switch {
		case d.find(asked.Account) != nil:
			return kfExists
		case len(d.accounts) >= set.limit():
			return kfTooMany
		}
		d.add(KFAccount{Account: asked.Account, Nickname: asked.Nickname})
		return kfFault{}
	})
}

func (s *Sandbox) answerKFUpdate(q *request) answer {
	return s.changeKF(q, func(_ *KFSettings, d *accountList, asked kfAccountRequest) kfFault {
		a := d.find(asked.Account)
		if a == nil {
			return kfUnknown
		}
		a.Nickname = asked.Nickname
		return kfFault{}
	})
}

// changeKF checks what add and update have in common and then makes the change.
func (s *Sandbox) changeKF(
	q *request, change func(*KFSettings, *accountList, kfAccountRequest) kfFault,
) answer {
	var asked kfAccountRequest
	if code := s.admitPost(q, &asked); code != 0 {
		return refuse(code)
	}
	set, none := &s.settings.Load().KFAccounts, kfFault{}
	for _, f := range []kfFault{checkKFAccount(asked.Account), set.checkNickname(asked.Nickname),
		checkKFPassword(asked.Password)} {
		if f != none {
			return refuse(set.code(f))
		}
	}
	app := q.token.app
	app.mu.Lock()
	defer app.mu.Unlock()
	if f := change(set, app.accountsFor(q), asked); f != none {
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
	asked := kfAccountRequest{Account: queryAccount(q.query, set.RawQuery)}
	if q.size > 0 {
		if code := q.decode(&asked); code != 0 {
			return refuse(code)
		}
	}
	app := q.token.app
	app.mu.Lock()
	defer app.mu.Unlock()
	if !app.accountsFor(q).remove(asked.Account) {
		return refuse(set.code(kfUnknown))
	}
	return done()
}

// queryAccount returns the query's kf_account; raw, it is taken as it stands.
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
	return okWith(struct {
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
	return okWith(struct {
		Rows []row `json:"kf_online_list"`
	}{rows})
}

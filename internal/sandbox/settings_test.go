package sandbox

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSettingsOverHTTP(t *testing.T) {
	t.Parallel()
	b := start(t, Options{Settings: Settings{KnownUsers: true}})
	url := b.url + "/sandbox/settings"
	require.JSONEq(t, `{"known_users":true}`, b.must("GET", url, "").body)
	require.JSONEq(t, `{"known_users":true,"kfaccounts":{"limit":10}}`,
		b.must("POST", url, `{"kfaccounts":{"limit":10}}`).body)
	require.JSONEq(t, `{"kfaccounts":{"limit":10,"errors":"old"}}`,
		b.must("POST", url, `{"known_users":false,"kfaccounts":{"errors":"old"}}`).body)
	require.JSONEq(t, `{"kfaccounts":{"limit":10,"errors":"old"}}`, b.must("GET", url, "").body)

	r := b.must("POST", url,
		`{"window":"today","allowances":{"message":{"sends":2,"lasts":"1h"}},`+
			`"quotas":{"send":{"day":9}}}`)
	require.Equal(t, http.StatusOK, r.status)
	require.Contains(t, r.body, `"allowances":{"message":{"sends":2,"lasts":"1h0m0s"}}`)
	require.Equal(t, Allowance{2, time.Hour}, b.Settings().Allowances[UserMessaged])

	require.Equal(t, http.StatusNoContent, b.must("DELETE", url, "").status)
	require.Equal(t, Settings{KnownUsers: true}, b.Settings())
}

func TestSettingsLikeTheRealAPI(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	for _, name := range Likes() {
		set, known := Like(name)
		require.True(t, known)
		require.NoError(t, set.Check())
		b.must("POST", b.url+"/sandbox/settings", `{"like":"`+name+`"}`)
		require.Equal(t, set, b.Settings())
	}
	b.must("POST", b.url+"/sandbox/settings",
		`{"like":"today","messages":{"articles":8},"window":""}`)
	want, _ := Like(LikeToday)
	want.Messages.Articles, want.Window = 8, ""
	require.Equal(t, want, b.Settings())

	want.Quotas[CallSend] = Quota{Day: 1}
	again, _ := Like(LikeToday)
	require.Equal(t, 500_000, again.Quotas[CallSend].Day, "a copy is changed alone")
}

func TestSettingsThatMakeNoSense(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	for _, row := range []struct{ text, says string }{
		{`{"windows":"today"}`, `unknown field \"windows\"`},
		{`{"kfaccounts":{"limits":1}}`, `unknown field \"limits\"`},
		{`{"allowances":{"message":{"send":1}}}`, `unknown field \"send\"`},
		{`{} {}`, `something stands behind the JSON value`},
		{`{"like":"tomorrow"}`, `settings: like: not document or today`},
		{`{"window":"tomorrow"}`, `settings: window: not document or today`},
		{`{"allowances":{"message":{"lasts":"1h"}}}`, `settings: allowances: without window`},
		{
			`{"window":"today","allowances":{"wave":{}}}`,
			`settings: allowances: not message, click, follow, scan, pay or unfollow`,
		},
		{
			`{"window":"today","allowances":{"pay":{"lasts":"-1h"}}}`,
			`settings: allowances: pay: below zero`,
		},
		{`{"window":"today","allowances":{"pay":{"lasts":"x"}}}`, `is no duration such as`},
		{
			`{"quotas":{"sent":{"day":1}}}`,
			`settings: quotas: no call has the name or path \"sent\"`,
		},
		{`{"quotas":{"":{"day":1}}}`, `settings: quotas: no call has the name or path \"\"`},
		{`{"quotas":{"send":{"day":-1}}}`, `settings: quotas: send: below zero`},
		{`{"messages":{"articles":-1}}`, `settings: messages: text_bytes, articles: below zero`},
		{
			`{"messages":{"silent_articles":true}}`,
			`settings: messages: silent_articles: without articles`,
		},
		{`{"tokens":{"forced_a_day":-1}}`, `settings: tokens: forced_a_day: below zero`},
		{
			`{"tokens":{"addresses":["here"]}}`,
			`settings: tokens: addresses: \"here\" is no address such as 10.1.2.3 or 10.0.0.0/8`,
		},
		{`{"kfaccounts":{"limit":-1}}`, `settings: kfaccounts: limit, avatar_bytes: below zero`},
		{`{"kfaccounts":{"errors":"both"}}`, `settings: kfaccounts: errors: not new or old`},
		{
			`{"kfaccounts":{"nicknames":"long"}}`,
			`settings: kfaccounts: nicknames: not today or document`,
		},
		{`{"kfaccounts":{"delete":"put"}}`, `settings: kfaccounts: delete: not any, get or post`},
	} {
		r := b.must("POST", b.url+"/sandbox/settings", row.text)
		require.Equal(t, http.StatusBadRequest, r.status, row.text)
		require.Contains(t, r.body, row.says)
		require.Equal(t, Settings{}, b.Settings())
	}
	require.Panics(t, func() { b.Configure(Settings{Window: "tomorrow"}) })
	require.Panics(t, func() { New(Options{Settings: Settings{Window: "tomorrow"}}) })
}

func TestStateOverHTTP(t *testing.T) {
	t.Parallel()
	t.Run("users", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: Settings{Window: WindowToday}})
		url := b.url + "/sandbox/users"
		require.JSONEq(t, `[]`, b.must("GET", url+"?appid="+app, "").body)
		require.Equal(t, http.StatusNoContent,
			b.must("POST", url, `{"appid":"`+app+`","openid":"o1","action":"click"}`).status)
		require.Zero(t, b.send("o1", "hi").code)
		got := decode[[]User](t, b.must("GET", url+"?appid="+app, ""))
		require.Len(t, got, 1)
		require.WithinDuration(t, b.now(), got[0].At, time.Minute)
		got[0].At = time.Time{}
		require.Equal(t, User{OpenID: "o1", Action: UserClicked, Sent: 1}, got[0])
	})
	t.Run("many users at once, or none", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		url := b.url + "/sandbox/users"
		r := b.must("POST", url,
			`[{"appid":"a","openid":"o1","action":"follow"},`+
				`{"appid":"a","openid":"o2","action":"wave"}]`)
		require.Equal(t, http.StatusBadRequest, r.status)
		require.Contains(t, r.body, "number 2 of 2: action: not message, click")
		require.Empty(t, b.Users("a"))
		b.must("POST", url,
			`[{"appid":"a","openid":"o2","action":"follow"},`+
				`{"appid":"a","openid":"o1","action":"scan"}]`)
		require.Equal(t, "o1", b.Users("a")[0].OpenID)
		require.Equal(t, UserFollowed, b.Users("a")[1].Action)
	})
	t.Run("accounts", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		url := b.url + "/sandbox/kfaccounts"
		require.JSONEq(t, `[]`, b.must("GET", url+"?appid="+app, "").body)
		r := b.must("POST", url,
			`{"appid":"`+app+`","kf_account":"a@test","nickname":"A","status":1}`)
		require.JSONEq(t, `{"kf_account":"a@test","nickname":"A","kf_id":1001,"status":1}`, r.body)
		r = b.must("POST", url,
			`{"appid":"`+app+`","kf_account":"a@test","nickname":"B","kf_id":5}`)
		require.JSONEq(t, `{"kf_account":"a@test","nickname":"B","kf_id":1001}`, r.body)
		require.JSONEq(t, `[`+r.body+`]`, b.must("GET", url+"?appid="+app, "").body)
		require.Equal(t, http.StatusNoContent,
			b.must("DELETE", url+"?kf_account=a@test&appid="+app, "").status)
		require.Equal(t, http.StatusNotFound,
			b.must("DELETE", url+"?kf_account=a@test&appid="+app, "").status)
	})
	t.Run("quotas", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: Settings{Quotas: map[string]Quota{CallSend: {Day: 100}}}})
		url := b.url + "/sandbox/quota"
		require.JSONEq(t, `{}`, b.must("GET", url+"?appid="+app, "").body)
		require.Equal(t, http.StatusNoContent,
			b.must("POST", url, `{"appid":"`+app+`","call":"send","used":99}`).status)
		require.Zero(t, b.send("o1", "hi").code)
		require.Equal(t, 45009, b.send("o1", "hi").code)
		require.JSONEq(t, `{"/cgi-bin/message/custom/send":100}`,
			b.must("GET", url+"?appid="+app, "").body)
	})
	t.Run("secrets, which are not told", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		url := b.url + "/sandbox/apps"
		require.JSONEq(t, `[]`, b.must("GET", url, "").body)
		require.Zero(t, b.stableToken(app, "any", false).code)
		require.Equal(t, http.StatusNoContent,
			b.must("POST", url, `{"appid":"`+app+`","secret":"one"}`).status)
		require.Equal(t, 40125, b.stableToken(app, "any", false).code)
		require.Equal(t, 40013, b.stableToken("wx2", "any", false).code)
		require.Zero(t, b.stableToken(app, "one", false).code)
		b.must("POST", url, `{"appid":"`+app+`","secret":"two"}`)
		require.Equal(t, 40125, b.stableToken(app, "one", false).code)
		require.JSONEq(t, `["`+app+`"]`, b.must("GET", url, "").body)
	})
	t.Run("the clock", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		got := decode[struct {
			Now   time.Time
			Ahead string
		}](t, b.must("POST", b.url+"/sandbox/clock?forward=2h", ""))
		require.Equal(t, "2h0m0s", got.Ahead)
		require.WithinDuration(t, time.Now().Add(2*time.Hour), got.Now, time.Minute)
		require.Equal(t, 42001, b.send("o1", "hi").code)
		require.WithinDuration(t, got.Now, b.Received()[0].At, time.Minute)
		require.Contains(t, b.must("GET", b.url+"/sandbox/clock", "").body, `"ahead":"2h0m0s"`)
	})
}

func TestStateThatMakesNoSense(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	for _, tc := range [][3]string{
		{"POST", "users", `{"appid":"a","openid":"o","action":"wave"}`},
		{"POST", "users", `{"openid":"o","action":"click"}`},
		{"POST", "users", `{"appid":"a","action":"click"}`},
		{"POST", "users", `{"appid":"a","openid":"o","acton":"click"}`},
		{"GET", "users", ""},
		{"POST", "kfaccounts", `{"appid":"a"}`},
		{"POST", "kfaccounts", `{"kf_account":"a@b"}`},
		{"POST", "kfaccounts", `{"appid":"a","kf_account":"a@b","nick":"c"}`},
		{"GET", "kfaccounts", ""},
		{"GET", "kfaccounts?app=a", ""},
		{"GET", "kfaccounts/avatar?appid=a", ""},
		{"DELETE", "kfaccounts?appid=a", ""},
		{"GET", "quota", ""},
		{"POST", "quota", `{"appid":"a","call":"sent","used":1}`},
		{"POST", "quota", `{"appid":"a","call":"send","used":-1}`},
		{"POST", "quota", `{"call":"send","used":1}`},
		{"POST", "quota", `{"uses":1}`},
		{"POST", "apps", `{"appid":"a"}`},
		{"POST", "apps", `{"app":"a"}`},
		{"POST", "clock", ""},
		{"POST", "clock?forward=-1h", ""},
		{"POST", "clock?back=1h", ""},
	} {
		r := b.must(tc[0], b.url+"/sandbox/"+tc[1], tc[2])
		require.Equal(t, http.StatusBadRequest, r.status, tc)
		require.Contains(t, r.body, `{"error":"`)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	b := start(t, Options{Settings: Settings{Quotas: map[string]Quota{CallSend: {Day: 1}},
		Tokens: TokenSettings{ForcedADay: 1}}})
	b.Configure(Settings{Window: WindowToday})
	b.Act(app, "o1", UserMessaged)
	b.PutKFAccount(app, KFAccount{Account: "a@test"})
	require.Zero(t, b.typing("o1", "Typing"))
	b.SetUsed(app, CallSend, 9)
	b.Add(Rule{Call: CallSend, Errcode: -1})
	require.Equal(t, http.StatusNoContent, b.must("POST", b.url+"/sandbox/reset", "").status)
	require.Empty(t, b.Rules())
	require.Empty(t, b.Users(app))
	require.Empty(t, b.KFAccounts(app))
	require.Empty(t, b.Received())
	require.Equal(t, Quota{Day: 1}, b.Settings().Quotas[CallSend])
	require.Zero(t, b.send("o1", "hi").code)
	require.Equal(t, 45009, b.send("o1", "hi").code)
	require.Zero(t, b.typing("o1", "Typing"))
}

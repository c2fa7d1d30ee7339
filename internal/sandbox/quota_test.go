package sandbox

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// call makes a POST with the good token.
func (b *fixture) call(path, body string) reply {
	b.t.Helper()
	return b.must(http.MethodPost, b.api(path), body)
}

const (
	sendPath  = "/cgi-bin/message/custom/send"
	quotaGet  = "/cgi-bin/openapi/quota/get"
	quotaPath = `{"cgi_path":"/cgi-bin/message/custom/send"}`
)

// atNoon is an hour far from the ends of a day and of a month, so that a test does not meet one by
// chance.
func (b *fixture) atNoon() {
	now := b.now().In(china)
	noon := time.Date(now.Year(), now.Month()+1, 10, 12, 0, 0, 0, china)
	b.Advance(noon.Sub(now))
	b.Grant(app, b.token)
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	t.Run("beyond the day's quota it is 45009 until midnight in China", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{TokenTTL: 1000 * time.Hour,
			Settings: Settings{Quotas: map[string]Quota{CallSend: {Day: 2}}}})
		b.atNoon()
		require.Zero(t, b.send("o1", "1").code)
		require.Equal(t, 47001, b.must("POST", b.sendURL(), "{").code,
			"a refused message is a call as well")
		require.Equal(t, 45009, b.send("o1", "3").code)
		require.False(t, b.Newest(Filter{}, 1)[0].Delivered)
		b.Advance(11 * time.Hour)
		require.Equal(t, 45009, b.send("o1", "4").code)
		b.Advance(time.Hour)
		require.Zero(t, b.send("o1", "5").code)
	})
	t.Run("beyond the minute's quota it is 45011 until the next minute of the clock",
		func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{TokenTTL: 1000 * time.Hour,
				Settings: Settings{Quotas: map[string]Quota{sendPath: {Minute: 1}}}})
			b.atNoon()
			require.Zero(t, b.send("o1", "1").code)
			require.Equal(t, 45011, b.send("o1", "2").code)
			b.Advance(time.Minute)
			require.Zero(t, b.send("o1", "3").code)
		})
	t.Run("each app has its own, and each call", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: Settings{Quotas: map[string]Quota{CallSend: {Day: 1}}}})
		b.Grant("wx2", "other")
		require.Zero(t, b.send("o1", "1").code)
		require.Equal(t, 45009, b.send("o1", "2").code)
		require.JSONEq(t, `{"kf_list":[]}`, b.kf("getkflist", "").body)
		require.Zero(t, b.sendWith("other"))
	})
	t.Run("a path counts more than a name", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: Settings{Quotas: map[string]Quota{
			CallKFAccount: {Day: 1}, "/customservice/kfaccount/add": {},
			"/customservice/kfaccount/del": {Day: 2},
		}}})
		for i := range 3 {
			require.Zero(t, b.kf("add", account(fmt.Sprintf("a%d@test", i), "n")).code)
		}
		require.Zero(t, b.kf("update", account("a0@test", "m")).code)
		require.Equal(t, 45009, b.kf("update", account("a0@test", "m")).code)
		require.Zero(t, b.kf("del", account("a0@test", "m")).code)
		require.Zero(t, b.kf("del", account("a1@test", "m")).code)
		require.Equal(t, 45009, b.kf("del", account("a2@test", "m")).code)
	})
	t.Run("token calls have quotas too, by app", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Apps: map[string]string{app: "s", "wx2": "s"},
			Settings: Settings{Quotas: map[string]Quota{"/cgi-bin/token": {Day: 1}}}})
		tokenIn(t, b.legacyToken(app, "s"))
		require.Equal(t, 45009, b.legacyToken(app, "s").code)
		tokenIn(t, b.legacyToken("wx2", "s"))
		tokenIn(t, b.stableToken(app, "s", false))
		require.Equal(t, 40125, b.legacyToken(app, "wrong").code, "the secret comes first")
		r := b.must("POST", b.url+"/cgi-bin/clear_quota/v2", `{"appid":"`+app+`","appsecret":"s"}`)
		require.Zero(t, r.code)
		tokenIn(t, b.legacyToken(app, "s"))
	})
	t.Run("a quota is met exactly by many at once, also without a look at bodies",
		func(t *testing.T) {
			t.Parallel()
			b := start(t,
				Options{Fast: true,
					Settings: Settings{Quotas: map[string]Quota{CallSend: {Day: 10}}}})
			codes := make(chan int)
			for range 20 {
				go func() {
					r, err := b.do("POST", b.sendURL(), "x")
					if err != nil {
						r.code = -1
					}
					codes <- r.code
				}()
			}
			got := map[int]int{}
			for range 20 {
				got[<-codes]++
			}
			require.Equal(t, map[int]int{0: 10, 45009: 10}, got)
		})
}

func TestTheQuotaCanBeAskedFor(t *testing.T) {
	t.Parallel()
	t.Run("without a limit it is the documented one, not enforced", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.send("o1", "1")
		require.JSONEq(t,
			`{"errcode":0,"errmsg":"ok","quota":{"daily_limit":500000,"used":1,"remain":499999}}`,
			b.call(quotaGet, quotaPath).body)
		require.JSONEq(t,
			`{"errcode":0,"errmsg":"ok","quota":{"daily_limit":2000,"used":0,"remain":2000}}`,
			b.call(quotaGet, `{"cgi_path":"/cgi-bin/token"}`).body)
		require.Equal(t, "quota", b.Received()[1].Call)
		b.SetUsed(app, CallSend, 600_000)
		require.JSONEq(t,
			`{"errcode":0,"errmsg":"ok","quota":{"daily_limit":500000,"used":600000,"remain":0}}`,
			b.call(quotaGet, quotaPath).body)
		require.Zero(t, b.send("o1", "2").code)
	})
	t.Run("a minute's limit is told as a rate", func(t *testing.T) {
		t.Parallel()
		b := start(t,
			Options{Settings: Settings{Quotas: map[string]Quota{CallSend: {Day: 5, Minute: 3}}}})
		require.JSONEq(t,
			`{"errcode":0,"errmsg":"ok","quota":{"daily_limit":5,"used":0,"remain":5},`+
				`"rate_limit":{"call_count":3,"refresh_second":60}}`,
			b.call(quotaGet, quotaPath).body)
	})
	for name, tc := range map[string]struct {
		path, body string
		code       int
	}{
		"an unknown path is 76021": {quotaGet, `{"cgi_path":"/cgi-bin/nothing"}`, 76021},
		"a path without its slash is 76021": {
			quotaGet, `{"cgi_path":"cgi-bin/message/custom/send"}`, 76021,
		},
		"no path is 76021": {quotaGet, `{}`, 76021},
		"no body is 44002": {quotaGet, "", 44002},
		"no JSON is 47001": {quotaGet, "x", 47001},
		"to clear an unknown path is 76021": {
			"/cgi-bin/openapi/quota/clear", `{"cgi_path":"/x"}`, 76021,
		},
		"to clear for nobody is 41002":      {"/cgi-bin/clear_quota", `{}`, 41002},
		"to clear for another app is 40013": {"/cgi-bin/clear_quota", `{"appid":"wx2"}`, 40013},
		"to clear by a wrong secret is 40125": {
			"/cgi-bin/clear_quota/v2", `{"appid":"` + app + `","appsecret":"x"}`, 40125,
		},
		"to clear by the secret of nobody is 41002": {
			"/cgi-bin/clear_quota/v2", `{"appsecret":"x"}`, 41002,
		},
		"to clear by the secret of a stranger: 40013": {
			"/cgi-bin/clear_quota/v2", `{"appid":"wx2","appsecret":"x"}`, 40013,
		},
		"to clear by no secret is 41004": {
			"/cgi-bin/clear_quota/v2", `{"appid":"` + app + `"}`, 41004,
		},
		"to clear by no JSON is 47001": {"/cgi-bin/clear_quota/v2", `x`, 47001},
		"to clear by nothing is 44002": {"/cgi-bin/clear_quota/v2", ``, 44002},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Apps: map[string]string{app: "s"}})
			require.Equal(t, tc.code, b.call(tc.path, tc.body).code)
		})
	}
}

func TestClearingQuotas(t *testing.T) {
	t.Parallel()
	limited := Settings{Quotas: map[string]Quota{CallSend: {Day: 1}}}
	for name, clearing := range map[string][2]string{
		"all of the app":  {"/cgi-bin/clear_quota", `{"appid":"` + app + `"}`},
		"all by secret":   {"/cgi-bin/clear_quota/v2", `{"appid":"` + app + `","appsecret":"s"}`},
		"one of the APIs": {"/cgi-bin/openapi/quota/clear", quotaPath},
	} {
		t.Run(name+" works ten times a month", func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{TokenTTL: 2000 * time.Hour, Settings: limited})
			b.atNoon()
			for range 10 {
				require.Zero(t, b.send("o1", "1").code)
				require.Equal(t, 45009, b.send("o1", "2").code)
				require.Zero(t, b.call(clearing[0], clearing[1]).code)
			}
			require.Zero(t, b.send("o1", "1").code)
			require.Equal(t, 48006, b.call(clearing[0], clearing[1]).code)
			require.Equal(t, 45009, b.send("o1", "2").code)
			b.Advance(31 * 24 * time.Hour)
			require.Zero(t, b.call(clearing[0], clearing[1]).code)
		})
	}
	t.Run("the secret is nowhere to be seen", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Apps: map[string]string{app: "s"}})
		b.call("/cgi-bin/clear_quota/v2", `{"appid":"`+app+`","appsecret":"canary"}`)
		require.Equal(t, app, b.Received()[0].AppID)
		require.Empty(t, b.Received()[0].Body)
	})
}

package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func (b *fixture) stableToken(appID, secret string, force bool) reply {
	b.t.Helper()
	return b.must("POST", b.url+"/cgi-bin/stable_token",
		fmt.Sprintf(`{"grant_type":"client_credential","appid":%q,"secret":%q,"force_refresh":%v}`,
			appID, secret, force))
}

func (b *fixture) legacyToken(appID, secret string) reply {
	b.t.Helper()
	return b.must("GET",
		b.url+"/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret, "")
}

func tokenIn(t *testing.T, r reply) (token string, expiresIn int) {
	t.Helper()
	var a struct {
		Token string `json:"access_token"`
		In    int    `json:"expires_in"`
	}
	require.NoError(t, json.Unmarshal([]byte(r.body), &a))
	require.NotEmpty(t, a.Token, r.body)
	require.NotContains(t, r.body, "errcode")
	return a.Token, a.In
}

func (b *fixture) sendWith(token string) int {
	b.t.Helper()
	return b.must("POST", b.url+"/cgi-bin/message/custom/send?access_token="+token,
		message("oUser1", "hi")).code
}

func TestTokenCallRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		method string
		path   string
		body   string
		code   int
	}{
		{"stable: GET is 43002", "GET", "/cgi-bin/stable_token", "", 43002},
		{"stable: an empty body is 44002", "POST", "/cgi-bin/stable_token", "", 44002},
		{"stable: no JSON is 47001",
			"POST", "/cgi-bin/stable_token", "grant_type=client_credential", 47001},
		{"stable: another grant is 40002",
			"POST", "/cgi-bin/stable_token",
			`{"grant_type":"x","appid":"` + app + `","secret":"s"}`, 40002},
		{"stable: no appid is 41002",
			"POST", "/cgi-bin/stable_token", `{"grant_type":"client_credential","secret":"s"}`,
			41002},
		{"stable: no secret is 41004",
			"POST", "/cgi-bin/stable_token",
			`{"grant_type":"client_credential","appid":"` + app + `"}`, 41004},
		{"stable: an unknown app is 40013",
			"POST", "/cgi-bin/stable_token",
			`{"grant_type":"client_credential","appid":"wx2","secret":"s"}`, 40013},
		{"stable: a wrong secret is 40125",
			"POST", "/cgi-bin/stable_token",
			`{"grant_type":"client_credential","appid":"` + app + `","secret":"x"}`, 40125},
		{"legacy: POST is 43001",
			"POST", "/cgi-bin/token?grant_type=client_credential&appid=" + app + "&secret=s", "",
			43001},
		{"legacy: no grant is 40002",
			"GET", "/cgi-bin/token?appid=" + app + "&secret=s", "", 40002},
		{"legacy: an unknown app is 40013",
			"GET", "/cgi-bin/token?grant_type=client_credential&appid=wx2&secret=s", "", 40013},
		{"legacy: a wrong secret is 40125",
			"GET", "/cgi-bin/token?grant_type=client_credential&appid=" + app + "&secret=x", "",
			40125},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Apps: map[string]string{app: "s"}})
			require.Equal(t, tc.code, b.must(tc.method, b.url+tc.path, tc.body).code)
			require.Zero(t, b.Stats().TokensIssued)
			require.Equal(t, "token", b.Received()[0].Call)
			require.Empty(t, b.Received()[0].Body, "the body of a token call holds a secret")
		})
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	t.Run("the stable call gives the same token while it is valid", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Apps: map[string]string{app: "s"}, TokenPrefix: "canary-"})
		first, in := tokenIn(t, b.stableToken(app, "s", false))
		second, _ := tokenIn(t, b.stableToken(app, "s", false))
		require.Equal(t, first, second)
		require.Regexp(t, `^canary-[A-Z0-9]{130}$`, first)
		require.InDelta(t, 7200, in, 2)
		require.Zero(t, b.sendWith(first))
		require.Equal(t, app, b.Received()[2].AppID)
	})
	t.Run("a forced refresh kills the token before it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		first, _ := tokenIn(t, b.stableToken(app, "any", false))
		second, _ := tokenIn(t, b.stableToken(app, "any", true))
		require.NotEqual(t, first, second)
		require.Equal(t, 40001, b.sendWith(first))
		require.Zero(t, b.sendWith(second))
		require.Equal(t, 1, b.Stats().TokensForced)
		require.Equal(t, 2, b.Stats().TokensIssued)
	})
	t.Run("the legacy call gives a new token each time, and the old one still works",
		func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			first, _ := tokenIn(t, b.legacyToken(app, "any"))
			second, _ := tokenIn(t, b.legacyToken(app, "any"))
			require.NotEqual(t, first, second)
			require.Zero(t, b.sendWith(first))
			require.Zero(t, b.sendWith(second))
		})
	t.Run("expired tokens draw 40001 and the stable call then gives a new one", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		mine, _ := tokenIn(t, b.stableToken(app, "any", false))
		theirs, _ := tokenIn(t, b.stableToken("wx2", "any", false))
		b.ExpireTokens(app)
		require.Equal(t, 40001, b.sendWith(mine))
		require.Zero(t, b.sendWith(theirs))
		b.ExpireTokens()
		require.Equal(t, 40001, b.sendWith(theirs))
		fresh, _ := tokenIn(t, b.stableToken(app, "any", false))
		require.NotEqual(t, mine, fresh)
		require.Zero(t, b.sendWith(fresh))
	})
	t.Run("a rule can make tokens stale at the k-th send", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: CallSend, After: 1, Times: 1, ExpireTokens: true})
		require.Zero(t, b.sendWith(b.token))
		require.Equal(t, 40001, b.sendWith(b.token))
		require.Equal(t, 40001, b.sendWith(b.token))
	})
	t.Run("a token kept from the API by a reset was never issued", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: "/cgi-bin/stable_token", Reset: ResetBefore, Times: 1})
		_, err := b.do("POST", b.url+"/cgi-bin/stable_token", `{}`)
		require.Error(t, err)
		require.Zero(t, b.Stats().TokensIssued)
		tokenIn(t, b.legacyToken(app, "any"))
	})
	t.Run("a scripted token reply can say nonsense", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: CallToken, Body: `{"access_token":"odd","expires_in":-1}`})
		b.Grant(app, "odd")
		require.Equal(t, `{"access_token":"odd","expires_in":-1}`,
			b.stableToken(app, "any", false).body)
		require.Zero(t, b.sendWith("odd"))
	})
}

func TestTokensOverTime(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Hour
	t0 := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

	t.Run("a stable token is renewed in its last five minutes and lives on to its end",
		func(t *testing.T) {
			t.Parallel()
			ts := newTokens(ttl, "", newApps(0))
			old := ts.stable(app, t0)
			require.Same(t, old, ts.stable(app, t0.Add(ttl-5*time.Minute-1)))
			fresh := ts.stable(app, t0.Add(ttl-5*time.Minute))
			require.NotSame(t, old, fresh)
			require.Zero(t, old.check(t0.Add(ttl-1)))
			require.Equal(t, 42001, old.check(t0.Add(ttl)))
			require.Zero(t, fresh.check(t0.Add(ttl)))
		})
	t.Run("a legacy token dies five minutes after its successor came", func(t *testing.T) {
		t.Parallel()
		ts := newTokens(ttl, "", newApps(0))
		old := ts.legacy(app, t0)
		ts.legacy(app, t0.Add(time.Hour))
		require.Zero(t, old.check(t0.Add(time.Hour+5*time.Minute-1)))
		require.Equal(t, 40001, old.check(t0.Add(time.Hour+5*time.Minute)))
	})
	t.Run("the two families leave each other alone", func(t *testing.T) {
		t.Parallel()
		ts := newTokens(ttl, "", newApps(0))
		stable, legacy := ts.stable(app, t0), ts.legacy(app, t0)
		ts.force(app, 0, t0)
		require.Zero(t, legacy.check(t0.Add(time.Hour)))
		require.Equal(t, 40001, stable.check(t0))
	})
	t.Run("dead tokens are dropped in the end", func(t *testing.T) {
		t.Parallel()
		ts := newTokens(ttl, "", newApps(0))
		for i := range 100_000 {
			ts.legacy(app, t0.Add(time.Duration(i)*time.Minute))
		}
		require.Less(t, len(ts.byValue), 1100)
	})
	t.Run("the announced time is whole seconds and never nothing", func(t *testing.T) {
		t.Parallel()
		s := New(Options{TokenTTL: 10 * time.Millisecond})
		tok := s.tokens.stable(app, t0)
		a := tokenAnswer(tok, t0)
		require.Equal(t, http.StatusOK, a.status)
		require.Contains(t, string(a.body), `"expires_in":1}`)
	})
}

package sandbox

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func decode[T any](t *testing.T, r reply) T {
	t.Helper()
	var v T
	require.NoError(t, json.Unmarshal([]byte(r.body), &v), r.body)
	return v
}

func TestScriptOverHTTP(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	r := b.must("POST", b.url+"/sandbox/rules",
		`{"call":"send","errcode":-1,"times":1,"delay":"1ms"}`)
	require.Equal(t, http.StatusCreated, r.status)
	require.JSONEq(t,
		`[{"id":1,"seen":0,"hits":0,"rule":{"call":"send","errcode":-1,"times":1,"delay":"1ms"}}]`,
		r.body)
	r = b.must("POST", b.url+"/sandbox/rules",
		` [{"call":"send","openid":"o2","errcode":45047},{"call":"token","errcode":40164}]`)
	require.Equal(t, http.StatusCreated, r.status)

	require.Equal(t, -1, b.send("o1", "hi").code)
	require.Equal(t, 0, b.send("o1", "hi").code)
	require.Equal(t, 45047, b.send("o2", "hi").code)
	require.Regexp(t,
		`^invalid ip 203\.0\.113\.7 ipv6 ::ffff:203\.0\.113\.7, not in whitelist rid: `,
		b.stableToken(app, "any", false).msg)

	require.Equal(t, b.Rules(), decode[[]RuleStatus](t, b.must("GET", b.url+"/sandbox/rules", "")))
	require.Equal(t, []int{1, 1, 1}, []int{b.Rules()[0].Hits, b.Rules()[1].Hits, b.Rules()[2].Hits})

	require.Equal(t, http.StatusNoContent, b.must("DELETE", b.url+"/sandbox/rules/2", "").status)
	require.Equal(t, http.StatusNotFound, b.must("DELETE", b.url+"/sandbox/rules/2", "").status)
	require.Len(t, b.Rules(), 2)
	require.Equal(t, http.StatusNoContent, b.must("DELETE", b.url+"/sandbox/rules", "").status)
	require.JSONEq(t, `[]`, b.must("GET", b.url+"/sandbox/rules", "").body)
}

func TestReceivedOverHTTP(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	b.send("o1", "<b>你好</b>")
	b.send("o2", "2")
	b.must("POST", b.sendURL(), "\xff")
	b.send("o1", "4")
	get := func(query string) []Record {
		return decode[[]Record](t, b.must("GET", b.url+"/sandbox/received?"+query, ""))
	}
	numbers := func(rs []Record) []int {
		ns := []int{}
		for _, r := range rs {
			ns = append(ns, r.N)
		}
		return ns
	}
	all := get("")
	require.Len(t, all, 4)
	want := b.Received()
	require.Equal(t, want[0].Body, all[0].Body)
	require.Equal(t, "text", all[0].MsgType)
	require.True(t, want[0].At.Equal(all[0].At))

	raw := b.must("GET", b.url+"/sandbox/received", "").body
	require.Contains(t, raw, `<b>你好</b>`)
	require.Contains(t, raw, `"body_base64":"/w=="`)

	for query, ns := range map[string][]int{
		"openid=o1":                      {1, 4},
		"call=send&limit=2":              {1, 2},
		"since=2":                        {3, 4},
		"since=1&limit=2":                {2, 3},
		"newest=1":                       {4},
		"newest=1&openid=o2":             {2},
		"delivered=true":                 {1, 2, 4},
		"contains=%E4%BD%A0":             {1},
		"openid=nobody":                  {},
		"appid=" + app + "&msgtype=text": {1, 2, 4},
	} {
		require.Equal(t, ns, numbers(get(query)), query)
	}

	for name, req := range map[string]func() reply{
		"by parameter": func() reply {
			return b.must("GET", b.url+"/sandbox/received?format=ndjson", "")
		},
		"by header": func() reply {
			req, err := http.NewRequestWithContext(t.Context(), "GET",
				b.url+"/sandbox/received", nil)
			require.NoError(t, err)
			req.Header.Set("Accept", "application/x-ndjson")
			r, err := b.roundTrip(req)
			require.NoError(t, err)
			return r
		},
	} {
		r := req()
		require.Equal(t, "application/x-ndjson", r.header.Get("Content-Type"), name)
		lines := 0
		for sc := bufio.NewScanner(strings.NewReader(r.body)); sc.Scan(); lines++ {
			var rec Record
			require.NoError(t, json.Unmarshal(sc.Bytes(), &rec))
			require.Equal(t, lines+1, rec.N)
		}
		require.Equal(t, 4, lines)
	}
	require.Empty(t, b.must("GET", b.url+"/sandbox/received?format=ndjson&openid=nobody", "").body)

	require.JSONEq(t, `{"count":2}`, b.must("GET", b.url+"/sandbox/count?openid=o1", "").body)
	require.JSONEq(t, `{"o1":2}`, b.must("GET", b.url+"/sandbox/count?by=openid&over=1", "").body)

	st := decode[Stats](t, b.must("GET", b.url+"/sandbox/stats", ""))
	require.Equal(t, 4, st.Sends)
	require.Equal(t, map[int]int{0: 3, 47001: 1}, st.Calls["send"].Errcodes)
	require.Equal(t, 2, st.OpenIDs)

	require.Equal(t, http.StatusNoContent, b.must("DELETE", b.url+"/sandbox/received", "").status)
	require.JSONEq(t, `[]`, b.must("GET", b.url+"/sandbox/received", "").body)
}

func TestWaitOverHTTP(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	answers := make(chan reply, 2)
	for _, query := range []string{"n=2", "openid=o2"} {
		go func() {
			r, _ := b.do("GET", b.url+"/sandbox/wait?"+query, "")
			answers <- r
		}()
	}
	b.send("o1", "1")
	b.send("o2", "2")
	require.Equal(t, http.StatusOK, (<-answers).status)
	require.Equal(t, http.StatusOK, (<-answers).status)
	r := b.must("GET", b.url+"/sandbox/wait?n=3&timeout=1ms", "")
	require.Equal(t, http.StatusGatewayTimeout, r.status)
	require.JSONEq(t, `{"error":"waiting for 3 calls: context deadline exceeded"}`, r.body)
}

func TestTokensOverHTTP(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	require.Equal(t, http.StatusNoContent,
		b.must("POST", b.url+"/sandbox/tokens", `{"appid":"wx2","access_token":"theirs"}`).status)
	require.Zero(t, b.sendWith("theirs"))
	require.Equal(t, http.StatusNoContent,
		b.must("POST", b.url+"/sandbox/tokens/expire?appid=wx2", "").status)
	require.Equal(t, 40001, b.sendWith("theirs"))
	require.Zero(t, b.sendWith(b.token))
	require.Equal(t, http.StatusNoContent,
		b.must("POST", b.url+"/sandbox/tokens/expire", "").status)
	require.Equal(t, 40001, b.sendWith(b.token))
	b.Add(Rule{})
	require.Equal(t, http.StatusNoContent, b.must("POST", b.url+"/sandbox/reset", "").status)
	require.Zero(t, b.Stats().Sends)
	require.Empty(t, b.Rules())
}

func TestControlRefusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		method string
		path   string
		body   string
		status int
		want   string
	}{
		{"a misspelt field", "POST", "/sandbox/rules", `{"errorcode":-1}`, 400,
			`rule: json: unknown field "errorcode"`},
		{"no JSON", "POST", "/sandbox/rules", `errcode=-1`, 400,
			`invalid character 'e' looking for beginning of value`},
		{"one impossible rule of two adds none",
			"POST", "/sandbox/rules", `[{},{"share":2}]`, 400,
			"number 2 of 2: rule: share: not within 0..1"},
		{"a rule that is not there", "DELETE", "/sandbox/rules/x", "", 404, `no rule "x"`},
		{"a misspelt parameter",
			"GET", "/sandbox/received?open_id=o", "", 400, `unknown parameter "open_id"`},
		{"a negative limit",
			"GET", "/sandbox/received?limit=-1", "", 400, `limit: "-1" is no number from 0 on`},
		{"an unknown format",
			"GET", "/sandbox/received?format=xml", "", 400, `format "xml": not json or ndjson`},
		{"a flag that is none", "GET", "/sandbox/count?delivered=maybe", "", 400,
			`delivered: "maybe" is not true or false`},
		{"an unknown field to count by",
			"GET", "/sandbox/count?by=colour", "", 400,
			`by "colour": not openid, appid, msgtype, errcode or hash`},
		{"a timeout without a unit",
			"GET", "/sandbox/wait?timeout=5", "", 400,
			`timeout: "5" is no duration such as 150ms or 2s`},
		{"a token for nobody", "POST", "/sandbox/tokens", `{"access_token":"x"}`, 400,
			"appid and access_token are needed"},
		{"a parameter nobody reads",
			"POST", "/sandbox/tokens/expire?app=x", "", 400, `unknown parameter "app"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{})
			r := b.must(tc.method, b.url+tc.path, tc.body)
			require.Equal(t, tc.status, r.status)
			require.Equal(t, tc.want, decode[map[string]string](t, r)["error"])
			require.Empty(t, b.Rules())
		})
	}
	t.Run("a page in a browser cannot script it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		req, err := http.NewRequestWithContext(t.Context(), "POST", b.url+"/sandbox/rules",
			strings.NewReader(`{"errcode":-1}`))
		require.NoError(t, err)
		req.Header.Set("Origin", "https://evil.example")
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		r, err := b.roundTrip(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusForbidden, r.status)
		require.Empty(t, b.Rules())
	})
	t.Run("an unknown path is 404 and an unknown method 405", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		require.Equal(t, http.StatusNotFound, b.must("GET", b.url+"/nothing", "").status)
		require.Equal(t, http.StatusMethodNotAllowed,
			b.must("PUT", b.url+"/sandbox/rules", "").status)
		require.Empty(t, b.Received(), "control calls are not recorded")
	})
}

func TestThePageSaysWhereItIs(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	for _, path := range []string{"/", "/sandbox/"} {
		r := b.must("GET", b.url+path, "")
		require.Equal(t, "text/plain; charset=utf-8", r.header.Get("Content-Type"))
		require.Contains(t, r.body, "curl -s "+b.url+"/sandbox/rules -d ")
		require.NotContains(t, r.body, "{{")
	}
}

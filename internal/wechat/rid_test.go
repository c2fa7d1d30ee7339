package wechat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestAPastCallShowsNoToken(t *testing.T) {
	t.Parallel()
	const old = "50_OLD-token/canary+0123456789=="
	for name, row := range map[string]struct {
		url, body, response          string
		wantURL, wantBody, wantReply string
	}{
		"a URL": {
			"https://api.weixin.qq.com/cgi-bin/message/custom/send?access_token=" + old,
			`{"touser":"o"}`, `{"errcode":40003}`,
			"https://api.weixin.qq.com/cgi-bin/message/custom/send?access_token=[redacted]",
			`{"touser":"o"}`, `{"errcode":40003}`,
		},
		"the query alone, as the page shows it": {
			"access_token=" + old + "&kf_account=a@b", "", "",
			"access_token=[redacted]&kf_account=a@b", "", "",
		},
		"the token escaped in the query, and plain elsewhere": {
			"/x?access_token=50_OLD-token%2Fcanary%2B0123456789%3D%3D", "x " + old, old,
			"/x?access_token=[redacted]", "x [redacted]", "[redacted]",
		},
		"the old token call": {
			"https://x/cgi-bin/token?grant_type=client_credential&appid=wx1&secret=" + appSecret,
			"", `{"access_token":"` + old + `","expires_in":7200}`,
			"https://x/cgi-bin/token?grant_type=[redacted]&appid=[redacted]&secret=[redacted]", "",
			`{"access_token":"[redacted]","expires_in":7200}`,
		},
		"the stable token call": {
			"https://x/cgi-bin/stable_token", `{"appid":"wx1", "secret" : "` + appSecret + `"}`,
			`{"access_token":"a\"b` + old + `"}`,
			"https://x/cgi-bin/stable_token", `{"appid":"wx1", "secret":"[redacted]"}`,
			`{"access_token":"[redacted]"}`,
		},
		"bodies cut short": {
			"", `{"appsecret":"` + appSecret, `{"access_token":"a\`,
			"", `{"appsecret":"[redacted]"`, `{"access_token":"[redacted]"`,
		},
		"a password": {
			"", `{"kf_account":"a@b","password":"5ebe2294ecd0e0f08eab7690d2a6ee69"}`, "",
			"", `{"kf_account":"a@b","password":"[redacted]"}`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reply, err := json.Marshal(map[string]any{"errcode": 0, "errmsg": "ok",
				"request": map[string]any{
					"invoke_time": 1700000000, "cost_in_ms": "30", "request_url": row.url,
					"request_body": row.body, "response_body": row.response, "client_ip": "1.2.3.4",
				}})
			require.NoError(t, err)
			got, err := newAnswering(t, "application/json",
				string(reply)).client(t).RID(t.Context(), "6382c1a4-5ad4c0a2-0f7d5d30")
			require.NoError(t, err)
			require.Equal(t, []string{row.wantURL, row.wantBody, row.wantReply},
				[]string{got.URL, got.Body, got.Response})
			require.EqualValues(t, 30, got.Millis)
			require.Equal(t, "1.2.3.4", got.ClientIP)
			require.EqualValues(t, 1700000000, got.At.Unix())
			requireNoLeak(t, got, old, appSecret)
		})
	}
}

func FuzzPastCall(f *testing.F) {
	f.Add(canary, "https://x/y?a=b&", `{"secret":"`, "x")
	f.Add(canary, "", `\"token":"`, `"}`)
	f.Fuzz(func(t *testing.T, token, before, field, after string) {
		if len(token) < minSecret || strings.ContainsAny(token, "=&#?\" \t\r\n\v\f\\%+") ||
			strings.Contains(redacted, token) || !utf8.ValidString(token) ||
			strings.Contains(before+field+after, token) {
			return
		}
		hidden, rest := redactQuery(before + "access_token=" + token + "&" + after)
		require.NotContains(t, hidden, token)
		require.NotContains(t, rest.Replace(field+" "+token+" "+after), token)
		require.NotContains(t, redactFields(fmt.Sprintf(`{"access_token":"%s"}`, token)), token)
		require.NotContains(t, redactFields(fmt.Sprintf(`{"access_token" : "%s`, token)), token)
	})
}

func FuzzLists(f *testing.F) {
	f.Add([]byte(`{"kf_list":[{"kf_account":"a@b","kf_nick":"x","kf_id":"1001",` +
		`"kf_headimgurl":" http://x /0","invite_expire_time":1}]}`))
	f.Add([]byte(`{"kf_online_list":[{"kf_account":"a@b","status":1,"kf_id":1001,` +
		`"accepted_case":2}]}`))
	f.Add([]byte(`{"errcode":0,"quota":{"daily_limit":1,"used":"1","remain":1e3},` +
		`"rate_limit":{"call_count":1,"refresh_second":60}}`))
	f.Add([]byte(`{"errcode":0,"request":{"invoke_time":1,"cost_in_ms":-1,` +
		`"request_url":"access_token=x","request_body":null}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, failed := check(CallKFAccount, &answer{status: 200, body: body}, true, nil)
		if failed != nil {
			return
		}
		for _, read := range []func(reply) error{
			func(r reply) error { return errOnly(kfAccounts(r)) },
			func(r reply) error { return errOnly(onlineKFAccounts(r)) },
			func(r reply) error { return errOnly(quotaOf(r)) },
			func(r reply) error { return errOnly(pastCall(r)) },
		} {
			if err := read(r); err != nil {
				require.LessOrEqual(t, len(err.Error()), 200, "it repeats nothing of the answer")
			}
		}
	})
}

package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const ridGet = "/cgi-bin/openapi/rid/get"

// ridIn returns the request id at the end of an errmsg, as a call that looks it up.
func ridIn(t *testing.T, r reply) string {
	t.Helper()
	_, id, found := strings.Cut(r.msg, "rid: ")
	require.True(t, found, r.msg)
	return `{"rid":"` + id + `"}`
}

func TestLookingUpARequest(t *testing.T) {
	t.Parallel()
	t.Run("a refused call can be looked up", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: CallSend, Errcode: 45015, Delay: 7 * time.Millisecond})
		refused := b.send("oUser1", "hi")
		got := decode[struct {
			Errcode int
			Request map[string]any
		}](t, b.call(ridGet, ridIn(t, refused)))
		require.InDelta(t, time.Now().Unix(), got.Request["invoke_time"], 60)
		delete(got.Request, "invoke_time")
		require.Equal(t, map[string]any{
			"cost_in_ms": 7.0, "request_url": b.sendURL(), "request_body": message("oUser1", "hi"),
			"response_body": refused.body, "client_ip": "127.0.0.1",
		}, got.Request)
	})
	t.Run("for seven days", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{TokenTTL: 200 * time.Hour})
		id := ridIn(t, b.must("POST", b.sendURL(), "{"))
		b.Advance(7*24*time.Hour - time.Minute)
		require.Zero(t, b.call(ridGet, id).code)
		b.Advance(time.Minute)
		require.Equal(t, 76001, b.call(ridGet, id).code)
	})
	t.Run("by its own app", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Grant("wx2", "other")
		id := ridIn(t, b.must("POST", b.sendURL(), "{"))
		b.token = "other"
		require.Equal(t, 76003, b.call(ridGet, id).code)
	})
	t.Run("never with a secret", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: CallToken, Errcode: 40164})
		for _, refused := range []reply{b.stableToken(app, "canary", false),
			b.legacyToken(app, "canary")} {
			r := b.call(ridGet, ridIn(t, refused))
			require.Zero(t, r.code)
			require.NotContains(t, r.body, "canary")
		}
	})
	t.Run("the latest thousand are kept", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		first := ridIn(t, b.must("POST", b.sendURL(), "{"))
		second := ridIn(t, b.must("POST", b.sendURL(), "{"))
		for range keepRIDs - 1 {
			b.must("POST", b.sendURL(), "{")
		}
		require.Zero(t, b.call(ridGet, second).code)
		require.Equal(t, 76001, b.call(ridGet, first).code)
	})
	for name, tc := range map[string]struct {
		body string
		code int
	}{
		"an id that nobody got is 76001": {`{"rid":"01234567-01234567-01234567"}`, 76001},
		"a malformed one is 76002":       {`{"rid":"01234567"}`, 76002},
		"none is 76002":                  {`{}`, 76002},
		"no JSON is 47001":               {`x`, 47001},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.code, start(t, Options{}).call(ridGet, tc.body).code)
		})
	}
}

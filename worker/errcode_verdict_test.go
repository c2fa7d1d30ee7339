package worker

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// verdicts is what the contract says of each errcode that the platform's pages and the
// clients in the field name, when it comes as the answer to a send.
var verdicts = []struct {
	says  string
	want  Verdict
	codes string
}{
	{"sent", Verdict{do: doDone}, `0`},
	{
		"about this message: dead letter rejected at once",
		Verdict{do: doBury, reason: schema.ReasonRejected}, `
		40004 40005 40006 40007 40008 40009 40010 40011 40012 40023 40033 40035 40038 40039 40048
		40062 40066 40068 40073 40080 40097 40101 40118 40121 40126 40128 40130 40132 40137 40141
		40155 40165 40166 40168 40173 40191 40213 40214 40249 41005 41006 41009 41010 41011 41012
		44001 44003 44004 44997 45001 45002 45003 45004 45005 45006 45007 45008 45050 45064 45065
		45066 45067 45086 45098 45099 45113 45157 45158 45159 45162 45166 45168 46001 47001 47002
		48008 49002 53600 61452 65401 65402 87014 88000 9001001 9001003`,
	},
	{
		"about this user: dead letter recipient at once",
		Verdict{do: doBury, reason: schema.ReasonRecipient}, `
		40003 43004 43005 43006 43019 43101 45015 45037 45038 45047 45093 46004 48002 49003 50005
		50006 70000`,
	},
	{
		"busy: retried", Verdict{do: doRetry, delay: time.Second},
		`-1 -1000 268487001 268487002 46007 9001002`,
	},
	{
		"quota of the minute: the app is held",
		Verdict{
			do: doHold, hold: gate.Quota,
			hint: verdictNoon.Truncate(time.Minute).Add(time.Minute + 500*time.Millisecond),
		},
		`45011 44991`,
	},
	{
		"quota of the day: the app is held",
		Verdict{
			do: doHold, hold: gate.Quota, hint: time.Date(2026, 11, 25, 0, 1, 2, 0, gate.Beijing),
		},
		`45009`,
	},
	{
		"a token that is refused again after its refresh: the app is held",
		Verdict{do: doHold, hold: gate.Config},
		`40001 40014 41001 42001 48012`,
	},
	{
		"configuration, permission, punishment: the app is held",
		Verdict{do: doHold, hold: gate.Config}, `
		40002 40013 40090 40091 40094 40095 40125 40164 40187 40200 40221 40222 40234 40235 40243
		41002 41004 41018 41021 42002 42003 42005 42006 42007 43001 43002 43003 43007 43015 43016
		43104 44002 45032 45035 45040 45087 45094 45102 45103 45104 45501 48001 48003 48004 48009
		49001 50001 50002 50003 50004 50007 61000 61001 61002 61003 61004 61005 61006 61007 61009
		61010 61011 61014 61015 61016 61017 61023 61024 61028 61029 61052 61061 65400 87009 89501
		89502 89503 89504 89505 89506 89507`,
	},
	{
		"never seen, or on other calls only: two attempts",
		Verdict{do: doRetry, delay: time.Second},
		`4 1007 99999 61451 65404 45080`,
	},
}

var verdictNoon = time.Date(2026, 11, 24, 12, 0, 30, 0, gate.Beijing)

// TestEveryErrcodeHasItsVerdict takes each errcode over the wire: the API says it, the
// client reads it, decide decides.
func TestEveryErrcodeHasItsVerdict(t *testing.T) {
	t.Parallel()
	api := sayingErrcodes(t)
	hc := callingClient(t)
	listed := map[int]bool{}
	for _, row := range verdicts {
		for word := range strings.FieldsSeq(row.codes) {
			code, err := strconv.Atoi(word)
			require.NoError(t, err)
			require.False(t, listed[code], "%d stands in two rows", code)
			listed[code] = true

			err = wechat.NewClient(hc, api+"/"+word, oneToken{}).Send(t.Context(),
				[]byte(`{"touser":"o"}`))
			got := verdictOn(err)
			require.True(t, row.want.hint.Equal(got.hint), "%d, %s: until %s",
				code, row.says, got.hint)
			got.hint, got.detail = row.want.hint, ""
			require.Equal(t, row.want, got, "%d: %s", code, row.says)
		}
	}
	// No row of the table is without a word of the contract, whatever family it stands
	// in: a send may draw it.
	for _, c := range wechat.Codes() {
		if c.Call == wechat.CallAny || c.Call == wechat.CallSend {
			require.True(t, listed[c.Code], "errcode %d (%s)", c.Code, c.Name)
		}
	}
}

// TestAnErrcodeOfTheTokenCallHoldsTheApp: an errcode on the token call never speaks
// against the message. Whatever it is, the app waits and no attempt is spent.
func TestAnErrcodeOfTheTokenCallHoldsTheApp(t *testing.T) {
	t.Parallel()
	api := sayingErrcodes(t)
	hc := callingClient(t)
	for _, c := range append(wechat.Codes(), wechat.Code{Code: 99999}) {
		if c.Code == 0 {
			continue
		}
		base := fmt.Sprintf("%s/%d", api, c.Code)
		tokens := wechat.NewStableToken(hc, base, "wx1",
			func() (wechat.Secret, error) { return wechat.NewSecret("secret"), nil })
		err := wechat.NewClient(hc, base, tokens).Send(t.Context(), []byte(`{"touser":"o"}`))
		tokens.Close()
		got := verdictOn(err)
		switch {
		case c.Code == 45011, c.Code == 44991, c.Code == 45009:
			require.Equal(t, gate.Quota, got.hold, "%d", c.Code)
		case wechat.Explain(wechat.CallToken, c.Code).Fault == wechat.FaultUpstream:
			// and the breaker trips when it repeats
			require.Equal(t, doRetryUncounted, got.do, "%d", c.Code)
		default:
			require.Equal(t, Verdict{do: doHold, hold: gate.Config, detail: err.Error()}, got, "%d",
				c.Code)
		}
	}
}

// verdictOn is what is done about the outcome of a first attempt.
func verdictOn(err error) Verdict {
	o, _ := outcomeOf(err)
	p := policy{retry: Retry{Attempts: 6, First: time.Second, Cap: 5 * time.Minute},
		onUnknown: schema.PolicyResend}
	return decide(p, o, circumstances{attempt: 1, left: time.Hour, now: verdictNoon,
		jitter: 0.5, upstream: 1})
}

// sayingErrcodes is an API that says the errcode in the first part of its path.
func sayingErrcodes(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		_, _ = fmt.Fprintf(w, `{"errcode":%s,"errmsg":"x rid: 6382c1a4-5ad4c0a2-0f7d5d30"}`, code)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func callingClient(t *testing.T) *http.Client {
	t.Helper()
	hc, err := wechat.NewHTTPClient(wechat.HTTPOptions{Timeout: 30 * time.Second})
	require.NoError(t, err)
	t.Cleanup(hc.CloseIdleConnections)
	return hc
}

// oneToken is a token source that has nothing better.
type oneToken struct{}

func (oneToken) Token(context.Context) (wechat.Secret, error) {
	return wechat.NewSecret("token"), nil
}
func (oneToken) Stale(wechat.Secret) {}

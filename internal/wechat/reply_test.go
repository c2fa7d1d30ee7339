package wechat

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestCheckReadsTheAnswer(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("长", 400)
	for name, row := range map[string]struct {
		status int
		body   string
		want   *Error // nil: success
	}{
		"errcode 0 is success": {200, `{"errcode":0,"errmsg":"ok"}`, nil},
		"so it is with blanks, more fields and a BOM": {
			200, "\xef\xbb\xbf { \"errmsg\" : \"ok\" ,\n \"errcode\" : 0, \"x\":[{}]}\n", nil,
		},
		"so it is in a string": {200, `{"errcode":"0","errmsg":"ok"}`, nil},
		"a code of the recipient": {
			200, `{"errcode":45015,"errmsg":"late"}`,
			&Error{Fault: FaultRecipient, Code: 45015, Msg: "late"},
		},
		"a code in a string": {
			200, `{"errcode":"45015","errmsg":"late"}`,
			&Error{Fault: FaultRecipient, Code: 45015, Msg: "late"},
		},
		"a code as a float": {
			200, `{"errcode":4.5015e4}`, &Error{Fault: FaultRecipient, Code: 45015},
		},
		"a negative code": {
			200, `{"errcode":-1,"errmsg":"system error"}`,
			&Error{Fault: FaultBusy, Code: -1, Msg: "system error"},
		},
		"a code never seen": {200, `{"errcode":99999}`, &Error{Fault: FaultUnlisted, Code: 99999}},
		"raw control characters in a string": {
			200, "{\"errcode\":40003,\"errmsg\":\"a\x01\x1b[31m\nb\"}",
			&Error{Fault: FaultRecipient, Code: 40003, Msg: "a  [31m b"},
		},
		"a rid": {
			200, `{"errcode":40003,"errmsg":"invalid openid rid: 63a1-b2c3-d4e5"}`,
			&Error{
				Fault: FaultRecipient, Code: 40003, Msg: "invalid openid rid: 63a1-b2c3-d4e5",
				RID: "63a1-b2c3-d4e5",
			},
		},
		"an errmsg that is no string": {
			200, `{"errcode":40003,"errmsg":{"a":1}}`,
			&Error{Fault: FaultRecipient, Code: 40003, Msg: `{"a":1}`},
		},
		"a long errmsg is cut between characters": {
			200, `{"errcode":40003,"errmsg":"` + long + `"}`,
			&Error{Fault: FaultRecipient, Code: 40003, Msg: strings.Repeat("长", 169) + "…"},
		},
		"the token in an errmsg": {
			200, `{"errcode":40003,"errmsg":"bad ` + canary + `!"}`,
			&Error{Fault: FaultRecipient, Code: 40003, Msg: "bad [redacted]!"},
		},
		"the token in a rid": {
			200, `{"errcode":40003,"errmsg":"rid: ` + canary + `"}`,
			&Error{Fault: FaultRecipient, Code: 40003, Msg: "rid: [redacted]"},
		},
		"the token in two halves": {
			200, `{"errcode":40003,"errmsg":"` + canary[:5] + `\ufffd` + canary[5:] + `"}`,
			&Error{Fault: FaultRecipient, Code: 40003, Msg: "[redacted]"},
		},
		"the reading direction turned": {
			200, `{"errcode":40003,"errmsg":"a\u202eb\u2028c"}`,
			&Error{Fault: FaultRecipient, Code: 40003, Msg: "a b c"},
		},
		"the same code twice": {
			200, `{"errcode":40003,"errcode":40003}`, &Error{Fault: FaultRecipient, Code: 40003},
		},
		"two codes": {
			200, `{"errcode":0,"errcode":40003}`, &Error{Fault: FaultUnknown, Err: errTwoCodes},
		},
		"nothing": {200, "", &Error{Fault: FaultUnknown, Err: errEmptyReply}},
		"blanks":  {200, " \r\n", &Error{Fault: FaultUnknown, Err: errEmptyReply}},
		"an object without a code": {
			200, `{"errmsg":"ok"}`, &Error{Fault: FaultUnknown, Err: errNoErrcode},
		},
		"a code that is null": {
			200, `{"errcode":null}`, &Error{Fault: FaultUnknown, Err: errNoErrcode},
		},
		"a code that is a word": {
			200, `{"errcode":"ok"}`, &Error{Fault: FaultUnknown, Err: errBadErrcode},
		},
		"a code that is a bare word": {
			200, `{"errcode":ok}`, &Error{Fault: FaultUnknown, Err: errNotObject},
		},
		"a code that is hexadecimal": {
			200, `{"errcode":"0x0"}`, &Error{Fault: FaultUnknown, Err: errBadErrcode},
		},
		"a code that is empty": {
			200, `{"errcode":""}`, &Error{Fault: FaultUnknown, Err: errBadErrcode},
		},
		"a code that is broken": {
			200, `{"errcode":0.5}`, &Error{Fault: FaultUnknown, Err: errBadErrcode},
		},
		"a code that is huge": {
			200, `{"errcode":1e300}`, &Error{Fault: FaultUnknown, Err: errBadErrcode},
		},
		"a code beyond 32 bits": {
			200, `{"errcode":4294967296}`, &Error{Fault: FaultUnknown, Err: errBadErrcode},
		},
		"a code that is true": {
			200, `{"errcode":true}`, &Error{Fault: FaultUnknown, Err: errBadErrcode},
		},
		"a code that is an object": {
			200, `{"errcode":{}}`, &Error{Fault: FaultUnknown, Err: errBadErrcode},
		},
		"JSON cut short": {
			200, `{"errcode":0,"errm`, &Error{Fault: FaultUnknown, Err: errNotObject},
		},
		"JSON cut short before the last brace": {
			200, `{"errcode":0,"errmsg":"ok"`, &Error{Fault: FaultUnknown, Err: errNotObject},
		},
		"JSON with something behind it": {
			200, `{"errcode":0}{}`, &Error{Fault: FaultUnknown, Err: errNotObject},
		},
		"a list": {200, `[0]`, &Error{Fault: FaultUnknown, Err: errNotObject}},
		"HTML": {
			200, `<html>login</html>`, &Error{Fault: FaultUnknown, Err: errNotObject},
		},
		"gzip": {
			200, "\x1f\x8b\x08\x00", &Error{Fault: FaultUnknown, Err: errNotObject},
		},
		"404":                     {404, "not found", &Error{Fault: FaultUnknown}},
		"500":                     {500, "", &Error{Fault: FaultUnknown}},
		"502":                     {502, "<html>", &Error{Fault: FaultUnknown}},
		"503":                     {503, "", &Error{Fault: FaultBusy}},
		"504":                     {504, "", &Error{Fault: FaultUnknown}},
		"201 that says errcode 0": {201, `{"errcode":0}`, &Error{Fault: FaultUnknown}},
		"201 with a code": {
			201, `{"errcode":40003}`, &Error{Fault: FaultUnknown, Code: 40003},
		},
		"500 that says errcode 0": {
			500, `{"errcode":0,"errmsg":"ok"}`, &Error{Fault: FaultUnknown},
		},
		"500 with a known code is what the code says": {
			500, `{"errcode":-1}`, &Error{Fault: FaultBusy, Code: -1},
		},
		"401 with a stale token": {
			401, `{"errcode":40001}`, &Error{Fault: FaultToken, Code: 40001},
		},
		"403 with the IP not allowed": {
			403, `{"errcode":40164}`, &Error{Fault: FaultConfig, Code: 40164},
		},
		"503 with a known code": {
			503, `{"errcode":45009}`, &Error{Fault: FaultDayQuota, Code: 45009},
		},
		"500 with a code never seen is still unknown": {
			500, `{"errcode":7}`, &Error{Fault: FaultUnknown, Code: 7},
		},
		"503 with a code never seen is still busy": {
			503, `{"errcode":7}`, &Error{Fault: FaultBusy, Code: 7},
		},
		"412": {412, "", &Error{Fault: FaultConfig, Err: errNoLength}},
		"302 to nowhere": {
			302, "",
			&Error{Fault: FaultConfig, Err: errors.New("redirect to the same host refused")},
		},
		"429": {429, "", &Error{Fault: FaultMinuteQuota}},
		"429 with the minute quota": {
			429, `{"errcode":45011}`, &Error{Fault: FaultMinuteQuota, Code: 45011},
		},
		"429 with the day quota": {
			429, `{"errcode":45009}`, &Error{Fault: FaultDayQuota, Code: 45009},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := check(CallSend, &answer{status: row.status, body: []byte(row.body)},
				false, newMask(canary))
			if row.want == nil {
				require.Nil(t, got)
				return
			}
			require.NotNil(t, got)
			want := *row.want
			want.Call, want.HTTPStatus, want.HasCode = CallSend, row.status, want.Code != 0
			if want.Err != nil {
				require.EqualError(t, got.Err, want.Err.Error())
				want.Err, got.Err = nil, nil
			}
			require.Equal(t, want, *got)
		})
	}
}

func TestCheckTakesAnAnswerWithoutACodeWhereTheCallHasNone(t *testing.T) {
	t.Parallel()
	r, failed := check(CallToken,
		&answer{status: 200, body: []byte(`{"access_token":"a","expires_in":"7200"}`)}, true, nil)
	require.Nil(t, failed)
	require.Equal(t, "a", r.text("access_token"))
	n, ok := r.integer("expires_in")
	require.True(t, ok)
	require.EqualValues(t, 7200, n)

	_, failed = check(CallToken, &answer{status: 200, body: []byte(`<html>`)}, true, nil)
	require.Equal(t, FaultUpstream, failed.Fault)
}

func TestRetryAfterStaysWithinOneSecondAndOneHour(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, row := range map[string]struct {
		value, date string
		want        time.Duration
	}{
		"seconds":                         {"5", "", 5 * time.Second},
		"seconds with blanks":             {" 5 ", "", 5 * time.Second},
		"a fraction":                      {"1.5", "", 1500 * time.Millisecond},
		"zero":                            {"0", "", time.Second},
		"less than nothing":               {"-1", "", time.Second},
		"a day":                           {"86400", "", time.Hour},
		"a number that overflows":         {"1e12", "", time.Hour},
		"a number that overflows a float": {"1e999", "", time.Hour},
		"very many digits":                {strings.Repeat("9", 400), "", time.Hour},
		"a date":                          {at(90 * time.Second), "", 90 * time.Second},
		"a date gone by":                  {at(-time.Hour), "", time.Second},
		"a date next year":                {at(365 * 24 * time.Hour), "", time.Hour},
		"a date by the server's own clock": {
			at(10 * time.Minute), at(9 * time.Minute), time.Minute,
		},
		"nothing":      {"", "", 0},
		"words":        {"later", "", 0},
		"not a number": {"NaN", "", 0},
		"infinity":     {"Inf", "", 0},
		"hexadecimal":  {"0x10", "", 0},
		"a lone sign":  {"-", "", 0},
		"two numbers":  {"5, 6", "", 0},
	} {
		h := http.Header{}
		h.Set("Retry-After", row.value)
		if row.date != "" {
			h.Set("Date", row.date)
		}
		require.Equal(t, row.want, retryAfter(h, now), name)
	}
}

func TestFindRID(t *testing.T) {
	t.Parallel()
	for msg, want := range map[string]string{
		"invalid openid rid: 6382c1a4-5ad4c0a2-0f7d5d30": "6382c1a4-5ad4c0a2-0f7d5d30",
		"rid:6382c1a4":                          "6382c1a4",
		"rid:    6382c1a4, more":                "6382c1a4",
		"hint: [abc] rid: a-b":                  "a-b",
		"grid: 5":                               "",
		"grid: 5 rid: 6":                        "6",
		"rid: [redacted]":                       "",
		"rid: ":                                 "",
		"no id":                                 "",
		"":                                      "",
		"rid: " + strings.Repeat("a", maxRID):   strings.Repeat("a", maxRID),
		"rid: " + strings.Repeat("a", maxRID+1): "",
	} {
		require.Equal(t, want, findRID(msg), msg)
	}
}

func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		plainOK, `{"errcode":"45015","errmsg":"x rid: a-b"}`, `{"errcode":4.5e4}`,
		"{\"errcode\":0,\"errmsg\":\"\x01\"}", "", "[]", `{"errcode":0}x`,
	} {
		f.Add(200, []byte(seed))
		f.Add(429, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a := &answer{status: status, body: body, tooLong: len(body) > maxReply}
		r, e := check(CallSend, a, false, newMask(canary))
		if e == nil {
			// Success must be said, by a complete object that any parser would read so.
			require.Equal(t, 200, status)
			n, ok := r.integer("errcode")
			require.True(t, ok && n == 0)
			clean := strings.TrimPrefix(string(blankControls(body)), "\xef\xbb\xbf")
			require.True(t, json.Valid(blankControls([]byte(clean))))
			return
		}
		require.NotEqual(t, FaultNone, e.Fault)
		require.LessOrEqual(t, len(e.Msg), maxText)
		require.LessOrEqual(t, len(e.RID), maxRID)
		require.NotContains(t, e.Error(), canary)
		require.False(t, strings.ContainsFunc(e.Error(), unicode.IsControl))
		require.Equal(t, e.HasCode, e.Code != 0)
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"5", "-1", "1e12", "Tue, 24 Nov 2026 08:00:00 GMT", "x", ""} {
		f.Add(seed, "")
	}
	f.Add("Tue, 24 Nov 2026 08:00:00 GMT", "Tue, 24 Nov 2026 07:00:00 GMT")
	f.Fuzz(func(t *testing.T, value, date string) {
		d := retryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, time.Now())
		require.True(t, d == 0 || d >= time.Second && d <= time.Hour, "%s", d)
		if n, err := strconv.Atoi(value); err == nil {
			require.Equal(t, min(max(n, 1), 3600), int(d/time.Second))
		}
	})
}

func FuzzRID(f *testing.F) {
	f.Add("invalid openid rid: 6382c1a4-5ad4c0a2-0f7d5d30")
	f.Add("grid:a rid: [x]")
	f.Fuzz(func(t *testing.T, msg string) {
		id := findRID(msg)
		require.LessOrEqual(t, len(id), maxRID)
		require.Contains(t, msg, id)
		for i := range len(id) {
			require.True(t, isRIDByte(id[i]))
		}
	})
}

func FuzzMask(f *testing.F) {
	f.Add("the token is "+canary+"\x1b[0m", canary)
	f.Add(canary[:3]+"\ufffd"+canary[3:], canary)
	f.Fuzz(func(t *testing.T, s, secret string) {
		got := newMask(secret).text(s)
		require.LessOrEqual(t, len(got), maxText)
		require.True(t, utf8.ValidString(got))
		require.False(t, strings.ContainsFunc(got, unicode.IsControl))
		if len(secret) >= minSecret && !strings.Contains(redacted+redacted, secret) &&
			!strings.Contains(secret, redacted[:1]) &&
			!strings.Contains(secret, redacted[len(redacted)-1:]) {
			require.NotContains(t, got, secret)
		}
	})
}

package wechat

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// The oddities of the real API, each with the test that holds us to it.

func TestQuirkDeleteHasTwoMethodsAndTwoPlacesForTheAccount(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]sandbox.KFSettings{
		"whichever":       {},
		"today's POST":    {Delete: sandbox.DeletePost},
		"only a bare @":   {RawQuery: true},
		"the old numbers": {Errors: sandbox.KFErrorsOld},
	} {
		sb, c := startSandbox(t, sandbox.Options{Settings: sandbox.Settings{KFAccounts: set}})
		require.NoError(t, c.DeleteKFAccount(t.Context(), testAccount), name)
		require.Empty(t, sb.KFAccounts(testApp), name)
	}
	a := newAnswering(t, "text/plain", plainOK)
	require.NoError(t, a.client(t).DeleteKFAccount(t.Context(), testAccount))
	got := a.last(t)
	require.Equal(t, "POST /customservice/kfaccount/del", got.line)
	require.Equal(t, "access_token="+canary+"&kf_account=test1@test", got.query,
		"for those who look there")
	require.JSONEq(t, `{"kf_account":"test1@test"}`, got.body,
		"for those who look here; and nothing that could not match")
}

func TestQuirkErrcodeZeroMayKeepTheAccount(t *testing.T) {
	t.Parallel()
	sb, c := startSandbox(t, sandbox.Options{})
	sb.Add(sandbox.Rule{Call: "/customservice/kfaccount/del", Lose: true, Times: 1})
	require.NoError(t, c.DeleteKFAccount(t.Context(), testAccount))
	left, err := c.KFAccounts(t.Context())
	require.NoError(t, err)
	require.Len(t, left, 1, "which only a look afterwards shows")
}

func TestQuirkTheAtSignInAQueryStaysAsItIs(t *testing.T) {
	t.Parallel()
	sb, c := startSandbox(t,
		sandbox.Options{Settings: sandbox.Settings{KFAccounts: sandbox.KFSettings{RawQuery: true}}})
	require.NoError(t, c.SetAvatar(t.Context(), testAccount, testPhoto))
	require.NotEmpty(t, sb.KFAccounts(testApp)[0].Avatar)
	require.Equal(t, "&kf_account=a%26b%3Dc@d%23", accountQuery("a&b=c@d#"), "all else is escaped")
}

func TestQuirkKFIDIsAStringOrANumber(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		`"1001"`: "1001", `1001`: "1001", `null`: "", `""`: "",
		`12345678901234567890`: "12345678901234567890", `1e3`: "1e3", `-1`: "-1",
	} {
		list, err := newAnswering(t, "text/plain",
			`{"kf_list":[{"kf_account":"a@b","kf_id":`+id+`}]}`).client(t).KFAccounts(t.Context())
		require.NoError(t, err, id)
		require.Equal(t, want, list[0].ID, id)
		online, err := newAnswering(t, "text/plain",
			`{"kf_online_list":[{"kf_account":"a@b","kf_id":`+id+
				`}]}`).client(t).OnlineKFAccounts(t.Context())
		require.NoError(t, err, id)
		require.Equal(t, want, online[0].ID, id)
	}
	_, err := newAnswering(t, "text/plain",
		`{"kf_list":[{"kf_id":{"a":1}}]}`).client(t).KFAccounts(t.Context())
	requireUnknown(t, err, "no usable kf_list")
}

func TestQuirkOtherFieldsAreStringsOrNumbersToo(t *testing.T) {
	t.Parallel()
	list, err := newAnswering(t, "text/plain", `{"kf_list":[
		{"kf_account":"a@b","invite_wx":"w","invite_status":"waiting",
			"invite_expire_time":1123456789},
		{"kf_account":"c@d","kf_wx":"w","invite_expire_time":"1123456789"},
		{"kf_account":"e@f","kf_nick":7,"invite_expire_time":"soon"}]}`).
		client(t).KFAccounts(t.Context())
	require.NoError(t, err)
	when := time.Unix(1123456789, 0).UTC()
	require.Equal(t, []KFAccount{
		{Account: "a@b", Invited: "w", InviteStatus: "waiting", InviteExpires: when},
		{Account: "c@d", WeChatID: "w", InviteExpires: when},
		{Account: "e@f", Nick: "7"},
	}, list)
	online, err := newAnswering(t, "text/plain",
		`{"kf_online_list":[{"kf_account":"a@b","status":"1",`+
			`"accepted_case":2.0,"auto_accept":1}]}`).
		client(t).OnlineKFAccounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, []OnlineKFAccount{{Account: "a@b", Status: 1, Accepted: 2}}, online)
	quota, err := newAnswering(t, "text/plain",
		`{"errcode":"0","quota":{"daily_limit":"500000","used":1,"remain":"499999"}}`).
		client(t).Quota(t.Context(), SendPath)
	require.NoError(t, err)
	require.Equal(t, Quota{DailyLimit: 500000, Used: 1, Remain: 499999}, quota)
}

func TestQuirkNicknameGoesInAndKFNickComesOut(t *testing.T) {
	t.Parallel()
	sb, c := startSandbox(t, sandbox.Options{})
	require.NoError(t,
		c.UpdateKFAccount(t.Context(), KFAccountChange{Account: testAccount, Nickname: "小王"}))
	require.JSONEq(t, `{"kf_account":"test1@test","nickname":"小王"}`, sb.Received()[0].Body)
	list, err := c.KFAccounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, "小王", list[0].Nick)
}

func TestQuirkThereAreBlanksInImageURLs(t *testing.T) {
	t.Parallel()
	_, c := startSandbox(t, sandbox.Options{Settings: sandbox.Settings{
		KFAccounts: sandbox.KFSettings{ImageSpace: true},
	}})
	list, err := c.KFAccounts(t.Context())
	require.NoError(t, err)
	require.Regexp(t, `^http://\S+$`, list[0].HeadImg)
	require.Equal(t, "http://x/mmbiz/a/0", withoutBlanks(" http://x/mmbiz/a /0\u3000\t"))
}

func TestQuirkThePasswordIsOptionalAndHashed(t *testing.T) {
	t.Parallel()
	sb, c := startSandbox(t, sandbox.Options{})
	require.NoError(t,
		c.UpdateKFAccount(t.Context(), KFAccountChange{Account: testAccount, Nickname: "n"}))
	require.NotContains(t, sb.Received()[0].Body, "password", "today's API has none")
	require.NoError(t,
		c.UpdateKFAccount(t.Context(), KFAccountChange{testAccount, "n", HashPassword("secret")}))
	require.Contains(t, sb.Received()[1].Body, `"password":"5ebe2294ecd0e0f08eab7690d2a6ee69"`)
}

func TestQuirkPathPrefixesDiffer(t *testing.T) {
	t.Parallel()
	for _, m := range methods {
		_, path, _ := strings.Cut(m.path, " ")
		require.Equal(t, !strings.HasPrefix(path, "/customservice/"),
			strings.HasPrefix(path, "/cgi-bin/"), m.name)
	}
}

func TestQuirkABodyNeedsAContentLength(t *testing.T) {
	t.Parallel()
	// The sandbox's front end answers 412 to chunks, as the real one's: so none of these are.
	sb, c := startSandbox(t, sandbox.Options{})
	for _, m := range methods {
		var e *Error
		if err := m.call(t.Context(), c); err != nil {
			require.ErrorAs(t, err, &e, m.name)
			require.True(t, e.HasCode, m.name)
		}
	}
	require.Equal(t, len(methods), sb.Count(sandbox.Filter{}))
	// And when something in between makes chunks of it, it says so.
	sb.Add(sandbox.Rule{HTTPStatus: http.StatusPreconditionFailed})
	for _, m := range methods {
		err := m.call(t.Context(), c)
		require.ErrorIs(t, err, errNoLength, m.name)
	}
}

func TestQuirkTheAvatarIsOneFileOfAForm(t *testing.T) {
	t.Parallel()
	a := newAnswering(t, "text/plain", plainOK)
	photo := testPhoto
	require.NoError(t, a.client(t).SetAvatar(t.Context(), testAccount, photo))
	got := a.last(t)
	kind, params, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	require.NoError(t, err)
	require.Equal(t, "multipart/form-data", kind)
	form := multipart.NewReader(bytes.NewReader([]byte(got.body)), params["boundary"])
	part, err := form.NextPart()
	require.NoError(t, err)
	require.Equal(t, "media avatar.jpg image/jpeg",
		part.FormName()+" "+part.FileName()+" "+part.Header.Get("Content-Type"))
	content, err := io.ReadAll(part)
	require.NoError(t, err)
	require.Equal(t, photo, content)
	_, err = form.NextPart()
	require.ErrorIs(t, err, io.EOF)
}

func TestQuirkTheContentTypeLies(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"application/json", "text/plain", "text/html; charset=gbk",
		"image/png", ""} {
		require.NoError(t, newAnswering(t, kind, plainOK).client(t).Send(t.Context(), packet), kind)
		err := newAnswering(t, kind,
			`{"errcode":45015,"errmsg":"late"}`).client(t).Send(t.Context(), packet)
		require.ErrorIs(t, err, &Error{Call: CallSend, Code: 45015, HasCode: true}, kind)
		list, err := newAnswering(t, kind, `{"kf_list":[]}`).client(t).KFAccounts(t.Context())
		require.NoError(t, err, kind)
		require.Empty(t, list, kind)
	}
}

func TestQuirkAnEmptyAnswerIsNoSuccess(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"empty": "", "blanks": " \n", "HTML": "<html></html>",
		"cut short": `{"errcode":0,"errmsg":"o`, "a list": "[]",
		"a bare word for an errcode": `{"errcode":system error}`,
	} {
		for _, m := range methods {
			err := m.call(t.Context(), newAnswering(t, "text/html; charset=gbk", body).client(t))
			var e *Error
			require.ErrorAs(t, err, &e, "%s: %s", m.name, name)
			require.Equal(t, FaultUnknown, e.Fault, "%s: %s", m.name, name)
		}
	}
}

func TestQuirkAListThatIsMissingIsNotAnEmptyOne(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{}`, plainOK, `{"kf_list":"x","kf_online_list":7}`,
		`{"kf_list":[1],"kf_online_list":["a"]}`} {
		for _, m := range methods {
			if m.name != "list" && m.name != "online" {
				continue
			}
			requireUnknown(t, m.call(t.Context(), newAnswering(t, "text/plain", body).client(t)),
				"the answer holds no usable kf_")
		}
	}
	for _, body := range []string{`{"kf_list":[]}`, `{"errcode":0,"kf_list":null}`} {
		list, err := newAnswering(t, "text/plain", body).client(t).KFAccounts(t.Context())
		require.NoError(t, err, body)
		require.Empty(t, list, body)
	}
}

func TestQuirkRawControlCharactersInAnswers(t *testing.T) {
	t.Parallel()
	list, err := newAnswering(t, "text/plain",
		"{\"kf_list\":[{\"kf_account\":\"a@b\",\"kf_nick\":\"x\x01y\x1f\tz\"}]}").client(t).
		KFAccounts(t.Context())
	require.NoError(t, err)
	require.Equal(t, "x y  z", list[0].Nick)
	err = newAnswering(t, "text/plain",
		"{\"errcode\":61451,\"errmsg\":\"bad\x00\x07parameter\"}").client(t).
		DeleteKFAccount(t.Context(), testAccount)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, "bad  parameter", e.Msg)
}

func TestQuirkTheErrcodeIsAString(t *testing.T) {
	t.Parallel()
	for _, m := range methods {
		err := m.call(t.Context(),
			newAnswering(t, "text/plain", `{"errcode":"61453","errmsg":"exists"}`).client(t))
		require.ErrorIs(t, err, &Error{Code: 61453, HasCode: true}, m.name)
	}
}

func TestQuirkTheRIDStandsInTheErrmsg(t *testing.T) {
	t.Parallel()
	for msg, rid := range map[string]string{
		"invalid kf_account rid: 6382c1a4-5ad4c0a2-0f7d5d30": "6382c1a4-5ad4c0a2-0f7d5d30",
		// the older form says nothing that could be looked up
		"invalid kf_account hint: [abcd1234]": "",
	} {
		err := newAnswering(t, "text/plain",
			`{"errcode":61452,"errmsg":"`+msg+`"}`).client(t).DeleteKFAccount(t.Context(),
			testAccount)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, rid, e.RID)
		require.Equal(t, msg, e.Msg)
	}
	// And leads back to the call.
	_, c := startSandbox(t, sandbox.Options{})
	err := c.DeleteKFAccount(t.Context(), "other@test")
	var e *Error
	require.ErrorAs(t, err, &e)
	past, err := c.RID(t.Context(), e.RID)
	require.NoError(t, err)
	require.Contains(t, past.URL, "/customservice/kfaccount/del?access_token=[redacted]")
	require.JSONEq(t, `{"kf_account":"other@test"}`, past.Body)
	require.Contains(t, past.Response, "65401")
	require.NotEmpty(t, past.ClientIP)
	require.WithinDuration(t, time.Now(), past.At, time.Hour)
	_, err = c.RID(t.Context(), "6382c1a4-5ad4c0a2-0f7d5d30")
	require.ErrorIs(t, err, &Error{Call: CallQuota, Code: 76001, HasCode: true})
}

func TestQuirkInANormalStateIsASuccess(t *testing.T) {
	t.Parallel()
	a := newAnswering(t, "text/plain", `{"errcode":0,"errmsg":"in a normal state"}`)
	for _, m := range methods[:7] {
		require.NoError(t, m.call(t.Context(), a.client(t)), m.name)
	}
}

func TestQuirkPlainHTTPIsRefusedByTheAPI(t *testing.T) {
	t.Parallel()
	err := newAnswering(t, "text/plain",
		`{"errcode":43003,"errmsg":"require https"}`).client(t).SetAvatar(t.Context(),
		testAccount, testPhoto)
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, FaultConfig, e.Fault)
	require.Contains(t, Explain(e.Call, e.Code).DoEn, "wechat.base_url",
		"the document prints the avatar's URL with http")
}

func TestQuirkOldAndNewNumbersMeanTheSame(t *testing.T) {
	t.Parallel()
	for name, pair := range map[string][2]int{
		"exists": {61453, 65406}, "too many": {61456, 65405}, "unknown": {61452, 65401},
		"a bad name": {61455, 65404},
	} {
		require.Equal(t, Explain(CallKFAccount, pair[0]).Fault,
			Explain(CallKFAccount, pair[1]).Fault, name)
	}
}

func TestQuirkTheQuotaTellsTheRateOrNot(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]Quota{
		`{"errcode":0,"quota":{"daily_limit":5,"used":2,"remain":3}}`: {
			DailyLimit: 5, Used: 2, Remain: 3,
		},
		`{"errcode":0,"quota":{"daily_limit":5,"used":2,"remain":3},` +
			`"rate_limit":{"call_count":7,"refresh_second":60},` +
			`"component_rate_limit":{"call_count":1,"refresh_second":1}}`: {
			DailyLimit: 5, Used: 2, Remain: 3, RateCalls: 7, RateSeconds: 60,
		},
		`{"errcode":0,"quota":{},"rate_limit":null}`: {},
	} {
		got, err := newAnswering(t, "text/plain", body).client(t).Quota(t.Context(), SendPath)
		require.NoError(t, err, body)
		require.Equal(t, want, got, body)
	}
	for _, body := range []string{plainOK, `{"errcode":0,"quota":7}`,
		`{"errcode":0,"quota":{},"rate_limit":[]}`} {
		_, err := newAnswering(t, "text/plain", body).client(t).Quota(t.Context(), SendPath)
		requireUnknown(t, err, "the answer holds no usable ")
	}
}

func TestQuotasAreClearedTenTimesAMonth(t *testing.T) {
	t.Parallel()
	sb, c := startSandbox(t, sandbox.Options{})
	sb.SetUsed(testApp, sandbox.CallSend, 400_000)
	require.NoError(t, c.ClearAPIQuota(t.Context(), SendPath))
	quota, err := c.Quota(t.Context(), SendPath)
	require.NoError(t, err)
	require.Zero(t, quota.Used)
	for range 9 {
		require.NoError(t, c.ClearQuota(t.Context(), testApp))
	}
	require.ErrorIs(t, c.ClearQuota(t.Context(), testApp),
		&Error{Call: CallQuota, Code: 48006, HasCode: true})
	_, err = c.Quota(t.Context(), "/no/such/path")
	require.ErrorIs(t, err, &Error{Call: CallQuota, Code: 76021, HasCode: true})
}

func TestTypingIsShownAndTakenAway(t *testing.T) {
	t.Parallel()
	sb, c := startSandbox(t, sandbox.Options{})
	// whatever the sandbox asks of an exchange before it
	require.NoError(t, c.Send(t.Context(), packet))
	require.NoError(t, c.Typing(t.Context(), testOpenID))
	err := c.Typing(t.Context(), testOpenID)
	require.ErrorIs(t, err, &Error{Call: CallTyping, Code: 45081, HasCode: true})
	require.NotContains(t, err.Error(), testOpenID)
	require.NoError(t, c.CancelTyping(t.Context(), testOpenID))
	require.NoError(t, c.Typing(t.Context(), testOpenID))
	require.JSONEq(t, `{"touser":"`+testOpenID+`","command":"CancelTyping"}`, sb.Received()[3].Body)
}

func requireUnknown(t *testing.T, err error, text string) {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, FaultUnknown, e.Fault)
	require.ErrorContains(t, err, text)
}

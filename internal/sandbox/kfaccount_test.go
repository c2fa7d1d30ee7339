package sandbox

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// api returns the URL of a call with the good token.
func (b *fixture) api(path string) string { return b.url + path + "?access_token=" + b.token }

// kf makes a call of the account management, POST when there is a body.
func (b *fixture) kf(call, body string) reply {
	b.t.Helper()
	method, path := http.MethodPost, "/customservice/kfaccount/"+call
	if strings.HasPrefix(call, "get") {
		method, path = http.MethodGet, "/cgi-bin/customservice/"+call
	}
	return b.must(method, b.api(path), body)
}

func account(name, nick string) string {
	const password = "0123456789abcdef0123456789ABCDEF"
	return fmt.Sprintf(`{"kf_account":%q,"nickname":%q,"password":%q}`, name, nick, password)
}

func TestKFAccounts(t *testing.T) {
	t.Parallel()
	t.Run("an account is added, listed, changed and deleted", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		require.JSONEq(t, `{"kf_list":[]}`, b.kf("getkflist", "").body)
		require.Equal(t, `{"errcode":0,"errmsg":"ok"}`,
			b.kf("add", account("test1@test", "客服1")).body)
		require.Zero(t, b.kf("add", account("test2@test", "客服2")).code)
		require.Zero(t, b.kf("update", account("test2@test", "小王")).code)
		require.Zero(t, b.kf("del", account("test1@test", "客服1")).code)
		require.Zero(t, b.kf("add", account("test3@test", "客服3")).code)
		got := decode[struct {
			List []map[string]any `json:"kf_list"`
		}](t, b.kf("getkflist", ""))
		require.Len(t, got.List, 2)
		require.Equal(t, "test2@test", got.List[0]["kf_account"])
		require.Equal(t, "小王", got.List[0]["kf_nick"], "nickname goes in, kf_nick comes out")
		require.Equal(t, "1002", got.List[0]["kf_id"], "a string in this list")
		require.Equal(t, "1003", got.List[1]["kf_id"], "a number is never given twice")
		require.Equal(t, "kfaccount", b.Received()[0].Call)
		require.False(t, b.Received()[1].Delivered)
	})
	t.Run("who is online is told with a number for an id", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		require.JSONEq(t, `{"kf_online_list":[]}`, b.kf("getonlinekflist", "").body)
		b.PutKFAccount(app, KFAccount{Account: "off@test", Nickname: "off"})
		b.PutKFAccount(app,
			KFAccount{Account: "on@test", Nickname: "on", Status: 1, AcceptedCase: 2})
		require.JSONEq(t,
			`{"kf_online_list":[{"kf_account":"on@test","status":1,"kf_id":1002,`+
				`"accepted_case":2}]}`,
			b.kf("getonlinekflist", "").body)
	})
	t.Run("each app has its own", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Grant("wx2", "other")
		require.Zero(t, b.kf("add", account("test1@test", "客服1")).code)
		b.token = "other"
		require.JSONEq(t, `{"kf_list":[]}`, b.kf("getkflist", "").body)
	})
	t.Run("the document's blank in front of an image URL", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: Settings{KFAccounts: KFSettings{ImageSpace: true}}})
		b.PutKFAccount(app, KFAccount{Account: "a@test"})
		require.Contains(t, b.kf("getkflist", "").body, `"kf_headimgurl":" http://`)
	})
	t.Run("a rule can answer 0 and keep the account", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: "/customservice/kfaccount/del", Lose: true, Times: 1})
		b.kf("add", account("test1@test", "客服1"))
		require.Zero(t, b.kf("del", account("test1@test", "客服1")).code)
		require.Len(t, b.KFAccounts(app), 1)
		require.Equal(t, "lose", b.Newest(Filter{}, 1)[0].Fault)
		require.Zero(t, b.kf("del", account("test1@test", "客服1")).code)
		require.Empty(t, b.KFAccounts(app))
	})
	t.Run("a rule can lose a new account, but not what is wrong with it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.Add(Rule{Call: CallKFAccount, Lose: true})
		require.Zero(t, b.kf("add", account("test1@test", "客服1")).code)
		require.Equal(t, 65404, b.kf("add", account("test1", "客服1")).code)
		require.Empty(t, b.KFAccounts(app))
	})
}

func TestKFAccountRefusals(t *testing.T) {
	t.Parallel()
	const good = "test1@test"
	for _, tc := range []struct {
		name     string
		call     string
		body     string
		new, old int
	}{
		{"an account without @", "add", account("test1", "n"), 65404, 61452},
		{"no account", "add", `{"nickname":"n"}`, 65404, 61452},
		{"nothing before @", "add", account("@test", "n"), 65404, 61452},
		{"nothing behind @", "add", account("test1@", "n"), 65404, 61452},
		{"a WeChat id of 31 characters",
			"add", account("test1@"+strings.Repeat("x", 31), "n"), 65404, 61452},
		{"a prefix of 11 characters", "add", account("elevenchars@test", "n"), 65404, 61454},
		{"a prefix with a Chinese character", "add", account("客@test", "n"), 65404, 61455},
		{"a nickname of 17 characters",
			"add", account(good, strings.Repeat("客", 17)), 65403, 61451},
		{"no nickname", "add", `{"kf_account":"test1@test"}`, 65403, 61451},
		{"a password in clear text",
			"add", `{"kf_account":"test1@test","nickname":"n","password":"secret"}`, 40035, 61451},
		{"a password of 32 characters that are no digits",
			"add",
			`{"kf_account":"test1@test","nickname":"n","password":"` +
				strings.Repeat("g", 32) + `"}`,
			40035, 61451},
		{"an account that is there", "add", account("there@test", "n"), 65406, 61453},
		{"to update one that is not", "update", account(good, "n"), 65401, 61452},
		{"to update with a bad nickname", "update", account("there@test", ""), 65403, 61451},
		{"to delete one that is not", "del", account(good, "n"), 65401, 61452},
		{"no JSON", "add", "kf_account=x", 47001, 47001},
		{"to delete with no JSON", "del", "kf_account=x", 47001, 47001},
		{"no body", "add", "", 44002, 44002},
		{"a list by POST", "", "", 43001, 43001},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for family, code := range map[string]int{"": tc.new, KFErrorsNew: tc.new,
				KFErrorsOld: tc.old} {
				b := start(t, Options{Settings: Settings{KFAccounts: KFSettings{Errors: family}}})
				b.PutKFAccount(app, KFAccount{Account: "there@test"})
				if tc.call == "" {
					require.Equal(t, code,
						b.must("POST", b.api("/cgi-bin/customservice/getkflist"), "").code)
					continue
				}
				r := b.kf(tc.call, tc.body)
				require.Equal(t, code, r.code)
				require.Regexp(t, `rid: [0-9a-f-]{26}$`, r.msg)
				require.Len(t, b.KFAccounts(app), 1)
			}
		})
	}
	t.Run("one account too many", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{Settings: Settings{KFAccounts: KFSettings{Limit: 2}}})
		require.Zero(t, b.kf("add", account("a@test", "n")).code)
		require.Zero(t, b.kf("add", account("b@test", "n")).code)
		require.Equal(t, 65405, b.kf("add", account("c@test", "n")).code)
		b.Configure(Settings{KFAccounts: KFSettings{Limit: 2, Errors: KFErrorsOld}})
		require.Equal(t, 61456, b.kf("add", account("c@test", "n")).code)
		b.Configure(Settings{})
		require.Zero(t, b.kf("add", account("c@test", "n")).code)
	})
	t.Run("every call of the family wants a token first", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		for _, call := range []string{"add", "update", "del", "uploadheadimg", "getkflist",
			"getonlinekflist"} {
			b.token = "stale"
			require.Equal(t, 40001, b.kf(call, "{}").code)
			b.token = ""
			require.Equal(t, 41001, b.kf(call, "{}").code)
		}
	})
}

func TestNicknamesOfTheDocument(t *testing.T) {
	t.Parallel()
	b := start(t, Options{Settings: Settings{KFAccounts: KFSettings{Nicknames: NicknamesDocument}}})
	b.PutKFAccount(app, KFAccount{Account: "a@test"})
	for nick, code := range map[string]int{
		"客服一二三四": 0, "客服一二三四五": 65403,
		"twelve chars": 0, "thirteen char": 65403,
		"客服 number": 0, "客服 number 12": 65403,
	} {
		require.Equal(t, code, b.kf("update", account("a@test", nick)).code, nick)
	}
}

func TestDeletingAnAccount(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		set    KFSettings
		method string
		query  string
		body   string
		code   int
	}{
		{"POST with a body", KFSettings{}, "POST", "", `{"kf_account":"a@test"}`, 0},
		{"POST with the document's three fields",
			KFSettings{}, "POST", "", account("a@test", "n"), 0},
		{"POST with the query", KFSettings{}, "POST", "&kf_account=a@test", "", 0},
		{"POST with both",
			KFSettings{}, "POST", "&kf_account=a@test", `{"kf_account":"a@test"}`, 0},
		{"GET with the query", KFSettings{}, "GET", "&kf_account=a@test", "", 0},
		{"GET with an escaped query", KFSettings{}, "GET", "&kf_account=a%40test", "", 0},
		{"GET with a body", KFSettings{}, "GET", "", `{"kf_account":"a@test"}`, 0},
		{"neither", KFSettings{}, "GET", "", "", 65401},
		{"an escaped query where @ has to be literal",
			KFSettings{RawQuery: true}, "GET", "&kf_account=a%40test", "", 65401},
		{"a literal @", KFSettings{RawQuery: true}, "GET", "&kf_account=a@test", "", 0},
		{"no account where @ has to be literal", KFSettings{RawQuery: true}, "GET", "", "", 65401},
		{"GET where POST is wanted",
			KFSettings{Delete: DeletePost}, "GET", "&kf_account=a@test", "", 43002},
		{"POST where GET is wanted",
			KFSettings{Delete: DeleteGet}, "POST", "&kf_account=a@test", "", 43001},
		{"GET where GET is wanted",
			KFSettings{Delete: DeleteGet}, "GET", "&kf_account=a@test", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Settings: Settings{KFAccounts: tc.set}})
			b.PutKFAccount(app, KFAccount{Account: "a@test"})
			require.Equal(t, tc.code,
				b.must(tc.method, b.api("/customservice/kfaccount/del")+tc.query, tc.body).code)
			require.Equal(t, tc.code == 0, len(b.KFAccounts(app)) == 0)
		})
	}
}

func picture(t *testing.T, encode func(*bytes.Buffer, image.Image) error) []byte {
	var b bytes.Buffer
	require.NoError(t, encode(&b, image.NewGray(image.Rect(0, 0, 640, 640))))
	return b.Bytes()
}

// upload sends a form with one file to the account a@test.
func (b *fixture) upload(field string, content []byte) reply {
	b.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	require.NoError(b.t, w.WriteField("media", "a field of that name is no file"))
	part, err := w.CreateFormFile(field, "avatar.jpg")
	require.NoError(b.t, err)
	_, err = part.Write(content)
	require.NoError(b.t, err)
	require.NoError(b.t, w.Close())
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost,
		b.api("/customservice/kfaccount/uploadheadimg")+"&kf_account=a@test", &form)
	require.NoError(b.t, err)
	req.Header.Set("Content-Type", w.FormDataContentType())
	r, err := b.roundTrip(req)
	require.NoError(b.t, err)
	return r
}

func TestAvatars(t *testing.T) {
	t.Parallel()
	photo := picture(t, func(b *bytes.Buffer, m image.Image) error {
		return jpeg.Encode(b, m, nil)
	})
	drawing := picture(t, func(b *bytes.Buffer, m image.Image) error { return png.Encode(b, m) })

	t.Run("a JPEG is kept, and its URL leads to it", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.PutKFAccount(app, KFAccount{Account: "a@test"})
		before := b.kf("getkflist", "").body
		require.Zero(t, b.upload("media", photo).code)
		require.Equal(t, photo, b.KFAccounts(app)[0].Avatar)
		after := b.kf("getkflist", "").body
		require.NotEqual(t, before, after)
		got := decode[struct {
			List []struct {
				URL string `json:"kf_headimgurl"`
			} `json:"kf_list"`
		}](t, reply{body: after})
		r := b.must("GET", got.List[0].URL, "")
		require.Equal(t, "image/jpeg", r.header.Get("Content-Type"))
		require.Equal(t, string(photo), r.body)
	})
	for _, tc := range []struct {
		name     string
		field    string
		content  []byte
		new, old int
	}{
		{"a PNG", "media", drawing, 40137, 61457},
		{"something that only begins like a JPEG", "media", photo[:20], 40137, 61457},
		{"an empty file", "media", nil, 44001, 44001},
		{"a file under another name", "picture", photo, 41005, 41005},
		{"one too large", "media", append(photo, make([]byte, 64<<10)...), 40009, 40009},
		{"one of an unknown account", "media", photo, 65401, 61452},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			for family, code := range map[string]int{KFErrorsNew: tc.new, KFErrorsOld: tc.old} {
				b := start(t, Options{Settings: Settings{KFAccounts: KFSettings{Errors: family,
					AvatarBytes: 64 << 10}}})
				require.Equal(t, code, b.upload(tc.field, tc.content).code)
			}
		})
	}
	t.Run("a body that is no form", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		require.Equal(t, 41005, b.kf("uploadheadimg", string(photo)).code)
	})
	t.Run("no avatar, no picture", func(t *testing.T) {
		t.Parallel()
		b := start(t, Options{})
		b.PutKFAccount(app, KFAccount{Account: "a@test"})
		require.Equal(t, http.StatusNotFound,
			b.must("GET", b.url+"/sandbox/kfaccounts/avatar?appid="+app+"&kf_account=a@test",
				"").status)
	})
}

package phone_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/page/pagetest"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/sandbox/phone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app = "wx0000000000000001"

// fixture is a sandbox with its phone on a port.
type fixture struct {
	*require.Assertions
	*sandbox.Sandbox
	t      *testing.T
	url    string
	client *http.Client
}

func start(t *testing.T, o sandbox.Options) *fixture {
	t.Helper()
	f := &fixture{Assertions: require.New(t), Sandbox: sandbox.New(o), t: t}
	phone.Attach(f.Sandbox)
	var err error
	f.url, err = f.Listen("127.0.0.1:0")
	f.NoError(err)
	f.Grant(app, "good-token")
	f.client = &http.Client{
		Transport: &http.Transport{},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	t.Cleanup(func() {
		f.client.CloseIdleConnections()
		f.NoError(f.Close())
	})
	return f
}

// ask sends a request with headers as name, value.
func (f *fixture) ask(method, path, body string, headers ...string) (int, string, http.Header) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path,
		strings.NewReader(body))
	f.NoError(err)
	for i := 0; i < len(headers); i += 2 {
		if req.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := f.client.Do(req)
	f.NoError(err)
	text, err := io.ReadAll(resp.Body)
	f.NoError(err)
	f.NoError(resp.Body.Close())
	return resp.StatusCode, string(text), resp.Header
}

func (f *fixture) page(path string) string {
	f.t.Helper()
	status, text, _ := f.ask(http.MethodGet, path, "")
	f.Equal(http.StatusOK, status, text)
	return text
}

// form posts a form as a browser does that is on the page, and returns where it leads.
func (f *fixture) form(path string, values ...string) string {
	f.t.Helper()
	status, text, header := f.post(path, values...)
	f.Equal(http.StatusSeeOther, status, text)
	return header.Get("Location")
}

func (f *fixture) post(path string, values ...string) (int, string, http.Header) {
	f.t.Helper()
	form := url.Values{}
	for i := 0; i < len(values); i += 2 {
		form.Set(values[i], values[i+1])
	}
	return f.ask(http.MethodPost, path, form.Encode(), "Sec-Fetch-Site", "same-origin",
		"Content-Type", "application/x-www-form-urlencoded")
}

// send sends a message and returns what the API answers.
func (f *fixture) send(openID, kind, content string) string {
	f.t.Helper()
	_, answer, _ := f.ask(http.MethodPost,
		"/cgi-bin/message/custom/send?access_token=good-token",
		fmt.Sprintf(`{"touser":%q,"msgtype":%q,%q:%s}`, openID, kind, kind, content))
	return answer
}

func chat(openID string) string { return "/phone/" + app + "/" + openID }

func TestAConversationShowsEveryKindOfMessage(t *testing.T) {
	t.Parallel()
	f := start(t, sandbox.Options{})
	for kind, content := range Kinds {
		f.Contains(f.send("alice", kind, content), `"errcode":0`)
	}
	text := f.page(chat("alice"))
	for _, shown := range []string{
		"你好", `href="https://example.com/order?id=1"`, "PIC_1", "VOICE_1", "VIDEO_1",
		"The video",
		"A song", "A piece of news", "What it is about", "MPNEWS_1", "ARTICLE_1",
		"Was it good?", ">Yes<", "CARD_1", "A shop", "pages/index",
	} {
		f.Contains(text, shown)
	}
	f.NotContains(text, "<img", "no picture is loaded from elsewhere")
	f.Contains(f.page("/phone"), "alice")
}

// Kinds are messages of every kind.
var Kinds = map[string]string{
	"text": `{"content":"你好\nsee <a href=\"https://example.com/order?id=1\">your order</a>` +
		` or <a href=\"weixin://bizmsgmenu?msgmenucontent=help&msgmenuid=7\">help</a>"}`,
	"image": `{"media_id":"PIC_1"}`, "voice": `{"media_id":"VOICE_1"}`,
	"video": `{"media_id":"VIDEO_1","thumb_media_id":"T","title":"The video"}`,
	"music": `{"title":"A song","musicurl":"https://example.com/a.mp3","thumb_media_id":"T"}`,
	"news": `{"articles":[{"title":"A piece of news","description":"What it is about",` +
		`"url":"https://example.com","picurl":"https://evil.example/a.png"}]}`,
	"mpnews": `{"media_id":"MPNEWS_1"}`, "mpnewsarticle": `{"article_id":"ARTICLE_1"}`,
	"msgmenu": `{"head_content":"Was it good?","list":[{"id":"101","content":"Yes"}],` +
		`"tail_content":"Thank you"}`,
	"wxcard": `{"card_id":"CARD_1"}`,
	"miniprogrampage": `{"title":"A shop","appid":"wx1","pagepath":"pages/index",` +
		`"thumb_media_id":"T"}`,
}

func TestHostileTextIsInertEverywhere(t *testing.T) {
	t.Parallel()
	f := start(t, sandbox.Options{})
	const evil = `<script>alert(1)</script><img src=x onerror=alert(1)>` +
		`<a href=\"javascript:alert(1)\">x</a>` +
		`<a href=\"https://a.example\" onclick=\"alert(1)\">y</a>\u202e\u0000` + "\u202e"
	hostile := `{"content":"E","title":"E","description":"E","media_id":"E","card_id":"E",` +
		`"article_id":"E","head_content":"E","tail_content":"E","musicurl":"E","appid":"E",` +
		`"pagepath":"E","url":"E","list":[{"id":"E","content":"E"}],` +
		`"articles":[{"title":"E","description":"E","url":"javascript:E","picurl":"E"}]}`
	for kind := range Kinds {
		f.send("alice", kind, strings.ReplaceAll(hostile, "E", evil))
	}
	f.PutKFAccount(app, sandbox.KFAccount{Account: "a@b", Nickname: "<script>nick</script>"})
	f.send("alice", "text", `{"content":"x"},"customservice":{"kf_account":"a@b"}`)
	f.send(`<script>"'\/`, "text", `{"content":"x"}`)
	f.send("alice", "text", `{"content":"`+strings.Repeat("<b>", 20<<10)+`"}`)
	f.ask(http.MethodPost, "/cgi-bin/message/custom/send?access_token=good-token",
		`{"touser":"alice","msgtype":"<script>"}`)
	f.Add(sandbox.Rule{OpenID: "<script>", AppID: "<script>", Errcode: 1, Errmsg: "<script>"})
	f.ActSaying(app, "alice", sandbox.UserMessaged, "<script>me</script>")
	for _, path := range []string{"/phone", "/phone?q=%3Cscript%3E", chat("alice"),
		chat(url.PathEscape(`<script>"'/`)), "/phone/situations?app=%3Cscript%3E&openid=%22%3E",
		"/phone/%3Cscript%3E"} {
		_, text, _ := f.ask(http.MethodGet, path, "")
		for _, never := range []string{"<script>", "<img", "onerror=alert(1)>", `"javascript:`,
			"onclick=\"alert", "\u202e", "\x00", "<b>"} {
			f.NotContains(strings.ReplaceAll(text, "&lt;img src=x onerror=alert(1)&gt;", ""), never,
				path)
		}
	}
}

func TestOtherSitesCanNeitherReadNorScript(t *testing.T) {
	t.Parallel()
	f := start(t, sandbox.Options{})
	f.send("alice", "text", `{"content":"hi"}`)
	for _, path := range []string{chat("alice") + "/act", "/phone/users", "/phone/situations",
		"/phone/situations/remove", "/phone/situations/settings", "/phone/situations/clock",
		"/preferences", "/sandbox/rules", "/sandbox/reset", "/sandbox/users", "/sandbox/settings"} {
		for _, headers := range [][]string{
			{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://evil.example"},
		} {
			status, _, _ := f.ask(http.MethodPost, path, `{}`, headers...)
			f.Equal(http.StatusForbidden, status, path)
		}
	}
	for _, path := range []string{"/", "/phone", chat("alice"), "/phone/situations", "/phone/live",
		"/assets/phone.css", "/sandbox/received", "/sandbox/rules"} {
		status, text, header := f.ask(http.MethodGet, path, "", "Host", "evil.example")
		f.Equal(http.StatusMisdirectedRequest, status, path)
		f.NotContains(text, "alice")
		f.Contains(header.Get("Content-Security-Policy"), "default-src 'none'")
	}
	// A program such as curl says nothing of where it comes from.
	status, _, _ := f.ask(http.MethodPost, "/sandbox/rules", `{"call":"send","errcode":-1}`)
	f.Equal(http.StatusCreated, status)
	_, text, _ := f.ask(http.MethodPost, "/cgi-bin/message/custom/send?access_token=good-token",
		`{"touser":"o","msgtype":"text","text":{"content":"x"}}`, "Host", "api.weixin.qq.com")
	f.Contains(text, `"errcode":-1`, "the API is for every host")
}

func TestActingAsTheUserOpensAndClosesTheWindow(t *testing.T) {
	t.Parallel()
	today, _ := sandbox.Like(sandbox.LikeToday)
	f := start(t, sandbox.Options{Settings: today})
	const hello = `{"content":"hello"}`
	f.Contains(f.send("alice", "text", hello), "45015")
	f.Regexp(`(?s)hello.*not delivered.*45015.*window closed|window closed.*hello.*45015`,
		f.page(chat("alice")))

	f.Equal(chat("alice"), f.form(chat("alice")+"/act", "do", "message", "text", "are you there?"))
	text := f.page(chat("alice"))
	f.Contains(text, "are you there?")
	f.Contains(text, "5 left")
	f.Contains(f.send("alice", "text", hello), `"errcode":0`)
	f.Contains(f.page(chat("alice")), "4 left")

	f.form(chat("alice")+"/act", "do", "unfollow")
	f.Contains(f.send("alice", "text", hello), "45015")
	f.form(chat("alice")+"/act", "do", "menu", "text", "Yes")
	f.Contains(f.send("alice", "text", hello), `"errcode":0`)
	f.form("/phone/situations/clock", "by", "48h")
	f.Grant(app, "good-token") // tokens grow old as well
	f.Contains(f.send("alice", "text", hello), "45015")

	f.Equal(chat("bob"), f.form("/phone/users", "app", app, "openid", "bob"))
	f.Contains(f.send("bob", "text", hello), `"errcode":0`)
	for _, bad := range [][]string{{"do", "message"}, {"do", "dance"}} {
		status, _, _ := f.post(chat("bob")+"/act", bad...)
		f.Equal(http.StatusBadRequest, status)
	}
	status, _, _ := f.post("/phone/users", "app", app, "openid", "<b>")
	f.Equal(http.StatusBadRequest, status)
	status, _, _ = f.post(chat("bob")+"/act", "do", "message", "text", strings.Repeat("x", 80<<10))
	f.Equal(http.StatusBadRequest, status)
}

func TestSituationsAreScriptedAndTakenBack(t *testing.T) {
	t.Parallel()
	f := start(t, sandbox.Options{})
	const hello = `{"content":"hello"}`
	f.Contains(f.form("/phone/situations", "situation", "quota", "times", "1", "share", "100",
		"app", app, "openid", "alice"), "did=added")
	f.Contains(f.send("bob", "text", hello), `"errcode":0`)
	f.Contains(f.send("alice", "text", hello), `"errcode":45009`)
	f.Contains(f.send("alice", "text", hello), `"errcode":0`)
	text := f.page("/phone/situations")
	f.Contains(text, `<td class="text title">Quota used up today (45009)`,
		"it has the name that it was given by")
	f.Contains(text, "used up")

	f.Equal(chat("alice")+"?did=added", f.form("/phone/situations", "situation", "busy",
		"times", "1", "app", app, "openid", "alice", "back", "chat"))
	f.form("/phone/situations/remove", "id", "all")
	f.Empty(f.Rules())
	f.Contains(f.send("alice", "text", hello), `"errcode":0`)
	for _, bad := range [][]string{{"situation", "no"}, {"situation", "busy", "times", "-1"},
		{"situation", "busy", "share", "200"}} {
		status, _, _ := f.post("/phone/situations", bad...)
		f.Equal(http.StatusBadRequest, status)
	}
	f.form("/phone/situations/settings", "like", "today")
	f.Contains(f.send("alice", "text", hello), `"errcode":45015`)
	f.form("/phone/situations/settings", "like", "lenient")
	f.Contains(f.send("alice", "text", hello), `"errcode":0`)
}

func TestManyConversationsAndMessagesComeInPages(t *testing.T) {
	t.Parallel()
	f := start(t, sandbox.Options{})
	for i := range 75 {
		f.send(fmt.Sprintf("user-%02d", i), "text", `{"content":"hello"}`)
		f.send("alice", "text", fmt.Sprintf(`{"content":"number-%02d"}`, i))
	}
	first := f.page("/phone")
	f.Contains(first, "alice")
	f.Contains(first, "user-74")
	f.NotContains(first, "user-40")
	f.Contains(f.page("/phone?page=2"), "user-40")
	f.Contains(f.page("/phone?q=USER-03"), "user-03")
	f.NotContains(f.page("/phone?q=number-3"), "user-03")

	text := f.page(chat("alice"))
	f.Contains(text, "number-74")
	f.NotContains(text, "number-34")
	f.Contains(text, "?before=36")
	text = f.page(chat("alice") + "?before=36")
	f.Contains(text, "number-34")
	f.NotContains(text, "number-35")
	f.NotContains(text, "earlier messages")
	f.Forget()
	f.NotContains(f.page("/phone"), "alice")
	f.Contains(f.page(chat("nobody")), "Nothing was sent to this user")
	status, _, _ := f.ask(http.MethodGet, "/phone/a/b/c", "")
	f.Equal(http.StatusNotFound, status)
}

func TestThePhoneSpeaksChinese(t *testing.T) {
	t.Parallel()
	f := start(t, sandbox.Options{})
	f.send("alice", "image", `{"media_id":"x"}`)
	_, text, _ := f.ask(http.MethodGet, chat("alice"), "", "Accept-Language", "zh-CN")
	f.Contains(text, "以用户身份回复")
	f.Contains(text, "今日额度已用完")
}

func TestEveryTextHasItsChinese(t *testing.T) {
	t.Parallel()
	pagetest.Translated(t, ".", phone.Situations(), "../../page")
}

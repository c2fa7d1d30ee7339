//go:build browser

package browser

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// received are messages of every kind, to one user.
var received = []string{
	`{"msgtype":"text","text":{"content":"您的订单 8841 已发货，预计明天送达。\n查看 <a href=\"https://shop.example/o/8841\">订单详情</a>，或回复 <a href=\"weixin://bizmsgmenu?msgmenucontent=人工客服&msgmenuid=9\">人工客服</a>。"}}`,
	`{"msgtype":"image","image":{"media_id":"PICTURE_OF_THE_PARCEL"}}`,
	`{"msgtype":"voice","voice":{"media_id":"VOICE_MEDIA_ID"},"customservice":{"kf_account":"anna@shop"}}`,
	`{"msgtype":"video","video":{"media_id":"VIDEO_MEDIA_ID","thumb_media_id":"T","title":"How to unpack it","description":"Two minutes"}}`,
	`{"msgtype":"music","music":{"title":"Waiting music","description":"Somebody","musicurl":"https://shop.example/m.mp3","hqmusicurl":"https://shop.example/m.mp3","thumb_media_id":"T"}}`,
	`{"msgtype":"news","news":{"articles":[{"title":"春季上新：满 300 减 50","description":"全场包邮，三天内有效","url":"https://shop.example/spring","picurl":"https://shop.example/spring.png"}]}}`,
	`{"msgtype":"mpnews","mpnews":{"media_id":"MPNEWS_MEDIA_ID"}}`,
	`{"msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"ARTICLE_ID"}}`,
	`{"msgtype":"wxcard","wxcard":{"card_id":"CARD_ID_123"}}`,
	`{"msgtype":"miniprogrampage","miniprogrampage":{"title":"会员中心","appid":"wx9876543210","pagepath":"pages/member/index","thumb_media_id":"T"}}`,
	`{"msgtype":"msgmenu","msgmenu":{"head_content":"Were you content with us?","list":[{"id":"101","content":"Content"},{"id":"102","content":"Not content"}],"tail_content":"Thank you."},"customservice":{"kf_account":"anna@shop"}}`,
}

// receive sends messages of every kind to alice.
func (d *dev) receive() {
	d.t.Helper()
	d.post("/sandbox/kfaccounts", `{"appid":"`+app1+`","kf_account":"anna@shop","nickname":"客服安娜","status":1}`)
	d.post("/sandbox/tokens", `{"appid":"`+app1+`","access_token":"browser-token"}`)
	for _, message := range received {
		d.message("alice", message)
	}
}

func (d *dev) message(openID, message string) {
	d.t.Helper()
	d.post("/cgi-bin/message/custom/send?access_token=browser-token",
		`{"touser":"`+openID+`",`+strings.TrimPrefix(message, "{"))
}

func (d *dev) post(path, body string) {
	d.t.Helper()
	resp, err := http.Post(d.api+path, "application/json", bytes.NewReader([]byte(body)))
	d.NoError(err)
	d.NoError(resp.Body.Close())
	d.Less(resp.StatusCode, 300, path)
}

func TestThePhoneInEveryLook(t *testing.T) {
	d := startDev(t)
	d.receive()
	text, err := json.Marshal(hostile)
	d.NoError(err)
	for _, openID := range []string{"bob", "carol-with-a-long-openid-oABCD1234", "dave", "mallory"} {
		d.message(openID, `{"msgtype":"text","text":{"content":`+string(text)+`}}`)
	}
	d.post("/sandbox/settings", `{"like":"today"}`)
	d.message("alice", `{"msgtype":"text","text":{"content":"Are you still there?"}}`)
	d.post("/sandbox/users", `[{"appid":"`+app1+`","openid":"alice","action":"message","text":"Yes. Where is my parcel?"},`+
		`{"appid":"`+app1+`","openid":"bob","action":"follow"},{"appid":"`+app2+`","openid":"erin","action":"scan"}]`)
	d.message("alice", `{"msgtype":"text","text":{"content":"<a href=\"javascript:alert(1)\">It is on its way</a>"}}`)
	d.rule(map[string]any{"call": "send", "openid": "alice", "times": 1, "reset": "after"})
	resp, err := http.Post(d.api+"/cgi-bin/message/custom/send?access_token=browser-token",
		"application/json", strings.NewReader(`{"touser":"alice","msgtype":"text","text":{"content":"It arrives tomorrow."}}`))
	if err == nil {
		d.NoError(resp.Body.Close())
	}
	d.rule(map[string]any{"call": "send", "appid": app2, "errcode": 45009, "share": 0.2})
	d.rule(map[string]any{"call": "token", "errcode": 40164, "errmsg": hostile})
	d.post("/cgi-bin/message/custom/typing?access_token=browser-token", `{"touser":"alice","command":"Typing"}`)
	pages := []struct{ name, path, says string }{
		{"phone", "/phone", "carol"},
		{"phone-chat", "/phone/" + app1 + "/alice", "45015"},
		{"phone-kinds", "/phone/" + app1 + "/alice", "MPNEWS_MEDIA_ID"},
		{"phone-hostile", "/phone/" + app1 + "/mallory", "<script>"},
		{"phone-found", "/phone?q=parcel", ""},
		{"phone-nobody", "/phone?q=no-such-user", ""},
		{"phone-situations", "/phone/situations?app=" + app1 + "&openid=alice", "45009"},
	}
	for _, l := range looks() {
		t.Run(l.String(), func(t *testing.T) {
			b := newTab(t, l)
			for _, p := range pages {
				b.open(d.api + p.path)
				if p.name == "phone-kinds" {
					eval[bool](b, `(() => { const s = document.querySelector(".log").style; s.height = "auto"; s.maxHeight = "none"; return true; })()`)
				}
				if p.says != "" {
					b.Contains(b.text("main"), p.says, p.path)
				}
				b.NotEqual("owned", eval[string](b, "document.title"), p.path)
				b.check(p.name)
			}
		})
	}
}

// TestTalkingWithThePhone: what kefu sends appears by itself, and the user answers.
func TestTalkingWithThePhone(t *testing.T) {
	d := startDev(t)
	d.post("/sandbox/settings", `{"like":"today"}`)
	for _, l := range []look{{"en", "light", 1280}, {"zh", "dark", 390}} {
		say := func(en, zh string) string { return map[string]string{"en": en, "zh": zh}[l.language] }
		user := "user-" + l.language
		b := newTab(t, l)
		b.open(d.api + "/phone/" + app1 + "/" + user)
		b.fill("text", "Hello, is anybody there?")
		b.press(say("Send", "发送"))
		b.until(say("5 left", "剩余 5 条"))
		d.kefu("send", "--app", app1, "--openid", user, "--text", "I am here", "--wait")
		b.until("I am here")
		b.until(say("4 left", "剩余 4 条"))
		menu := filepath.Join(d.dir, user+".json")
		d.NoError(os.WriteFile(menu, []byte(`{"touser":"`+user+`",`+strings.TrimPrefix(received[len(received)-1], "{")), 0o600))
		d.kefu("send", "--app", app1, "--packet", menu, "--wait")
		b.until("Not content")
		b.press("Not content")
		b.until(say("5 left", "剩余 5 条"))
		b.Equal("Not content", strings.TrimSpace(b.text("#messages .message.mine:last-of-type .bubble")))
		b.press(say("Unfollow", "取消关注"))
		b.until(say("window closed", "窗口已关闭"))
		d.kefu("send", "--app", app1, "--openid", user, "--text", "Good bye", "--wait")
		b.until("45015")
		b.press(say("Follow", "关注"))
		b.until(say("3 left", "剩余 3 条"))
		b.press(say("Script it", "设置"))
		b.until(say("It is scripted", "已设置"))
		b.check("phone-talk")
	}
}

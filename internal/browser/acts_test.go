//go:build browser

package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const token = "0123456789abcdef0123456789abcdef"

// guarded starts a kefu console beside kefu dev that asks for a token, and returns its URL.
func (d *dev) guarded() string {
	d.t.Helper()
	file := filepath.Join(d.dir, "token")
	d.NoError(os.WriteFile(file, []byte(token+"\n"), 0o600))
	out := d.launch("console", "--listen", "127.0.0.1:0", "--set", "console.token_file="+file,
		"--set", "nats.url="+d.nats)
	text := out.until("kefu console is at ")
	_, url, _ := strings.Cut(text, "kefu console is at ")
	return strings.Fields(url)[0]
}

func TestSigningInWithdrawingAndSigningOut(t *testing.T) {
	d := startDev(t)
	url := d.guarded()
	d.kefu("send", "--app", app1, "--openid", "bob", "--text", "later", "--id", "order-3", "--send-at", "2h")
	for _, l := range []look{{"en", "light", 1280}, {"zh", "dark", 390}} {
		b := newTab(t, l)
		b.open(url + "/find?q=order-3")
		b.check("login")
		b.fill("name", "li")
		b.fill("token", "wrong")
		b.press(map[string]string{"en": "Sign in", "zh": "登录"}[l.language])
		b.until(map[string]string{"en": "This is not the token.", "zh": "令牌不正确。"}[l.language])
		b.expected("status of 401")
		b.fill("name", "li")
		b.fill("token", token)
		b.press(map[string]string{"en": "Sign in", "zh": "登录"}[l.language])
		b.until("order-3")
		if l.language == "en" {
			b.press("Withdraw it…")
			b.until("Shall this message not be sent any more?")
			b.check("sure")
			b.press("Withdraw it")
			b.until("Withdrawn by li (console)")
		} else {
			b.until("已被 li (console) 撤回")
		}
		b.press(map[string]string{"en": "Sign out", "zh": "退出登录"}[l.language])
		b.until(map[string]string{"en": "Token (console.token_file)", "zh": "令牌（console.token_file）"}[l.language])
		b.open(url + "/audit")
		b.until(map[string]string{"en": "Token (console.token_file)", "zh": "令牌（console.token_file）"}[l.language])
	}
	d.Contains(d.kefu("audit", "--set", "nats.url="+d.nats), "li (console)")
}

// TestAPageStandsStillWhileSomebodyReads: live refresh must not take away what is selected.
func TestAPageStandsStillWhileSomebodyReads(t *testing.T) {
	d := startDev(t)
	b := newTab(t, look{"en", "light", 1280})
	b.open(d.console + "/tail")
	d.kefu("send", "--app", app1, "--openid", "alice", "--text", "hi", "--id", "first", "--wait")
	b.until("first")
	eval[bool](b, `(() => { const range = document.createRange();
		range.selectNodeContents(document.querySelector("#tail tbody td")); const s = getSelection();
		s.removeAllRanges(); s.addRange(range); return true; })()`)
	d.kefu("send", "--app", app1, "--openid", "alice", "--text", "hi", "--id", "second", "--wait")
	b.until("stands still while you select or type")
	b.NotContains(b.text("#tail"), "second")
	eval[bool](b, `(getSelection().removeAllRanges(), true)`)
	b.until("second")
}

func TestHoldingTryingAndResumingAnApp(t *testing.T) {
	d := startDev(t)
	for _, l := range []look{{"en", "dark", 1280}, {"zh", "light", 390}} {
		say := func(en, zh string) string { return map[string]string{"en": en, "zh": zh}[l.language] }
		b := newTab(t, l)
		b.open(d.console + "/app/" + app1)
		b.fill("reason", "wrong text in the campaign")
		b.press(say("Hold", "暂停"))
		b.until("wrong text in the campaign")
		d.Contains(d.kefu("app", "status", app1), "wrong text in the campaign")
		b.check("app-paused")
		b.open(d.console + "/")
		b.until("wrong text in the campaign")
		b.open(d.console + "/app/" + app1)
		b.press(say("Resume", "恢复"))
		b.until(say("The holds of the app are lifted.", "已恢复发送。"))
		d.NotContains(d.kefu("app", "status", app1), "wrong text in the campaign")
	}
}

func TestPlanningRunningAndAbortingAReplay(t *testing.T) {
	d := startDev(t)
	d.rule(map[string]any{"call": "send", "errcode": 45015, "times": 40})
	for i := range 40 {
		d.kefu("send", "--app", app1, "--openid", fmt.Sprintf("user%d", i), "--text", "hi",
			"--id", fmt.Sprintf("order-%d", i))
	}
	b := newTab(t, look{"en", "light", 1280})
	b.open(d.console + "/dead")
	b.until("45015")
	d.Eventually(func() bool { return strings.Count(d.kefu("dead", "list", "-o", "ndjson"), "\n") >= 40 },
		patience, 100*time.Millisecond)
	b.open(d.console + "/dead?app=" + app1 + "&errcode=45015")
	b.press("Send these again…")
	b.until("What will probably happen")
	b.fill("rate", "2")
	b.press("Plan it again with these")
	b.until("It takes about 20 s.")
	b.check("replay-planned")
	b.press("Send 40 letters again")
	b.until("The workers carry it out")
	b.press("Pause")
	b.until("The replay is paused.")
	b.press("Go on")
	b.until("The replay goes on.")
	b.press("Abort…")
	b.until("end here?")
	b.press("Abort it")
	b.until("The replay ends")
	b.until("aborted")
	d.Contains(d.kefu("dead", "replays"), "aborted")

	b.open(d.console + "/dead/letter/order-39")
	b.press("Show message and recipient")
	b.until("user39")
	b.check("letter-revealed")
	d.Contains(d.kefu("audit"), "reveal")
	b.open(d.console + "/dead?id=order-39")
	b.press("Discard these…")
	b.until("Take 1 letters out of the box for good?")
	b.press("Discard 1 letters")
	b.until("The letters are discarded.")
	d.NotContains(d.kefu("dead", "list", "-o", "ndjson"), `"order-39"`)
}

func TestPausingAndCancellingACampaign(t *testing.T) {
	d := startDev(t)
	d.campaign("spring", 2000, "--rate", "5")
	b := newTab(t, look{"zh", "light", 1280})
	b.open(d.console + "/campaigns/" + app1 + "/spring")
	b.press("暂停")
	b.until("群发任务已暂停。")
	b.press("继续")
	b.until("群发任务已继续。")
	b.press("取消…")
	b.until("确定不再发送群发任务 spring 的任何消息？")
	b.check("campaign-sure")
	b.press("确认取消")
	b.until("群发任务已取消，不再发送。")
	d.Contains(d.kefu("campaign", "status", "spring", "--app", app1), "cancelled")
}

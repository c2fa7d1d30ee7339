//go:build browser

package browser

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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

//go:build browser

package browser

import (
	"encoding/json"
	"strings"
	"testing"
)

// hostile is what somebody may put into a message, a name or an answer.
const hostile = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">` +
	"\u202egnp.exe"

func TestEveryPageInEveryLook(t *testing.T) {
	d := startDev(t)
	d.rule(map[string]any{"call": "send", "openid": "late", "errcode": 45015, "errmsg": hostile})
	d.rule(map[string]any{"call": "send", "appid": app2, "errcode": 45009})
	for _, args := range [][]string{
		{"--app", app1, "--openid", "alice", "--text", "你好, kefu", "--id", "order-1", "--source", "shop", "--wait"},
		{"--app", app1, "--openid", "late", "--text", hostile, "--id", "order-2", "--source", "shop", "--wait"},
		{"--app", app1, "--openid", "bob", "--text", "later", "--id", "order-3", "--send-at", "2h"},
		{"--app", app2, "--openid", "carol", "--text", "held", "--id", "order-4"},
	} {
		d.kefu(append([]string{"send"}, args...)...)
	}
	d.campaign("spring", 300)
	d.kefu("dead", "replay", "order-2", "--app", app1, "--yes")
	job := strings.TrimSpace(d.kefu("dead", "replay", "--app", app1, "--rate", "1", "--detach", "--yes", "-o", "json"))
	var ordered struct{ Job string }
	d.NoError(json.Unmarshal([]byte(job), &ordered), job)
	pages := []struct{ name, path, says string }{
		{"overview", "/", app2},
		{"app", "/app/" + app1, app1},
		{"app-held", "/app/" + app2, "45009"},
		{"dead", "/dead", "order-2"},
		{"dead-filtered", "/dead?errcode=45015&since=24h&app=" + app1, "order-2"},
		{"letter", "/dead/letter/order-2", "45015"},
		{"replay-plan", "/dead/replay?app=" + app1, ""},
		{"jobs", "/jobs", ordered.Job},
		{"job", "/jobs/" + ordered.Job, ordered.Job},
		{"campaigns", "/campaigns", "spring"},
		{"campaign", "/campaigns/" + app1 + "/spring", "spring"},
		{"workers", "/workers", ""},
		{"audit", "/audit", "replay"},
		{"errcodes", "/errcodes?q=450", "45015"},
		{"find", "/find?q=order-2", "order-2"},
		{"find-person", "/find?q=late", "order-2"},
		{"find-nothing", "/find?q=no-such-id", ""},
		{"tail", "/tail", "spring"},
		{"missing", "/no/such/page", ""},
	}
	for _, l := range looks() {
		t.Run(l.String(), func(t *testing.T) {
			b := newTab(t, l)
			for _, p := range pages {
				b.open(d.console + p.path)
				if p.says != "" {
					b.Contains(b.text("main"), p.says, p.path)
				}
				b.NotEqual("owned", eval[string](b, "document.title"), p.path)
				b.check(p.name)
			}
			b.expected("status of 404")
		})
	}
}

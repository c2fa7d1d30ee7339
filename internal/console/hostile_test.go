package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/console"
	"github.com/kefuhq/kefu/schema"
)

// hostile is what producers, users and the API may put into a text.
const hostile = `<script>steal()</script><img src=x onerror="steal()">` + "'\"><svg/onload=steal()>{{.}}" +
	"\u202egnp.exe\u2066\x00\x1b[31m javascript:steal()"

func TestHostileTextIsInertOnEveryPage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	long := hostile + strings.Repeat("长", 64<<10/3)
	id := `<script>steal()</script>"onerror=steal()`
	d.Send("wx1", "queued-"+id)
	code := 45015
	d.Bury(clitest.DeadLetter(id, clitest.DiedOf(schema.ReasonRecipient, code, long),
		func(l *schema.Letter) {
			l.Detail, l.RID, l.Source, l.Worker = long, hostile, hostile, hostile
			l.Headers["Kefu-"+id] = []string{hostile}
			l.Attempts[0].Worker, l.Attempts[0].Outcome = hostile, hostile
			l.DiedAt = time.Now().UTC()
		}))
	d.Receipt(schema.Receipt{ID: id, AppID: "wx1", Generation: 1, State: schema.StateDead,
		Reason: schema.ReasonRecipient, Errcode: &code, Errmsg: long, RID: hostile, Source: hostile,
		Campaign: hostile, Lane: schema.LaneBulk, SettledAt: time.Now(), PublishedAt: time.Now()})
	d.NoError(d.Conn.Audit(t.Context(), broker.AuditEntry{Actor: hostile, Verb: "pause",
		AppID: "wx1", Filter: hostile, Detail: long}))
	_, err := apps.Pause(t.Context(), d.Conn, "wx1", hostile, hostile)
	d.NoError(err)

	query := url.QueryEscape(id)
	paths := []string{"/find?q=" + query, "/find?q=queued-" + query, "/find?q=" + clitest.Recipient}
	for _, route := range console.Routes() {
		method, path := pathOf(route.Pattern)
		if method != http.MethodGet || path == "/live" {
			continue
		}
		path = strings.ReplaceAll(path, "/app/x", "/app/wx1")
		path = strings.ReplaceAll(path, "/letter/x", "/letter/"+url.PathEscape(id))
		paths = append(paths, path, path+"?q="+query+"&app=wx1")
	}
	for _, path := range paths {
		for _, language := range []string{"en", "zh-CN"} {
			status, body, _ := d.ask(http.MethodGet, path, nil, "Accept-Language", language)
			d.Less(status, 500, "%s: %s", path, body)
			for _, bad := range []string{"<script>steal", "<img src=x", "<svg/onload", "\u202e", "\u2066",
				"\x00", "\x1b", `href="javascript:`} {
				d.NotContains(body, bad, "%s (%s)", path, language)
			}
			// Between the quotes of an attribute it can do nothing; outside it is escaped.
			d.NotContains(body, `onerror="steal`, "%s (%s)", path, language)
		}
	}
}

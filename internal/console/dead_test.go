package console_test

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/schema"
)

// bury puts letters of one cause into the box that died a minute ago.
func (d *desk) bury(reason schema.Reason, errcode int, ids ...string) {
	d.T.Helper()
	for _, id := range ids {
		d.Bury(clitest.DeadLetter(id, clitest.DiedOf(reason, errcode, "as the API says"),
			func(l *schema.Letter) { l.DiedAt = time.Now().Add(-time.Minute).UTC() }))
	}
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// hidden are the hidden fields of a page that has one form to post.
func hidden(body string) url.Values {
	form := make(url.Values)
	for _, m := range hiddenField.FindAllStringSubmatch(body, -1) {
		form.Set(html.UnescapeString(m[1]), html.UnescapeString(m[2]))
	}
	return form
}

func (d *desk) audited(verb string) (n int) {
	d.T.Helper()
	d.NoError(d.Conn.ReadAudit(d.T.Context(), broker.AuditFilter{Verbs: []string{verb}},
		func(broker.AuditRecord) error { n++; return nil }))
	return n
}

func TestTheURLFiltersAsTheFlagsDo(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.bury(schema.ReasonRecipient, 45015, "window-1")
	d.bury(schema.ReasonExhausted, 45009, "quota-1")

	body := d.get("/dead?errcode=45015")
	d.Contains(body, "/dead/letter/window-1")
	d.NotContains(body, "/dead/letter/quota-1")
	d.Contains(body, "kefu dead list --errcode 45015")
	d.Contains(d.get("/dead?reason=exhausted"), "/dead/letter/quota-1")

	status, body, _ := d.ask(http.MethodGet, "/dead?errcode=many", nil)
	d.Equal(http.StatusBadRequest, status)
	d.Contains(body, "errcode")
}

func TestNoLetterIsLostOrDoubledBetweenPages(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for i := range 60 {
		d.bury(schema.ReasonRecipient, 45015, fmt.Sprintf("m-%02d", i))
	}
	row := regexp.MustCompile(`/dead/letter/(m-\d\d)`)
	older := regexp.MustCompile(`href="(/dead\?[^"]*before=[^"]*)"`)
	seen := make(map[string]int)
	first := d.get("/dead")
	d.bury(schema.ReasonRecipient, 45015, "m-99") // while somebody reads
	next := older.FindStringSubmatch(first)
	d.NotNil(next)
	for _, body := range []string{first, d.get(html.UnescapeString(next[1]))} {
		for _, m := range row.FindAllStringSubmatch(body, -1) {
			seen[m[1]]++
		}
	}
	d.Len(seen, 60)
	for id, n := range seen {
		d.Equal(1, n, id)
	}
}

func TestALetterIsMaskedUntilItIsRevealedForTheAudit(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.bury(schema.ReasonRecipient, 45015, "m-1")

	d.NotContains(d.get("/dead/letter/m-1"), clitest.Recipient)
	d.Zero(d.audited("reveal"))
	status, body, _ := d.ask(http.MethodPost, "/dead/letter/m-1", url.Values{})
	d.Equal(http.StatusOK, status)
	d.Contains(body, clitest.Recipient)
	d.Equal(1, d.audited("reveal"))
	d.NotContains(d.get("/dead/letter/m-1"), clitest.Recipient)
}

func TestAReplayIsOrderedAsItWasPlanned(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.bury(schema.ReasonExhausted, -1, "m-1", "m-2")

	plan := d.get("/dead/replay?errcode=-1&rate=7&halt-after=&expires-in=6h")
	d.Contains(plan, "--rate 7")
	form := hidden(plan)
	d.Equal("100", form.Get("halt-after"), "an empty field stands for the default")
	d.NotEmpty(form.Get("until"), "what dies from now on is not of it")

	form.Set("agreed", "another plan")
	status, _, _ := d.ask(http.MethodPost, "/dead/replay", form)
	d.Equal(http.StatusOK, status, "it asks again")
	jobs, err := replay.List(t.Context(), d.Conn)
	d.NoError(err)
	d.Empty(jobs)

	status, body, head := d.ask(http.MethodPost, "/dead/replay", hidden(plan))
	d.Equal(http.StatusSeeOther, status, body)
	jobs, err = replay.List(t.Context(), d.Conn)
	d.NoError(err)
	d.Len(jobs, 1)
	d.Equal("/jobs/"+jobs[0].Job+"?did=ordered", head.Get("Location"))
	d.Equal(2, jobs[0].Chosen)
	d.InDelta(7, jobs[0].Rate, 0)
	d.Equal("tester@here", jobs[0].By)

	path := "/jobs/" + jobs[0].Job
	status, body, _ = d.ask(http.MethodPost, path+"/abort", url.Values{})
	d.Equal(http.StatusOK, status)
	d.Contains(body, "Abort it")
	status, _, _ = d.ask(http.MethodPost, path+"/abort", hidden(body))
	d.Equal(http.StatusSeeOther, status)
}

func TestAnOptionThatDoesNotDoIsNamedInPlace(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.bury(schema.ReasonExhausted, -1, "m-1")
	d.Contains(d.get("/dead/replay?rate=fast"), "rate: fast does not do; give a number")
	d.Contains(d.get("/dead/replay?limit=-3&lang=zh", "Accept-Language", "zh-CN"), "不小于 0 的整数")
	d.Contains(d.get("/dead/replay?set=nonsense"), `role="alert"`)
}

func TestDiscardingAsksWithTheNumberFirst(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.bury(schema.ReasonRecipient, 45015, "m-1", "m-2")
	d.bury(schema.ReasonExhausted, 45009, "other")

	status, body, _ := d.ask(http.MethodPost, "/dead/discard", url.Values{"errcode": {"45015"}})
	d.Equal(http.StatusOK, status)
	d.Contains(body, "Discard 2 letters")
	d.Contains(d.get("/dead"), "/dead/letter/m-1")
	status, _, _ = d.ask(http.MethodPost, "/dead/discard", hidden(body))
	d.Equal(http.StatusSeeOther, status)
	left := d.get("/dead")
	d.NotContains(left, "/dead/letter/m-")
	d.Contains(left, "/dead/letter/other")
	d.Equal(2, d.audited("discard"), "before, and what came of it")
}

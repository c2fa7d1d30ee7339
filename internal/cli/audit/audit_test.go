package audit_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/wire"
)

// done is when the actions of these tests were done, if they say nothing else.
var done = time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)

// write puts entries into the audit.
func write(o *clitest.Operation, entries ...broker.AuditEntry) {
	o.T.Helper()
	for _, e := range entries {
		o.NoError(o.Conn.Audit(o.T.Context(), e))
	}
}

// writeBroken puts a message into the audit that is no entry.
func writeBroken(o *clitest.Operation, verb, body string) {
	o.T.Helper()
	m := nats.NewMsg(wire.AuditSubject(verb))
	m.Data = []byte(body)
	o.Publish(m)
}

// severalActions are of two operators and two apps.
func severalActions() []broker.AuditEntry {
	return []broker.AuditEntry{
		{Time: done, Actor: "li@ops-console-beijing-1", Verb: "pause", AppID: "wx0000000000000001",
			Count: 1, Detail: "活动文案有误，等市场部改好后再恢复"},
		{Time: done, Actor: "li@ops-console-beijing-1", Verb: "replay", AppID: "wx0000000000000002",
			Filter: "reason=exhausted since=2026-11-20T06:00:00Z", Count: 12345,
			Detail: "at 1,000 a second"},
		{Time: done, Actor: "root@vm", Verb: "kfaccount-update", AppID: "wx0000000000000001",
			Filter: "test1@test"},
		{Time: done, Actor: "root@vm", Verb: "setup", Count: 9},
	}
}

func onTerminal(width int) func(*clitest.Try) {
	return func(c *clitest.Try) { c.Width = width }
}

func TestTheAuditHasOneLineForEachEntry(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Equal(clitest.Ended(cli.ExitNothing, "", "kefu: no entry of the audit matches\n"),
		o.Kefu("audit"))
	write(o, severalActions()...)
	at := cli.Moment(done)
	o.Equal(clitest.Ended(cli.ExitDone, strings.TrimPrefix(`
WHEN                 WHO              VERB               COUNT  FILTER, DETAIL
`+at+`  li@ops-console…  pause                  1  活动文案有误，…
`+at+`  li@ops-console…  replay            12,345  reason=exhaust…
`+at+`  root@vm          kfaccount-update       0  test1@test
`+at+`  root@vm          setup                  9
`, "\n"), ""), o.Kefu("audit", onTerminal(80)))
	o.Equal(clitest.Ended(cli.ExitDone, strings.TrimPrefix(`
WHEN                 WHO                       VERB              APP                  COUNT  FILTER, DETAIL
`+at+`  li@ops-console-beijing-1  pause             wx0000000000000001       1  活动文案有误，等市场部改好后再恢复
`+at+`  li@ops-console-beijing-1  replay            wx0000000000000002  12,345  reason=exhausted since=2026-11-20T06:00:00Z: at 1,000 a second
`+at+`  root@vm                   kfaccount-update  wx0000000000000001       0  test1@test
`+at+`  root@vm                   setup                                      9
`, "\n"), ""), o.Kefu("audit", onTerminal(160)))
	for width := 40; width < 170; width += 7 {
		o.Equal(5, strings.Count(o.Kefu("audit", onTerminal(width)).Out, "\n"), "width %d", width)
	}
	o.Contains(o.Kefu("audit").Out, "since=2026-11-20T06:00:00Z: at 1,000 a second\n",
		"nothing is cut in a pipe")
}

func TestTheAuditChooses(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	ago := func(minutes time.Duration) time.Time { return time.Now().Add(-minutes * time.Minute) }
	write(o,
		broker.AuditEntry{Time: ago(30), Actor: "li@a", Verb: "pause", AppID: "wx1"},
		broker.AuditEntry{Time: ago(20), Actor: "li@b", Verb: "resume", AppID: "wx1"},
		broker.AuditEntry{Time: ago(10), Actor: "lina@a", Verb: "cancel", AppID: "wx2"},
		broker.AuditEntry{Time: ago(0), Actor: "lina@a", Verb: "setup"},
	)
	for line, want := range map[string][]string{
		"":                                 {"pause", "resume", "cancel", "setup"},
		"--since 25m":                      {"resume", "cancel", "setup"},
		"--until 15m":                      {"pause", "resume"},
		"--since 25m --until 5m":           {"resume", "cancel"},
		"--verb cancel":                    {"cancel"},
		"--verb pause,cancel":              {"pause", "cancel"},
		"--verb pause --verb setup":        {"pause", "setup"},
		"--actor li":                       {"pause", "resume"},
		"--actor li@b":                     {"resume"},
		"--app wx2":                        {"cancel"},
		"--limit 2":                        {"cancel", "setup"},
		"--limit 1 --actor li":             {"resume"},
		"--app wx1 --verb pause --limit 0": {"pause"},
	} {
		entries := clitest.Decode[[]broker.AuditRecord](o, o.Kefu("audit -o json "+line))
		var verbs []string
		for _, e := range entries {
			verbs = append(verbs, e.Verb)
		}
		o.Equal(want, verbs, line)
	}
	for _, line := range []string{
		"--actor lin", "--app wx9", "--verb typing", "--since 0s --verb pause",
	} {
		o.Equal(cli.ExitNothing, o.Kefu("audit "+line).Code, line)
	}
	for line, says := range map[string]string{
		"--verb a.b":            `--verb "a.b" is no verb such as replay or pause`,
		"--since 1h --until 2h": "--since is not before --until: no time is left",
		"--limit -2":            "--limit cannot be below 0, which is for all",
	} {
		got := o.Kefu("audit " + line)
		o.Equal(cli.ExitUsage, got.Code, line)
		o.Contains(got.Err, says)
	}
}

func TestATableOfTheAuditHoldsTheNewest(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for i := range 103 {
		write(o, broker.AuditEntry{
			Actor: "li@a", Verb: "cancel", Filter: fmt.Sprint("id=order-", i),
		})
	}
	got := o.Kefu("audit")
	o.Equal(101, strings.Count(got.Out, "\n"))
	o.NotContains(got.Out, "id=order-2\n")
	o.Regexp(`(?s)id=order-3\n.*id=order-102\n$`, got.Out)
	o.Equal("the newest 100 of 103 entries; --limit shows more, 0 all\n", got.Err)

	all := o.Kefu("audit --limit 0")
	o.Equal(104, strings.Count(all.Out, "\n"))
	o.Empty(all.Err)
	lines := strings.Split(strings.TrimSpace(o.Kefu("audit -o ndjson").Out), "\n")
	o.Len(lines, 103)
	o.True(json.Valid([]byte(lines[102])))
}

func TestAnEntryThatCannotBeReadIsShownAsSuch(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	writeBroken(o, "replay", `{"time":`)
	writeBroken(o, "pause", `{"actor":"li@a","verb":"pause"}`)
	write(o, broker.AuditEntry{Actor: "li@a", Verb: "resume", AppID: "wx1"})
	got := o.Kefu("audit --actor somebody --app wx2")
	o.Equal(cli.ExitDone, got.Code, "it may be one that is looked for")
	o.Regexp(`(?m)^20\S+ \S+ +replay +this entry cannot be read: it is no JSON of an entry$`,
		got.Out)
	o.Regexp(`(?m)^20\S+ \S+ +pause +this entry cannot be read: time, actor or verb is missing$`,
		got.Out)
	o.NotContains(got.Out, "resume")

	entries := clitest.Decode[[]broker.AuditRecord](o, o.Kefu("audit -o json --verb replay"))
	o.Len(entries, 1)
	o.Equal("it is no JSON of an entry", entries[0].Unreadable)
	o.WithinDuration(time.Now(), entries[0].Time, time.Minute)
	o.Equal(cli.ExitNothing, o.Kefu("audit --until 1m").Code)
}

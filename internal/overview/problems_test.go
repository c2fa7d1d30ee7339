package overview

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/schema"
)

func ago(d time.Duration) *time.Time { return in(-d) }

func in(d time.Duration) *time.Time {
	at := evening.Add(d)
	return &at
}

// shop is an app that is well, but for changes.
func shop(change func(*App)) App {
	a := App{AppID: wx1, Name: "旗舰店", Configured: true, Served: true, State: apps.Open,
		Budget: 100}
	change(&a)
	return a
}

func queueing(n uint64, oldest time.Duration) func(*App) {
	return func(a *App) {
		a.Live = Backlog{n, ago(oldest)}
		a.Queued, a.Oldest, a.Late = n, a.Live.Oldest, oldest > liveLate
	}
}

func heldBy(kind string, next *time.Time, change ...func(*App)) func(*App) {
	return func(a *App) {
		a.State, a.Kind, a.NextTry = apps.Held, kind, next
		a.Why, a.Do = Text{"it is so", "事出有因"}, Text{"Do this.", "请处理。"}
		for _, f := range change {
			f(a)
		}
	}
}

func expires(first, before int, until, earliest time.Duration) func(*App) {
	return func(a *App) {
		a.Expiring = &Expiring{Looked: first, Soon: before, Until: *in(until),
			Earliest: in(earliest)}
	}
}

func TestWhatAnOperatorIsToldOfAnApp(t *testing.T) {
	t.Parallel()
	both := func(fs ...func(*App)) func(*App) {
		return func(a *App) {
			for _, f := range fs {
				f(a)
			}
		}
	}
	for name, row := range map[string]struct {
		app App
		en  []string // severity, kind, sentence
		zh  string
	}{
		"nothing of one that is well": {shop(queueing(3, time.Second)), nil, ""},
		"held by its configuration": {
			shop(both(queueing(1, time.Hour), heldBy("config", in(90*time.Second)))),
			[]string{"critical", "held", "旗舰店 is held: it is so. It is tried again in 1 min. " +
				"1 message waits."},
			"旗舰店 已暂停发送：事出有因。1 分钟后自动重试。1 条消息在等待。"},
		"held by a quota until midnight": {
			shop(both(queueing(41_200, time.Hour), heldBy("quota", in(4*time.Hour)),
				expires(200, 0, 4*time.Hour, 9*time.Hour))),
			[]string{"warning", "held", "旗舰店 is held: it is so. It is tried again at 00:00 " +
				"Beijing " +
				"time, in 4 h. 41,200 messages wait. None of the first 200 expires within 9 h."},
			"旗舰店 已暂停发送：事出有因。将于北京时间 00:00 自动重试（4 小时后）。41,200 " +
				"条消息在等待。" +
				"最前面的 200 条在 9 小时内都不会过期。"},
		"held by a quota, and some expire before midnight": {
			shop(both(queueing(41_200, time.Hour), heldBy("quota", in(4*time.Hour)),
				expires(200, 120, 4*time.Hour, 2*time.Hour))),
			[]string{"critical", "held", "旗舰店 is held: it is so. It is tried again at 00:00 " +
				"Beijing " +
				"time, in 4 h. 41,200 messages wait. 120 of the first 200 expire before that."},
			"旗舰店 已暂停发送：事出有因。将于北京时间 00:00 自动重试（4 小时后）。41,200 " +
				"条消息在等待。" +
				"最前面的 200 条中有 120 条会在此之前过期。"},
		"held by an operator": {
			shop(heldBy("operator", nil)),
			[]string{"notice", "held", "旗舰店 is held: it is so."}, "旗舰店 已暂停发送：" +
				"事出有因。"},
		"held by an operator, and one expires soon": {
			shop(both(queueing(2, time.Hour), heldBy("operator", nil),
				expires(2, 1, time.Hour, time.Minute))),
			[]string{"warning", "held", "旗舰店 is held: it is so. 2 messages wait. " +
				"1 of the first 2 expires within an hour."},
			"旗舰店 已暂停发送：事出有因。2 条消息在等待。最前面的 2 条中有 1 条会在 1 " +
				"小时内过期。"},
		"being tried": {
			shop(heldBy("upstream", in(time.Hour), func(a *App) { a.Trying = true })),
			[]string{"critical", "held", "旗舰店 is held: it is so. It is being tried now."},
			"旗舰店 已暂停发送：事出有因。正在试发。"},
		"late": {
			shop(both(queueing(1204, 3*time.Minute), func(a *App) { a.InFlight = 3 })),
			[]string{"warning", "late", "旗舰店 is late: the oldest of 1,204 live messages has " +
				"waited " +
				"for 3 min."},
			"旗舰店 发送滞后：1,204 条实时消息中最早的已等待 3 分钟。"},
		"very late": {
			shop(queueing(1, 3*time.Hour)),
			[]string{"critical", "late", "旗舰店 is late: the oldest of 1 live message has " +
				"waited for " +
				"3 h."},
			"旗舰店 发送滞后：1 条实时消息中最早的已等待 3 小时。"},
		"stuck with bulk": {
			shop(func(a *App) { a.Queued, a.Oldest = 7, ago(72*time.Hour) }),
			[]string{"critical", "late", "Nothing of 旗舰店 is sent, though 7 messages wait for " +
				"up to " +
				"3 days."},
			"旗舰店 没有发送任何消息，而 7 条消息已等待最长 3 天。"},
		"bulk that takes its time": {
			shop(func(a *App) {
				a.Queued, a.Oldest = 7, ago(72*time.Hour)
				a.Points = []pulse.Point{{Sent: 1}, {}}
			}), nil, ""},
		"nobody serves it": {
			shop(both(queueing(2, time.Hour),
				func(a *App) { a.Served, a.Configured = false, false })),
			[]string{"critical", "no worker", "No worker serves 旗舰店: 2 messages wait."},
			"没有 worker 处理 旗舰店：2 条消息在等待。"},
		"what is sent in time": {
			shop(both(expires(200, 200, time.Hour, time.Minute),
				func(a *App) { a.PerSecond = 50 })), nil, ""},
		"what is not sent in time": {
			shop(both(expires(200, 200, time.Hour, time.Minute),
				func(a *App) { a.PerSecond = 1 })),
			[]string{"warning", "expiring", "旗舰店: messages will expire while they wait. 200 " +
				"of the " +
				"first 200 expire within an hour."},
			"旗舰店：有消息会在等待中过期。最前面的 200 条中有 200 条会在 1 小时内过期。"},
		"a budget that does not last": {
			shop(func(a *App) {
				a.Day = &Day{Budget: 500_000, Left: 120_000, ResetsAt: *in(4 * time.Hour),
					UsedUpAt: in(time.Hour)}
			}),
			[]string{"warning", "quota", "旗舰店: as things go, today's budget is used up at " +
				"21:00 " +
				"Beijing time, in 1 h; it begins anew at 00:00 Beijing time. 120,000 of 500,000 " +
				"are left."},
			"旗舰店：按目前的速度，今日额度将于北京时间 21:00 用完（1 小时后），北京时间 00:00 " +
				"才重置。" +
				"剩余 120,000，共 500,000。"},
	} {
		got := ofApp(row.app, evening)
		if row.en == nil {
			require.Empty(t, got, name)
			continue
		}
		require.Len(t, got, 1, name)
		p := got[0]
		require.Equal(t, row.en, []string{string(p.Severity), p.Kind, p.Says.En}, name)
		require.Equal(t, row.zh, p.Says.Zh, name)
		whole(t, p)
	}
}

// whole says that a problem has all that a page shows.
func whole(t *testing.T, p Problem) {
	t.Helper()
	require.NotEmpty(t, p.Do.En, p.Says.En)
	require.True(t, strings.ContainsFunc(p.Do.Zh, isChinese), p.Says.En)
	require.True(t, strings.ContainsFunc(p.Says.Zh, isChinese), p.Says.En)
	for _, s := range []string{p.Says.En, p.Says.Zh, p.Do.En, p.Do.Zh} {
		require.NotContains(t, s, "%!")
	}
	require.GreaterOrEqual(t, kindRank(p.Kind), 0, p.Kind)
	require.GreaterOrEqual(t, p.Severity.rank(), 0)
}

func isChinese(r rune) bool { return unicode.Is(unicode.Han, r) }

func TestWhatDied(t *testing.T) {
	t.Parallel()
	code := 45015
	closed := deadletter.Group{ID: "0a0b0c0d", AppID: wx1, Reason: schema.ReasonRecipient,
		Errcode: &code, LastHour: 40, HourBefore: 39}
	known := closed
	known.Acknowledged = &deadletter.Acknowledgement{By: "ann@desk"}
	rising := closed
	rising.HourBefore = 3
	for name, row := range map[string]struct {
		dead, sent int
		groups     []deadletter.Group
		severity   Severity
		en         string
	}{
		"few":           {9, 0, nil, "", ""},
		"a small share": {40, 10_000, []deadletter.Group{closed}, "", ""},
		"a share": {40, 700, nil, Warning, "旗舰店: 40 of 740 died in " +
			"the last hour."},
		"a share that somebody looks after": {45, 700, []deadletter.Group{known}, "", ""},
		"most": {40, 40, nil, Critical, "旗舰店: 40 of 80 died in " +
			"the last hour."},
		"a small share that rises": {40, 10_000, []deadletter.Group{rising}, Warning,
			"旗舰店: 40 of 10,040 died in the last hour. Most often: errcode 45015, "},
	} {
		p, ok := dying(shop(func(a *App) { a.DeadLastHour, a.SentLastHour = row.dead, row.sent }),
			row.groups)
		require.Equal(t, row.severity != "", ok, name)
		require.Equal(t, row.severity, p.Severity, name)
		require.True(t, strings.HasPrefix(p.Says.En, row.en), "%s: %s", name, p.Says.En)
		if ok {
			whole(t, p)
		}
	}
}

func TestWhatAnOperatorIsToldOfAll(t *testing.T) {
	t.Parallel()
	var s snapshot
	s.stand.at = evening.Add(-time.Minute)
	s.stand.err = errors.New("broker away")
	s.stand.value.ahead = 5 * time.Second
	s.stand.value.level = deadletter.Level{Letters: 96, MaxLetters: 100,
		Oldest: *ago(28 * 24 * time.Hour), Keep: 30 * 24 * time.Hour}
	o := Overview{Apps: []App{shop(queueing(3, time.Second))}, Totals: Totals{Queued: 3},
		Jobs: Jobs{Rows: []replay.Status{{Job: "abc", State: job.StateHalted, Halted: "100 died."},
			{Job: "def", State: job.StateRunning}}},
		Campaigns: Campaigns{Rows: []campaign.Status{{
			Record: campaign.Record{AppID: wx1, Campaign: "c1"}, State: campaign.StateHalted,
			Halted: "half of them died"}}}}
	var said []string
	for _, p := range s.problems(o, evening) {
		whole(t, p)
		said = append(said, fmt.Sprintf("%s %s: %s", p.Severity, p.Kind, p.Says.En))
	}
	require.Equal(t, []string{
		"critical no worker: No worker is alive. 3 messages wait.",
		"critical letters full: The box of dead letters is full to 96 %: when it is full, what " +
			"dies " +
			"stays in its queue.",
		"warning halted: Replay abc has halted: 100 died.",
		"warning halted: Campaign c1 has halted: half of them died.",
		"warning unread: How the apps stand cannot be read, what is shown is from 19:59 Beijing " +
			"time: " +
			"broker away.",
		"notice letters end: The oldest dead letters will be deleted for their age from 11-26 " +
			"20:00 " +
			"Beijing time on.",
		"notice clock: This machine's clock is 5 s behind the broker's: ages on this page are " +
			"off by " +
			"that.",
	}, said)
	require.Empty(t, snapshot{}.problems(Overview{}, evening))
}

func TestTheSameProblemOfManyAppsIsToldOnce(t *testing.T) {
	t.Parallel()
	o := Overview{Workers: []Worker{{Name: "w"}}}
	for i := range 300 {
		a := shop(heldBy("upstream", in(time.Minute)))
		a.AppID, a.Name, a.Queued = fmt.Sprintf("wx%d", i), "", 2
		o.Apps = append(o.Apps, a)
	}
	o.Apps[7].Why = Text{"another reason", "另一个原因"}
	got := snapshot{}.problems(o, evening)
	require.Len(t, got, 2)
	require.Equal(t, "299 apps are held: it is so. They are wx0, wx1, wx2 and 296 more. "+
		"598 messages wait.", got[0].Says.En)
	require.Equal(t, "299 个公众号已暂停发送：事出有因。包括 wx0, wx1, wx2 等，另有 296 个。"+
		"共 598 条消息在等待。", got[0].Says.Zh)
	require.Empty(t, got[0].App)
	require.Equal(t, "wx7", got[1].App)
}

func TestALateAppSaysWhatKeepsIt(t *testing.T) {
	t.Parallel()
	full := shop(func(a *App) { a.Use = 0.95 })
	require.Contains(t, full.faster().En, "its rate of 100 a second")
	require.Contains(t, shop(func(*App) {}).faster().En, "too few workers")
	served := activities([]pool.Worker{{Apps: []string{wx1}, Leaving: true}, {Apps: []string{wx2}}})
	require.False(t, served[wx1].served)
	require.True(t, served[wx2].served)
}

package overview

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/overview"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/replay"
)

// mostApps is how many rows the table of apps has; most problems and groups are told before.
const (
	mostApps     = 30
	mostProblems = 10
)

// view prints an overview in a language, with or without characters beyond ASCII.
type view struct {
	streams *cli.Streams
	lang    string
	blocks  bool
	now     time.Time
}

func (c *command) print(s *cli.Streams, o overview.Overview) error {
	o = c.of(o)
	if s.AsJSON() {
		return s.Value(o)
	}
	v := &view{streams: s, lang: cli.English, blocks: c.settings.UTF8(), now: o.At}
	if c.settings.Language() == cli.Chinese {
		v.lang = cli.Chinese
	}
	for _, part := range []func(overview.Overview) error{
		v.totals, v.problems, v.apps, v.dead, v.work,
	} {
		if err := part(o); err != nil {
			return err
		}
	}
	return nil
}

// of is an overview of the app in --app, if there is one.
func (c *command) of(o overview.Overview) overview.Overview {
	id := c.settings.AppID
	if id == "" {
		return o
	}
	return o.Of(id)
}

func (v *view) say(en, zh string) string {
	if v.lang == cli.Chinese {
		return zh
	}
	return en
}

func (v *view) in(t overview.Text) string { return t.In(v.lang) }

// lines prints lines of text, which are broken where the terminal is too narrow.
func (v *view) lines(style cli.Style, lines ...string) error {
	return cli.List(v.streams, lines, []cli.Column[string]{{
		Cell: func(s string) string { return s }, Wraps: true,
		Style: func(string) cli.Style { return style },
	}})
}

// heading begins a part.
func (v *view) heading(en, zh string) error {
	if err := v.streams.Printf("\n"); err != nil {
		return err
	}
	return v.lines(cli.Bold, v.say(en, zh))
}

func number[N int | int64 | uint64](n N) string { return cli.Grouped(int64(n)) }

func (v *view) totals(o overview.Overview) error {
	t := o.Totals
	died := v.say("what died in 24 h is being counted", "24 小时内的失败数统计中")
	if t.DeadLastDay != nil {
		died = fmt.Sprintf(v.say("%s died in 24 h", "24 小时内失败 %s 条"), number(*t.DeadLastDay))
		if *t.Unknown > 0 {
			died += fmt.Sprintf(v.say(", %s of them of unknown outcome", "，其中 %s 条结果未知"),
				number(*t.Unknown))
		}
	}
	return v.lines("",
		fmt.Sprintf(v.say("%.1f/s now, %s sent in the last hour, %s in flight",
			"当前 %.1f 条/秒，最近一小时发送 %s 条，%s"),
			t.PerSecond, number(t.SentLastHour), v.count(t.InFlight, "call", "个调用进行中")),
		fmt.Sprintf(v.say("%s queued, %s waiting for their time or retry",
			"排队 %s 条，等待定时或重试 %s 条"), number(t.Queued), number(t.Waiting)),
		fmt.Sprintf(v.say("%s, %s held; %s", "%s，%s 个暂停；%s"),
			v.count(t.Apps, "app", "个公众号"), number(t.Held),
			v.count(t.Workers, "worker", "个 worker")),
		died)
}

func (v *view) count(n int, en, zh string) string {
	return v.say(cli.Counted(n, en), number(n)+" "+zh)
}

// line is a line of a problem.
type line struct {
	mark, text string
	style      cli.Style
}

func (v *view) problems(o overview.Overview) error {
	if len(o.Problems) == 0 {
		return v.lines(cli.Green, v.say("Nothing is wrong.", "一切正常。"))
	}
	if err := v.heading("PROBLEMS", "问题"); err != nil {
		return err
	}
	var lines []line
	for _, p := range o.Problems[:min(len(o.Problems), mostProblems)] {
		style := map[overview.Severity]cli.Style{
			overview.Critical: cli.Red, overview.Warning: cli.Yellow}[p.Severity]
		lines = append(lines, line{v.severity(p.Severity), v.in(p.Says), style},
			line{"", v.in(p.Do), ""})
		if p.Command != "" {
			lines = append(lines, line{"", "$ " + p.Command, cli.Bold})
		}
	}
	if more := len(o.Problems) - mostProblems; more > 0 {
		lines = append(lines,
			line{"", fmt.Sprintf(v.say("… and %d more", "……另有 %d 个"), more), ""})
	}
	return cli.List(v.streams, lines, []cli.Column[line]{
		{Cell: func(l line) string { return l.mark },
			Style: func(l line) cli.Style { return l.style }},
		{Cell: func(l line) string { return l.text }, Wraps: true,
			Style: func(l line) cli.Style {
				if l.mark == "" {
					return l.style
				}
				return ""
			}},
	})
}

func (v *view) severity(s overview.Severity) string {
	switch s {
	case overview.Critical:
		return v.say("critical", "严重")
	case overview.Warning:
		return v.say("warning", "警告")
	}
	return v.say("notice", "提示")
}

func (v *view) apps(o overview.Overview) error {
	rows := slices.DeleteFunc(slices.Clone(o.Apps), func(a overview.App) bool {
		return len(o.Apps) > mostApps && isQuiet(a)
	})
	slices.SortStableFunc(rows, func(a, b overview.App) int { return urgency(b) - urgency(a) })
	if len(rows) > mostApps {
		rows = rows[:mostApps]
	}
	if len(o.Apps) == 0 {
		return nil
	}
	if err := v.heading("APPS", "公众号"); err != nil {
		return err
	}
	if err := cli.List(v.streams, rows, v.appColumns()); err != nil {
		return err
	}
	if more := len(o.Apps) - len(rows); more > 0 {
		return v.lines(cli.Faint, fmt.Sprintf(v.say("… and %s more: kefu app list",
			"……另有 %s 个：kefu app list"), number(more)))
	}
	return nil
}

// isQuiet says whether there is nothing to tell of an app.
func isQuiet(a overview.App) bool {
	return a.State == apps.Open && a.Queued == 0 && a.SentLastHour+a.DeadLastHour == 0
}

func urgency(a overview.App) int {
	switch {
	case a.State == apps.Held:
		return 2
	case a.Late:
		return 1
	}
	return 0
}

func (v *view) appColumns() []cli.Column[overview.App] {
	return []cli.Column[overview.App]{
		{Title: v.say("APP", "公众号"), Cuts: true,
			Cell: func(a overview.App) string { return cmp.Or(a.Name, a.AppID) }},
		{Title: v.say("STATE", "状态"), Cell: v.state,
			Style: func(a overview.App) cli.Style {
				if a.State == apps.Open && !a.Late {
					return cli.Green
				}
				return cli.Yellow
			}},
		{Title: v.say("RATE", "速率"), Cell: v.rate},
		{Title: v.say("QUEUED", "排队"), Right: true,
			Cell: func(a overview.App) string { return number(a.Queued) }},
		{Title: v.say("OLDEST", "最早"), Right: true, Cell: func(a overview.App) string {
			return cli.Age(broker.Lag{Queued: a.Queued, Oldest: a.Oldest}, v.now)
		}},
		{Title: v.say("SENT", "已发"), Right: true,
			Cell: func(a overview.App) string { return number(a.SentLastHour) }},
		{Title: v.say("DEAD", "失败"), Right: true,
			Cell: func(a overview.App) string { return number(a.DeadLastHour) }},
		{Title: "P99", Right: true, Spare: 2,
			Cell: func(a overview.App) string { return seconds(a.P99) }},
		{Title: v.say("TODAY", "今日"), Right: true, Spare: 3, Cell: today},
		{Title: v.say("LAST HOUR", "最近一小时"), Spare: 1,
			Cell: func(a overview.App) string { return v.hour(a.Points) }},
	}
}

func (v *view) state(a overview.App) string {
	switch {
	case a.State == apps.Held:
		return v.say("held", "暂停")
	case a.State == apps.NoQueue:
		return v.say("no queue", "无队列")
	case a.Late:
		return v.say("late", "滞后")
	}
	return v.say("open", "正常")
}

// gaugeWidth is how many columns a gauge has.
const gaugeWidth = 5

// rate is how fast an app sends, and how much of its budget that is.
func (v *view) rate(a overview.App) string {
	text := strconv.FormatFloat(a.PerSecond, 'f', 1, 64) + "/s"
	if a.Budget <= 0 {
		return text
	}
	if !v.blocks {
		return cli.Gauge(int(100*a.Use), 100, gaugeWidth) + " " + text
	}
	full := int(a.Use*gaugeWidth + 0.5)
	return strings.Repeat("█", full) + strings.Repeat("░", gaugeWidth-full) + " " + text
}

// seconds is a duration in few characters; "" for none.
func seconds(s float64) string {
	switch {
	case s == 0:
		return ""
	case s >= 1 && s < 10:
		return strconv.FormatFloat(s, 'f', 1, 64) + "s"
	}
	return cli.About(time.Duration(s * float64(time.Second)))
}

// today is how much of the budget of a day is used.
func today(a overview.App) string {
	switch {
	case a.Day == nil:
		return ""
	case a.Day.Budget == 0:
		return number(a.Day.Used)
	}
	return strconv.Itoa(int(100*a.Day.Use)) + " %"
}

// hour is what was sent in each five minutes, by the most in any of them.
func (v *view) hour(points []pulse.Point) string {
	const each = 5
	levels := []rune(" .:-=+*#")
	if v.blocks {
		levels = []rune(" ▁▂▃▄▅▆▇█")
	}
	sums, top := make([]int, 0, pulse.Minutes/each), 0
	for part := range slices.Chunk(points, each) {
		n := 0
		for _, p := range part {
			n += p.Sent
		}
		sums, top = append(sums, n), max(top, n)
	}
	var out strings.Builder
	for _, n := range sums {
		level := 0
		if n > 0 {
			level = 1 + (n*(len(levels)-1)-1)/top
		}
		out.WriteRune(levels[min(level, len(levels)-1)])
	}
	return strings.TrimRight(out.String(), " ")
}

func (v *view) dead(o overview.Overview) error {
	if len(o.Dead.Groups) == 0 {
		return nil
	}
	if err := v.heading("DIED IN 24 HOURS", "24 小时内失败"); err != nil {
		return err
	}
	err := cli.List(v.streams, o.Dead.Groups, []cli.Column[overview.Group]{
		{Title: v.say("COUNT", "条数"), Right: true,
			Cell: func(g overview.Group) string { return number(g.Count) }},
		{Title: v.say("APP", "公众号"), Cell: func(g overview.Group) string {
			return cli.Cut(cmp.Or(g.Name, g.AppID), 18)
		}},
		{Title: v.say("WHY", "原因"), Wraps: true, Cell: func(g overview.Group) string {
			return v.why(g)
		}, Style: func(g overview.Group) cli.Style {
			if g.Acknowledged != nil {
				return cli.Faint
			}
			return ""
		}},
		{Title: v.say("LAST", "最近"), Cell: func(g overview.Group) string {
			return cli.MomentOfYear(g.Last)
		}},
		{Title: v.say("GROUP", "组"), Cell: func(g overview.Group) string { return g.ID }},
	})
	if err != nil || o.Dead.More == 0 {
		return err
	}
	return v.lines(cli.Faint, fmt.Sprintf(v.say("… and %d more: kefu dead groups",
		"……另有 %d 组：kefu dead groups"), o.Dead.More))
}

// why is what a group died of; a ✓ says that somebody looks after it.
func (v *view) why(g overview.Group) string {
	why := string(g.Reason) + ": " + v.in(g.Means)
	if g.Errcode != nil {
		why = strconv.Itoa(*g.Errcode) + " " + v.in(g.Means)
	}
	if g.Acknowledged != nil {
		why = "✓ " + g.Acknowledged.By + ": " + why
	}
	return why
}

// task is a campaign or a replay.
type task struct {
	kind, name, state string
	done, total       int
	eta               time.Time
}

func (v *view) work(o overview.Overview) error {
	var tasks []task
	for _, c := range o.Campaigns.Rows {
		tasks = append(tasks, v.campaign(c))
	}
	for _, r := range o.Jobs.Rows {
		tasks = append(tasks, v.replay(r))
	}
	if len(tasks) == 0 {
		return nil
	}
	if err := v.heading("CAMPAIGNS AND REPLAYS", "群发与重放"); err != nil {
		return err
	}
	return cli.List(v.streams, tasks, []cli.Column[task]{
		{Title: v.say("KIND", "类型"), Cell: func(t task) string { return t.kind }},
		{Title: v.say("NAME", "名称"), Wraps: true, Cell: func(t task) string { return t.name }},
		{Title: v.say("STATE", "状态"), Cell: func(t task) string { return t.state }},
		{Title: v.say("DONE", "进度"), Right: true, Cell: func(t task) string {
			return number(t.done) + "/" + number(t.total)
		}},
		{Title: v.say("ENDS ABOUT", "预计完成"),
			Cell: func(t task) string { return cli.MomentOfYear(t.eta) }},
	})
}

func (v *view) campaign(c campaign.Status) task {
	total := c.Rows - c.Invalid - c.Repeated
	return task{kind: v.say("campaign", "群发"), name: c.Campaign, state: v.word(string(c.State)),
		done: total - c.Queued - c.Open, total: total, eta: c.ETA}
}

func (v *view) replay(r replay.Status) task {
	return task{kind: v.say("replay", "重放"), name: r.Job, state: v.word(string(r.State)),
		done: r.Published + r.Left, total: r.Chosen}
}

// states are those of campaigns and replays in Chinese.
var states = map[string]string{
	"uploading": "上传中", "planned": "待执行", "running": "进行中", "feeding": "发送中",
	"paused": "已暂停", "halted": "已自动停止", "published": "已全部入队", "done": "已完成",
	"cancelled": "已取消", "aborted": "已中止",
}

// word is a state in the reader's language.
func (v *view) word(state string) string { return v.say(state, cmp.Or(states[state], state)) }

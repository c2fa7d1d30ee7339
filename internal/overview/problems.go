package overview

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

const (
	// liveLate and liveVeryLate are for how long a live intent that can be sent should not wait.
	liveLate     = 30 * time.Second
	liveVeryLate = 5 * time.Minute
	// stuck is for how long nothing is sent of what is queued before somebody is told.
	stuck = 2 * time.Minute

	// Of the last hour's ends, by what share that died somebody is told; few deaths are no share.
	dyingFew  = 10
	dyingSome = 0.05
	dyingMost = 0.5

	fullSoon = 0.8 // of the box of letters
	fullVery = 0.95

	clockOff = 2 * time.Second

	// mergedFrom is from how many apps on the same problem is told once.
	mergedFrom = 4
)

// order is the order of problems that are as urgent as each other.
var order = []string{
	NoWorker, IsHeld, Late, WillExpire, LettersFull, Dying, Halted, Quota, LettersEnd, Clock,
	Unread,
}

func kindRank(kind string) int { return slices.Index(order, kind) }

// problems are all there are, the most urgent first.
func (s snapshot) problems(o Overview, now time.Time) []Problem {
	all := s.ofPool(o)
	all = append(all, s.ofLetters(now)...)
	all = append(all, s.ofReading(now)...)
	for _, a := range o.Apps {
		all = append(all, ofApp(a, now)...)
		if p, ok := dying(a, s.died.value.groups); ok {
			all = append(all, p)
		}
	}
	all = merged(append(all, ofWork(o)...))
	slices.SortStableFunc(all, func(a, b Problem) int {
		return cmp.Or(a.Severity.rank()-b.Severity.rank(), kindRank(a.Kind)-kindRank(b.Kind),
			cmp.Compare(b.weight, a.weight))
	})
	return all
}

func (a App) label() string { return cmp.Or(a.Name, a.AppID) }

// problem is one of the app's.
func (a App) problem(severity Severity, kind string, says, do Text, command string) Problem {
	return Problem{Severity: severity, Kind: kind, App: a.AppID, Name: a.Name, Since: a.Since,
		Says: says, Do: do, Command: command, weight: a.Queued}
}

func ofApp(a App, now time.Time) (out []Problem) {
	if !a.Served && a.Queued > 0 {
		out = append(out, unserved(a))
	}
	if a.State == apps.Held {
		return append(out, isHeld(a, now))
	}
	if a.Served {
		if p, ok := late(a, now); ok {
			out = append(out, p)
		}
	}
	if p, ok := willExpire(a, now); ok {
		out = append(out, p)
	}
	if a.Day != nil && a.Day.UsedUpAt != nil {
		out = append(out, quota(a, now))
	}
	return out
}

func unserved(a App) Problem {
	do := say("Start a worker whose configuration has the app.",
		"请启动配置中包含该公众号的 worker。")
	if !a.Configured {
		do = say("The app is not in the configuration: add it, and have the workers read it again.",
			"配置中没有该公众号：请添加后让 worker 重新加载配置。")
	}
	says := say("No worker serves %s: %s.", "没有 worker 处理 %s：%s在等待。", a.label(),
		count(a.Queued, "message waits", "messages wait", "条消息"))
	p := a.problem(Critical, NoWorker, says, do, "kefu pool")
	p.cause, p.short = "unserved", say("no worker serves them", "没有 worker 处理")
	return p
}

func isHeld(a App, now time.Time) Problem {
	severity := Critical
	switch gate.Kind(a.Kind) {
	case gate.Operator:
		severity = Notice
	case gate.Quota:
		severity = Warning
	}
	expires := a.Expiring.sentence(now)
	if a.Expiring != nil && a.Expiring.Soon > 0 {
		if severity = Critical; gate.Kind(a.Kind) == gate.Operator {
			severity = Warning
		}
	}
	says := say("%s is held: %s.", "%s 已暂停发送：%s。", a.label(), a.Why).and(a.goesOn(now))
	if a.Queued > 0 {
		says = says.and(say("%s.", "%s在等待。",
			count(a.Queued, "message waits", "messages wait", "条消息")))
	}
	p := a.problem(severity, IsHeld, says.and(expires), a.Do, a.Command)
	p.cause, p.short = a.Kind+" "+a.Why.En, a.Why
	return p
}

// goesOn says when a held app is tried again.
func (a App) goesOn(now time.Time) Text {
	switch {
	case a.Trying:
		return say("It is being tried now.", "正在试发。")
	case a.NextTry == nil || !a.NextTry.After(now):
		return Text{}
	case a.NextTry.Sub(now) < 2*time.Minute:
		return say("It is tried again in %s.", "%s后自动重试。", span(a.NextTry.Sub(now)))
	}
	return say("It is tried again at %s, in %s.", "将于%s 自动重试（%s后）。",
		clock(*a.NextTry, now), span(a.NextTry.Sub(now)))
}

// sentence says what will expire.
func (e *Expiring) sentence(now time.Time) Text {
	if e == nil || e.Earliest == nil {
		return Text{}
	}
	expire := Text{En: "expire"}
	if e.Soon == 1 {
		expire.En = "expires"
	}
	switch {
	case e.Soon > 0 && e.Until.Sub(now) <= soon:
		return say("%[2]d of the first %[1]d %[3]s within an hour.",
			"最前面的 %[1]d 条中有 %[2]d 条会在 1 小时内过期。", e.Looked, e.Soon, expire)
	case e.Soon > 0:
		return say("%[2]d of the first %[1]d %[3]s before that.",
			"最前面的 %[1]d 条中有 %[2]d 条会在此之前过期。", e.Looked, e.Soon, expire)
	}
	return say("None of the first %d expires within %s.", "最前面的 %d 条在 %s内都不会过期。",
		e.Looked, span(e.Earliest.Sub(now)))
}

// late is about an app that can send, and does not keep up with its live messages, or sends
// nothing.
func late(a App, now time.Time) (Problem, bool) {
	if a.Late {
		age := now.Sub(*a.Live.Oldest)
		severity := Warning
		if age > liveVeryLate {
			severity = Critical
		}
		p := a.problem(severity, Late, say("%s is late: the oldest of %s has waited for %s.",
			"%s 发送滞后：%s中最早的已等待 %s。", a.label(),
			count(a.Live.Queued, "live message", "live messages", "条实时消息"), span(age)),
			a.faster(), "kefu app status "+a.AppID)
		p.cause, p.short = "late", say("live messages wait for longer than %s",
			"实时消息等待超过 %s", span(liveLate))
		return p, true
	}
	idle := a.PerSecond == 0 && a.InFlight == 0 && sentLately(a) == 0
	if a.Queued == 0 || !idle || now.Sub(*a.Oldest) < stuck {
		return Problem{}, false
	}
	p := a.problem(Critical, Late, say("Nothing of %s is sent, though %s for up to %s.",
		"%s 没有发送任何消息，而 %s已等待最长 %s。", a.label(),
		count(a.Queued, "message waits", "messages wait", "条消息"), span(now.Sub(*a.Oldest))),
		say("Ask the workers what keeps them: /readyz says it in sentences.",
			"请查看 worker 的 /readyz，其中会用一句话说明原因。"), "kefu app status "+a.AppID)
	p.cause, p.short = "stuck", say("nothing is sent, though messages wait", "有消息等待却没有发送")
	return p, true
}

// faster is what to do about an app that does not keep up.
func (a App) faster() Text {
	if a.Use >= 0.9 {
		return say("It sends at its rate of %g a second: raise rate.per_second, if WeChat allows "+
			"it more, or pause a campaign.",
			"已达到速率上限（每秒 %g 条）：如果微信允许，可调大 rate.per_second，或暂停一个群发。",
			a.Budget)
	}
	return say("See how long calls take and who reads its queue: too few workers or slots, or a "+
		"slow API.", "请查看接口耗时和队列由谁读取：可能是 worker 或并发不足，或接口变慢。")
}

func sentLately(a App) (n int) {
	for _, p := range a.Points[max(len(a.Points)-5, 0):] {
		n += p.Sent
	}
	return n
}

// willExpire is about an app that can send, though not in time.
func willExpire(a App, now time.Time) (Problem, bool) {
	e := a.Expiring
	if e == nil || e.Soon == 0 {
		return Problem{}, false
	}
	if rate := a.PerSecond; rate > 0 &&
		float64(e.Looked)/rate < e.Earliest.Sub(now).Seconds() {
		return Problem{}, false // they are sent before that
	}
	return a.problem(Warning, WillExpire, say("%s: messages will expire while they wait.",
		"%s：有消息会在等待中过期。", a.label()).and(e.sentence(now)), a.faster(),
		"kefu app status "+a.AppID), true
}

func quota(a App, now time.Time) Problem {
	d := a.Day
	return a.problem(Warning, Quota, say("%s: as things go, today's budget is used up at %s, "+
		"in %s; it begins anew at %s. %s of %s are left.",
		"%s：按目前的速度，今日额度将于%s 用完（%s后），%s 才重置。剩余 %s，共 %s。", a.label(),
		clock(*d.UsedUpAt, now), span(d.UsedUpAt.Sub(now)), clock(d.ResetsAt, now),
		grouped(uint64(d.Left)), grouped(uint64(d.Budget))),
		say("Raise rate.per_day, if WeChat allows the app more, or pause a campaign.",
			"如果微信允许更多，可调大 rate.per_day，或暂停一个群发。"), "kefu app quota "+a.AppID)
}

// dying is about an app of which much died in the last hour that nobody looks after yet.
func dying(a App, groups []deadletter.Group) (Problem, bool) {
	var top deadletter.Group
	for _, g := range groups {
		switch {
		case g.AppID != a.AppID:
		case g.Acknowledged != nil:
			a.DeadLastHour -= g.LastHour
		case g.LastHour > top.LastHour:
			top = g
		}
	}
	if a.DeadLastHour < dyingFew {
		return Problem{}, false
	}
	part := float64(a.DeadLastHour) / float64(a.DeadLastHour+a.SentLastHour)
	if part < dyingSome && top.LastHour < max(dyingFew, 2*top.HourBefore) {
		return Problem{}, false
	}
	severity := Warning
	if part >= dyingMost {
		severity = Critical
	}
	says := say("%s: %s of %s died in the last hour.", "%s：最近一小时 %[3]s 条中有 %[2]s 条失败。",
		a.label(), grouped(uint64(a.DeadLastHour)), grouped(uint64(a.DeadLastHour+a.SentLastHour)))
	p := a.problem(severity, Dying, says, say("Look at what they died of.", "请查看失败原因。"),
		"kefu dead groups --app "+a.AppID)
	p.weight = uint64(a.DeadLastHour)
	if top.LastHour > 0 {
		g := groupOf(top, a.Name)
		p.About, p.Do, p.Command = top.ID, g.Do, g.Command
		p.Says = says.and(say("Most often: %s.", "最多的是：%s。", g.what()))
	}
	return p, true
}

// what a group died of.
func (g Group) what() Text {
	if g.Errcode != nil && g.Reason != schema.ReasonUnknown {
		return say("errcode %d, %s", "errcode %d，%s", *g.Errcode, g.Means)
	}
	return g.Means
}

// merged tells what is the same problem of many apps once.
func merged(all []Problem) []Problem {
	type common struct {
		severity    Severity
		kind, cause string
	}
	of := make(map[common][]Problem)
	for _, p := range all {
		if p.cause != "" {
			c := common{p.Severity, p.Kind, p.cause}
			of[c] = append(of[c], p)
		}
	}
	out := []Problem{}
	for _, p := range all {
		same := of[common{p.Severity, p.Kind, p.cause}]
		switch {
		case p.cause == "" || len(same) < mergedFrom:
			out = append(out, p)
		case p.App == same[0].App:
			out = append(out, together(same))
		}
	}
	return out
}

// together is one problem for that of many apps.
func together(same []Problem) Problem {
	p, names, queued := same[0], make([]string, 0, 3), uint64(0)
	for i, q := range same {
		if queued += q.weight; i < cap(names) {
			names = append(names, cmp.Or(q.Name, q.App))
		}
	}
	p.App, p.Name, p.weight = "", "", queued
	p.Command = "kefu app list"
	kind := say("apps", "个公众号")
	if p.Kind == IsHeld {
		kind = say("apps are held", "个公众号已暂停发送")
	}
	p.Says = say("%d %s: %s. They are %s and %d more. %s.",
		"%d %s：%s。包括 %s 等，另有 %d 个。共 %s在等待。",
		len(same), kind, p.short, strings.Join(names, ", "), len(same)-len(names),
		count(queued, "message waits", "messages wait", "条消息"))
	return p
}

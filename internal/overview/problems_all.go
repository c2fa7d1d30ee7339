package overview

import (
	"math"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/job"
)

func (s snapshot) ofPool(o Overview) []Problem {
	if len(o.Workers) > 0 || len(o.Apps) == 0 {
		return []Problem{}
	}
	p := Problem{Severity: Warning, Kind: NoWorker, Command: "kefu worker",
		Says: say("No worker is alive.", "没有存活的 worker。"),
		Do:   say("Start a worker.", "请启动 worker。")}
	if o.Totals.Queued > 0 {
		p.Severity = Critical
		p.Says = p.Says.and(say("%s.", "%s在等待。",
			count(o.Totals.Queued, "message waits", "messages wait", "条消息")))
	}
	return []Problem{p}
}

// ofLetters is what is about to go wrong with the box of dead letters.
func (s snapshot) ofLetters(now time.Time) (out []Problem) {
	level := s.stand.value.level
	if full := level.Full(); full >= fullSoon {
		p := Problem{Severity: Warning, Kind: LettersFull, Command: "kefu dead groups",
			Says: say("The box of dead letters is full to %.0f %%: when it is full, what dies "+
				"stays in its queue.", "死信箱已用 %.0f%%；满了以后，失败的消息会留在队列里。",
				math.Floor(100*full)),
			Do: say("Replay or discard letters.", "请重放或丢弃一部分死信。")}
		if full >= fullVery {
			p.Severity = Critical
		}
		out = append(out, p)
	}
	if ends := level.Ends(); !ends.IsZero() && ends.Sub(now) <= level.Keep/10 {
		out = append(out, Problem{Severity: Notice, Kind: LettersEnd,
			Command: "kefu dead export letters.ndjson",
			Says: say("The oldest dead letters will be deleted for their age from %s on.",
				"最早的死信从%s 起会因到期而被删除。", clock(ends, now)),
			Do: say("Replay or export what is still worth it.", "仍有价值的请重放或导出。")})
	}
	return out
}

// ofReading is what keeps this page from being true.
func (s snapshot) ofReading(now time.Time) (out []Problem) {
	if off := s.stand.value.ahead; off.Abs() > clockOff {
		side := Text{"behind", "慢"}
		if off < 0 {
			side = Text{"ahead of", "快"}
		}
		out = append(out, Problem{Severity: Notice, Kind: Clock,
			Says: say("This machine's clock is %[1]s %[2]s the broker's: ages on this page are "+
				"off by that.", "本机时钟比 broker %[2]s %[1]s，页面上的时长会有同样的误差。",
				span(off.Abs()), side),
			Do: say("Let both machines set their clocks by NTP.", "请让两台机器都用 NTP 校时。")})
	}
	for _, part := range []struct {
		err   error
		at    time.Time
		about Text
	}{
		{s.stand.err, s.stand.at, Text{"How the apps stand", "公众号状态"}},
		{s.hours.err, s.hours.at, Text{"The last hour", "最近一小时的数据"}},
		{s.waits.err, s.waits.at, Text{"What waits", "等待中的消息"}},
		{s.died.err, s.died.at, Text{"What died", "死信统计"}},
		{s.work.err, s.work.at, Text{"Campaigns and replays", "群发与重放"}},
	} {
		if part.err == nil {
			continue
		}
		since := Text{"and is not known", "目前未知"}
		if !part.at.IsZero() {
			since = say("what is shown is from %s", "显示的是%s 的数据", clock(part.at, now))
		}
		out = append(out, Problem{Severity: Warning, Kind: Unread, Command: "kefu doctor",
			Says: say("%s cannot be read, %s: %s.", "%s读取失败，%s：%s。", part.about, since,
				part.err.Error()),
			Do: say("Look whether the broker is there, and whether this user has the rights of a "+
				"viewer.",
				"请检查 broker 是否可用，以及该用户是否具有 viewer 权限。")})
	}
	return out
}

// ofWork are the replays and campaigns that have halted.
func ofWork(o Overview) (out []Problem) {
	halted := func(app, about, command string, says Text) {
		out = append(out, Problem{Severity: Warning, Kind: Halted, App: app, About: about,
			Says: says, Do: say("Mend that, then resume it.", "处理后可继续。"), Command: command})
	}
	for _, r := range o.Jobs.Rows {
		if r.State == job.StateHalted {
			halted(r.App, r.Job, "kefu dead replays resume "+r.Job,
				say("Replay %s has halted: %s.", "重放任务 %s 已自动停止：%s。",
					r.Job, full(r.Halted)))
		}
	}
	for _, c := range o.Campaigns.Rows {
		if c.State == campaign.StateHalted {
			halted(c.AppID, c.Campaign, "kefu campaign resume "+c.Campaign+" --app "+c.AppID,
				say("Campaign %s has halted: %s.", "群发 %s 已自动停止：%s。",
					c.Campaign, full(c.Halted)))
		}
	}
	return out
}

// full is a sentence without its stop.
func full(s string) string { return strings.TrimRight(s, ".。") }

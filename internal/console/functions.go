package console

import (
	"fmt"
	"html/template"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/internal/overview"
	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/schema"
)

// templateFunctions are those of this package's templates.
func templateFunctions() template.FuncMap {
	return template.FuncMap{
		"stateZh": intent.StateZh, "reasonZh": deadletter.ReasonZh, "reasonZhText": reasonZhText,
		"stampMS": stampMS, "clock": clock, "since": since, "seconds": seconds, "sum": sum,
		"severity": severity, "kindText": kindText, "jobState": jobState, "link": link, "leftFor": leftFor, "fate": fateOf,
		"millis": millis, "traceID": traceID, "short": short,
	}
}

// reasonZhText is what a recipient's row says of why, in Chinese.
func reasonZhText(why string) string {
	if zh := deadletter.ReasonZh(schema.Reason(why)); zh != "" {
		return zh
	}
	if name, ok := strings.CutPrefix(why, "campaign "); ok {
		return "群发任务 " + name
	}
	return why
}

const (
	today    = 12 * time.Hour // what is nearer needs no date
	clockMS  = "15:04:05.000"
	stamped  = "2006-01-02 15:04:05.000"
	minutely = "15:04"
)

func stampMS(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case time.Since(t).Abs() < today:
		return t.Local().Format(clockMS)
	}
	return t.Local().Format(stamped)
}

// clock is a moment near now, to the minute.
func clock(at any) string {
	t := moment(at)
	switch {
	case t.IsZero():
		return ""
	case time.Since(t).Abs() < today:
		return t.Local().Format(minutely)
	}
	return t.Local().Format("01-02 15:04")
}

func since(at any) time.Duration { return max(time.Since(moment(at)), 0) }

// moment is a time, or what a pointer points at.
func moment(at any) time.Time {
	switch t := at.(type) {
	case time.Time:
		return t
	case *time.Time:
		if t != nil {
			return *t
		}
	}
	return time.Time{}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// sum adds up counts by name.
func sum(counts any) int {
	total := 0
	switch c := counts.(type) {
	case map[string]int:
		for _, n := range c {
			total += n
		}
	case map[schema.Reason]int:
		for _, n := range c {
			total += n
		}
	}
	return total
}

// short cuts a text that somebody else wrote: a table is for looking over it.
func short(s string) string {
	const most = 160
	runes := []rune(s)
	if len(runes) <= most {
		return s
	}
	return string(runes[:most]) + "…"
}

func severity(s overview.Severity) string {
	return map[overview.Severity]string{
		overview.Critical: "bad", overview.Warning: "warn", overview.Notice: "",
	}[s]
}

// kindText names a kind of hold.
func kindText(p *page.View, kind string) string {
	zh := map[string]string{
		string(gate.Quota): "额度", string(gate.Config): "配置", string(gate.Upstream): "网络",
		string(gate.Operator): "人工",
	}[kind]
	return p.Choose(kind, zh)
}

// jobState names the state of a job or a campaign.
func jobState(p *page.View, state string) string {
	zh := map[string]string{
		"planned": "已计划", "running": "进行中", "feeding": "投放中", "published": "已投放", "paused": "已暂停",
		"halted": "已中止", "done": "已完成", "aborted": "已放弃", "cancelled": "已取消", "uploading": "上传中",
	}[state]
	return p.Choose(state, zh)
}

// link is where a problem is dealt with.
func link(p overview.Problem) *page.Link {
	switch p.Kind {
	case overview.Dying:
		return &page.Link{Href: "/dead?group=" + p.About, Text: "See the letters"}
	case overview.LettersFull, overview.LettersEnd:
		return &page.Link{Href: "/dead", Text: "See the letters"}
	case overview.NoWorker:
		return &page.Link{Href: "/workers", Text: "See the workers"}
	case overview.Halted:
		return &page.Link{Href: "/jobs", Text: "See the jobs"}
	case overview.Clock, overview.Unread:
		return nil
	}
	if p.App == "" {
		return nil
	}
	return &page.Link{Href: fmt.Sprintf("/app/%s", p.App), Text: "See the app"}
}

// millis is a duration in milliseconds.
func millis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// traceID is the trace of a letter's producer; empty when it named none.
func traceID(headers map[string][]string) string {
	for name, values := range headers {
		if strings.EqualFold(name, schema.HeaderTraceparent) && len(values) == 1 {
			if parts := strings.Split(values[0], "-"); len(parts) == 4 && len(parts[1]) == 32 {
				return parts[1]
			}
		}
	}
	return ""
}

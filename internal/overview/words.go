package overview

import (
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
)

// say makes a sentence of two formats with the same arguments, of which those that are a Text stand
// in each language.
func say(en, zh string, args ...any) Text {
	inEn, inZh := make([]any, len(args)), make([]any, len(args))
	for i, arg := range args {
		inEn[i], inZh[i] = arg, arg
		if t, ok := arg.(Text); ok {
			inEn[i], inZh[i] = t.En, t.Zh
		}
	}
	return Text{fmt.Sprintf(en, inEn...), fmt.Sprintf(zh, inZh...)}
}

// and puts a sentence behind another one.
func (t Text) and(more Text) Text {
	if more.En == "" {
		return t
	}
	return Text{strings.TrimSpace(t.En + " " + more.En), t.Zh + more.Zh}
}

// span is a duration as people say it.
func span(d time.Duration) Text {
	switch {
	case d < time.Minute:
		return say("%d s", "%d 秒", max(int(d.Seconds()), 0))
	case d < time.Hour:
		return say("%d min", "%d 分钟", int(d.Minutes()))
	case d < 48*time.Hour:
		return say("%d h", "%d 小时", int(d.Round(time.Hour).Hours()))
	}
	return say("%d days", "%d 天", int(d.Hours()/24))
}

// clock is a time of the day in Beijing, where the platform's days begin; with the date on another
// day than now.
func clock(at, now time.Time) Text {
	at, now = at.In(gate.Beijing), now.In(gate.Beijing)
	layout := "15:04"
	if at.YearDay() != now.YearDay() && !at.Equal(gate.NextDay(now)) {
		layout = "01-02 15:04"
	}
	return say("%s Beijing time", "北京时间 %s", at.Format(layout))
}

// count is a number of things.
func count(n uint64, one, many string, zh string) Text {
	if n == 1 {
		return Text{"1 " + one, "1 " + zh}
	}
	return Text{grouped(n) + " " + many, grouped(n) + " " + zh}
}

package intent

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

// words say the same in English and in Chinese.
type words struct{ en, zh string }

var (
	published   = words{"published", "已发布"}
	queuedAgain = words{"queued again", "重新入队"}
)

// StateZh is a state in Chinese.
func StateZh(s schema.State) string {
	return map[schema.State]string{
		schema.StateQueued: "排队中", schema.StateWaiting: "等待中", schema.StateInFlight: "发送中",
		schema.StateSent: "已发送", schema.StateDead: "死信", schema.StateCancelled: "已取消",
	}[s]
}

// describeEvent is an event of the ledger in words.
func describeEvent(e ledger.RuledEvent) words {
	m := e.Mark
	switch m.Kind {
	case ledger.Start:
		return describeStart(e)
	case ledger.Clear:
		if m.Attempt == 0 {
			return words{"given back, no attempt spent", "已退回，未消耗尝试次数"}
		}
		return words{"given back, " + attemptCount(int(m.Attempt)) + " spent",
			fmt.Sprintf("已退回，已用 %d 次尝试", m.Attempt)}
	case ledger.Later:
		return words{fmt.Sprintf("put off until attempt %d", m.Attempt),
			fmt.Sprintf("推迟，等待第 %d 次尝试", m.Attempt)}
	case ledger.Suspect:
		return words{"handed out, perhaps not for the first time", "已派发，可能并非首次"}
	case ledger.Harmless:
		return words{"handled without harm, and waits", "处理正常，等待中"}
	case ledger.Gone:
		return words{"its message was no longer in the queue: a repeat may go on in its place",
			"队列中已没有这条消息，重复发布的消息可接替它"}
	}
	if reason, dying := m.Kind.Dying(); dying {
		return words{"to be buried: " + string(reason), "即将转入死信：" + deadletter.ReasonZh(reason)}
	}
	switch m.Kind {
	case ledger.Dead:
		return words{"died", "已成为死信"}
	case ledger.Sent:
		return words{m.Kind.String(), StateZh(schema.StateSent)}
	case ledger.Cancelled:
		return words{m.Kind.String(), StateZh(schema.StateCancelled)}
	}
	return words{m.Kind.String(), m.Kind.String()}
}

func describeStart(e ledger.RuledEvent) words {
	switch e.Ruling {
	case ledger.Ended, ledger.Repeat:
		return words{"it came once more and was not sent again", "再次到达，未重复发送"}
	case ledger.Reuse:
		return words{"another message came under its id: that one went to the dead letters",
			"另一条消息使用了相同的 id，该消息已转入死信"}
	case ledger.Started:
		return words{"handed to another worker while it was being sent", "发送过程中又派发给了另一个 worker"}
	}
	return words{fmt.Sprintf("attempt %d began", e.Mark.Attempt),
		fmt.Sprintf("第 %d 次尝试开始", e.Mark.Attempt)}
}

// describeAttempt is the end of an attempt in words, with what the API said.
func describeAttempt(a schema.Attempt) words {
	answer := strings.TrimSpace(errcodeText(a.Errcode) + " " + a.Errmsg)
	en, zh := "", ""
	if answer != "" {
		en, zh = ": "+answer, "："+answer
	}
	return words{fmt.Sprintf("attempt %d ended: %s%s", a.Number, a.Outcome, en),
		fmt.Sprintf("第 %d 次尝试结束：%s%s", a.Number, a.Outcome, zh)}
}

// describeEnd is how an intent ended.
func describeEnd(s schema.State, r schema.Reason, detail string) words {
	text := words{string(s), StateZh(s)}
	if r != "" {
		text.en += ", " + string(r)
		text.zh += "：" + deadletter.ReasonZh(r)
	}
	if detail != "" {
		text.en += ": " + detail
		text.zh += "（" + detail + "）"
	}
	return text
}

// errcodeText is a code of WeChat's that may be missing.
func errcodeText(errcode *int) string {
	if errcode == nil {
		return ""
	}
	return strconv.Itoa(*errcode)
}

func attemptCount(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return strconv.Itoa(n) + " attempts"
}

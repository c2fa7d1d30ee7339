package apps

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
)

// HoldAdvice is what a hold means and what to do about it, for people, in both languages.
type HoldAdvice struct {
	MeansEn, MeansZh string
	DoEn, DoZh       string
	Command          string // that does it, or helps with it
}

// AdviceOn says what a hold of an app means and what to do about it.
func AdviceOn(appID string, h gate.Hold) HoldAdvice {
	a := HoldAdvice{Command: "kefu app probe " + appID}
	a.MeansEn, a.MeansZh = means(h)
	a.DoEn, a.DoZh = advice(h)
	switch h.Kind {
	case gate.Operator:
		a.Command = "kefu app resume " + appID
	case gate.Quota:
		a.Command = "kefu app quota " + appID
	}
	return a
}

// means says why an app is held. What comes from WeChat, from the network or from an operator is in
// it as it is.
func means(h gate.Hold) (en, zh string) {
	switch {
	case h.Kind == gate.Operator:
		return paused(h)
	case h.PerDay > 0:
		en, zh = "the app's own budget of a day is used up (rate.per_day is %d)",
			"当日自设额度已用完（rate.per_day 为 %d）"
		return fmt.Sprintf(en, h.PerDay), fmt.Sprintf(zh, h.PerDay)
	case h.Errcode != 0:
		return answered(h)
	case h.Kind == gate.Quota && h.Call == string(wechat.CallQuota):
		return "the day's quota of sends is used up, says WeChat's quota call",
			"微信额度接口返回：当日发送额度已用完"
	case h.Kind == gate.Quota:
		return "WeChat limits the app for now: " + h.Reason,
			"微信暂时限制了该公众号的调用：" + h.Reason
	case h.Kind == gate.Upstream:
		return "nothing reaches WeChat's API: " + h.Reason, "无法连接微信接口：" + h.Reason
	}
	return "something is wrong in the configuration: " + h.Reason, "配置有误：" + h.Reason
}

func paused(h gate.Hold) (en, zh string) {
	en, zh = "paused by "+h.By, "由 "+h.By+" 暂停"
	if h.Reason != "" {
		en, zh = en+": "+h.Reason, zh+"："+h.Reason
	}
	return en, zh
}

// answered is what WeChat's answer means that holds an app.
func answered(h gate.Hold) (en, zh string) {
	c := wechat.Explain(wechat.Call(h.Call), h.Errcode)
	en, zh = "WeChat answers with errcode %d (%s)", "微信返回 errcode %d（%s）"
	if h.Call == string(wechat.CallToken) {
		en = "WeChat gives no access_token, errcode %d (%s)"
		zh = "微信拒绝发放 access_token，errcode %d（%s）"
	}
	en, zh = fmt.Sprintf(en, h.Errcode, c.En), fmt.Sprintf(zh, h.Errcode, c.Zh)
	if said := brief(h.Errmsg); said != "" {
		en, zh = en+": “"+said+"”", zh+"：“"+said+"”"
	}
	return en, zh
}

// mostSaid is how many characters of an errmsg stand in a sentence.
const mostSaid = 100

// brief is an errmsg without the rid at its end.
func brief(errmsg string) string {
	errmsg, _, _ = strings.Cut(errmsg, " rid: ")
	errmsg = strings.TrimSpace(errmsg)
	if utf8.RuneCountInString(errmsg) <= mostSaid {
		return errmsg
	}
	return string([]rune(errmsg)[:mostSaid]) + "…"
}

// Why says why an app is held.
func Why(holds []gate.Hold) string {
	parts := make([]string, len(holds))
	for i, h := range holds {
		parts[i] = h.Reason
		if h.Kind == gate.Operator {
			parts[i] += " (" + h.By + ")"
		}
	}
	return strings.Join(parts, "; ")
}

// NextTry is when a held app is tried again with the messages that are queued for it: one of
// another kind than those that drew the hold is tried as soon as it comes.
func NextTry(h gate.Hold, now time.Time) time.Time {
	for _, at := range []time.Time{h.Until, h.AnotherAt} {
		if at.After(now) {
			return at
		}
	}
	return h.SameAt
}

// Advice is an operator's way out of a hold.
func Advice(holds []gate.Hold) string {
	parts := make([]string, len(holds))
	for i, h := range holds {
		parts[i], _ = advice(h)
	}
	return strings.Join(parts, "; ")
}

func advice(h gate.Hold) (en, zh string) {
	meaning := wechat.Explain(wechat.Call(h.Call), h.Errcode)
	switch {
	case h.Kind == gate.Operator:
		return "kefu app resume, when the time has come", "确认可以恢复后，执行 kefu app resume"
	case h.PerDay > 0:
		return "raise rate.per_day, if WeChat allows the app more; " +
				"it goes on by itself at Beijing's midnight",
			"如果微信允许更多，可调大 rate.per_day；北京时间零点会自动恢复"
	case len(h.Refusals) == 1 && h.Kind == gate.Config && h.Errcode != 0:
		id := h.Refusals[0].ID
		return meaning.DoEn + " Only " + id +
				" drew it so far: the next message to somebody else tells whether it is about " +
				"that one.",
			meaning.DoZh + "目前只有 " + id +
				" 触发了它：下一条发给其他用户的消息会表明是否只与这一条有关。"
	case h.Errcode != 0:
		return meaning.DoEn, meaning.DoZh
	case h.Kind == gate.Upstream:
		return "look at this machine's way to the API: DNS, routes, proxies; it goes on by itself",
			"请检查本机到微信接口的网络：DNS、路由、代理；恢复后会自动继续"
	}
	return "mend what it says; it is tried again by itself, or at once with kefu app probe",
		"请按提示修复；之后会自动重试，也可执行 kefu app probe 立即重试"
}

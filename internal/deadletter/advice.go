package deadletter

import (
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// Advice is what a death means and what to do about it, for people.
type Advice struct {
	MeansEn, MeansZh string
	DoEn, DoZh       string
}

// AdviceOn says what kefu advises on letters that died for a reason, with the errcode
// of their last answer; nil for none.
func AdviceOn(reason schema.Reason, errcode *int) Advice {
	if errcode != nil && reason != schema.ReasonUnknown {
		c := wechat.Explain(wechat.CallSend, *errcode)
		return Advice{MeansEn: c.En, MeansZh: c.Zh, DoEn: c.DoEn, DoZh: c.DoZh}
	}
	return advice[reason]
}

// ReasonZh is a reason in Chinese.
func ReasonZh(r schema.Reason) string {
	return map[schema.Reason]string{
		schema.ReasonInvalid: "不合规则", schema.ReasonExpired: "已过期",
		schema.ReasonRejected: "接口拒绝", schema.ReasonRecipient: "无法送达该用户",
		schema.ReasonExhausted: "重试用尽", schema.ReasonUnknown: "结果未知",
		schema.ReasonIDReuse: "id 重复使用", schema.ReasonPoison: "处理异常",
	}[r]
}

var advice = map[schema.Reason]Advice{
	schema.ReasonInvalid: {
		"the packet breaks a rule, and was never sent", "消息不符合规则，从未发送",
		"Correct what builds the packet, and publish it again: the same packet dies again.",
		"请修正生成消息的代码后重新发布；原样重放仍会失败。",
	},
	schema.ReasonExpired: {
		"its deadline passed before it could be sent", "未能在截止时间前发出",
		"If it is still worth sending, replay it with --expires-in.",
		"若仍需发送，请用 --expires-in 指定新的截止时间后重放。",
	},
	schema.ReasonRejected: {
		"the API refused it for good", "接口明确拒绝了这条消息",
		"Read the errmsg, correct the packet, and publish it again.",
		"请查看 errmsg，修正消息后重新发布。",
	},
	schema.ReasonRecipient: {
		"it cannot reach this recipient", "无法送达该用户",
		"Replay it after the user has written again.",
		"待用户再次发来消息后重放。",
	},
	schema.ReasonExhausted: {
		"every attempt failed for a reason that passes", "每次尝试都因暂时性原因失败",
		"Replay it when the API answers again.",
		"待接口恢复后重放。",
	},
	schema.ReasonUnknown: {
		"the request left and no usable answer came: it may have been sent",
		"请求已发出但没有可用的应答，消息可能已送达",
		"Find out whether the user got it before you replay it: it may arrive twice.",
		"请先核实用户是否已收到再重放，否则可能重复送达。",
	},
	schema.ReasonIDReuse: {
		"its id belongs to an earlier message with another body", "其 id 已被内容不同的另一条消息使用",
		"Have the producer use an id of its own for each message; --new-ids replays this one.",
		"请让发布方为每条消息使用不同的 id；可用 --new-ids 重放这条消息。",
	},
	schema.ReasonPoison: {
		"handling it failed three times", "处理该消息连续失败三次",
		"Report it to the kefu project; a replay will probably fail again.",
		"请向 kefu 项目反馈；重放很可能再次失败。",
	},
}

package wechat

import (
	"cmp"
	"slices"
)

// Call is a family of API calls: the same errcode can mean different things in two of them.
type Call string

// The call families.
const (
	CallAny       Call = ""          // in the table only: whatever the call
	CallSend      Call = "send"      // /cgi-bin/message/custom/send
	CallToken     Call = "token"     // fetching an access token, wherever it comes from
	CallTyping    Call = "typing"    // /cgi-bin/message/custom/typing
	CallKFAccount Call = "kfaccount" // /customservice/kfaccount/…, getkflist, getonlinekflist
	CallQuota     Call = "quota"     // quota/get, clear_quota, rid/get
)

// Code is one row of the table: what an errcode means on a family of calls.
type Code struct {
	Call   Call   `json:"call"` // CallAny: on every call that has no row of its own
	Code   int    `json:"code"`
	Name   string `json:"name"` // ours, snake_case, unique within the family
	Fault  Fault  `json:"fault"`
	En     string `json:"en"` // what it means
	Zh     string `json:"zh"`
	Source string `json:"source"` // where that is written
	DoEn   string `json:"do_en"`  // what the operator can do
	DoZh   string `json:"do_zh"`
}

type key struct {
	call Call
	code int
}

// table is every row by its key. The rows are data in the errcode_*.go files beside this one.
var table = func() map[key]*Code {
	t := make(map[key]*Code)
	for _, rows := range [][]Code{generalCodes, standingCodes, tokenCodes, recipientCodes,
		contentCodes, otherCallCodes} {
		for i := range rows {
			t[key{rows[i].Call, rows[i].Code}] = &rows[i]
		}
	}
	return t
}()

// otherCalls is the order in which the other families are asked about a code that a family has no
// row for.
var otherCalls = [...]Call{CallSend, CallKFAccount, CallTyping, CallQuota, CallToken}

// Explain returns what code means as the answer to call, and what can be done about it there. The
// row is the family's own, else the one for any call, else another family's with advice that fits
// call, else the default row, whose Fault is FaultUnlisted. The Fault is that of an Error with this
// Call and Code that came with HTTP 200.
func Explain(call Call, code int) Code {
	row, known := find(call, code)
	if !known {
		row = Code{
			Call:   call,
			Code:   code,
			Name:   "unlisted",
			Fault:  FaultUnlisted,
			En:     "a code that kefu does not know",
			Zh:     "kefu 尚未收录的返回码",
			Source: "none",
			DoEn: "Read the errmsg, and look the code up in WeChat's return-code pages; with " +
				"the rid the app's developer can query the call for 7 days.",
			DoZh: "请查看 errmsg，并在微信官方返回码文档中查询；" +
				"该公众号的开发者可在 7 天内凭 rid 查询这次调用的详情。",
		}
	}
	if call == CallToken && row.Fault != FaultNone {
		row.Fault = tokenFault(row.Fault)
	}
	return row
}

// find is Explain without the default row, and with the fault that a token call had before
// tokenFault.
func find(call Call, code int) (row Code, known bool) {
	if own := table[key{call, code}]; own != nil {
		return *own, true
	}
	if general := table[key{CallAny, code}]; general != nil {
		return general.on(call), true
	}
	for _, other := range otherCalls {
		if row := table[key{other, code}]; row != nil {
			return row.on(call), true
		}
	}
	return Code{}, false
}

// advice is what an operator can do, in both languages.
type advice struct{ en, zh string }

// adviceByFault replaces the advice of a row for any call where that advice is about a worker,
// which tries again by itself.
var adviceByFault = func() map[Call]map[Fault]advice {
	commands := map[Fault]advice{
		FaultBusy:        {"Run the command again in a moment.", "请稍后重新执行命令。"},
		FaultMinuteQuota: {"Run the command again in a minute.", "请一分钟后重新执行命令。"},
		FaultToken: {
			"Run the command again. If it keeps coming, find the other system that " +
				"refreshes this app's token, and check that the " +
				"token belongs to this app and that no proxy cuts the query off the URL.",
			"请重新执行命令。若反复出现，请检查是否有其他系统在刷新该公众号的 access_token、" +
				"所用 access_token 是否属于该公众号，以及中间代理是否丢弃了 URL 中的查询参数。",
		},
	}
	return map[Call]map[Fault]advice{
		CallTyping:    commands,
		CallKFAccount: commands,
		CallQuota:     commands,
		CallToken: {
			FaultBusy: {
				"Try again in a moment; a worker does so by itself.",
				"请稍后重试；worker 会自动重试。",
			},
			FaultMinuteQuota: {
				"Try again in a minute; a worker does so by itself.",
				"请一分钟后重试；worker 会自动重试。",
			},
			FaultToken: {
				"Check the app's appid and secret, or the token file or token server in " +
					"their place.",
				"请核对该公众号的 AppID 与密钥，或所用的 token 文件、token 服务。",
			},
		},
	}
}()

// adviceOfOtherCalls is the advice on a call about a code that WeChat names for other calls only.
var adviceOfOtherCalls = map[Call]advice{
	CallSend: {
		"WeChat names this code for other calls: read the errmsg. With the rid the app's " +
			"developer can query the call for 7 days.",
		"微信仅在其他接口的文档中说明了此码：请查看 errmsg；该公众号的开发者可在 7 天内凭 rid " +
			"查询这次调用的详情。",
	},
	CallTyping: {
		"WeChat names this code for other calls: read the errmsg. Nothing is lost, the " +
			"typing sign is a courtesy.",
		"微信仅在其他接口的文档中说明了此码：请查看 errmsg。输入状态仅是提示，" +
			"未下发不影响其他功能。",
	},
	CallKFAccount: {
		"WeChat names this code for other calls: compare the errmsg with the values of " +
			"the command, correct them and run it again.",
		"微信仅在其他接口的文档中说明了此码：请对照 errmsg 检查命令参数，修正后重新执行。",
	},
	CallQuota: {
		"WeChat names this code for other calls: compare the errmsg with the values of " +
			"the command, correct them and run it again.",
		"微信仅在其他接口的文档中说明了此码：请对照 errmsg 检查命令参数，修正后重新执行。",
	},
	CallToken: {
		"WeChat names this code for other calls: read the errmsg, and check " +
			"wechat.base_url, or the token server in its place.",
		"微信仅在其他接口的文档中说明了此码：请查看 errmsg，并检查 wechat.base_url " +
			"或所用的 token 服务。",
	},
}

// on returns the row as it counts on call; c is a row for any call or of another family.
func (c Code) on(call Call) Code {
	if call == CallAny || call == CallSend && c.Call == CallAny {
		return c
	}
	do, replaced := adviceByFault[call][c.Fault]
	if !replaced && c.Call != CallAny {
		do, replaced = adviceOfOtherCalls[call]
	}
	if replaced {
		c.DoEn, c.DoZh = do.en, do.zh
	}
	// What is a message's or a recipient's fault on another call need not be one on a send.
	if call == CallSend && (c.Fault == FaultMessage || c.Fault == FaultRecipient) {
		c.Fault = FaultUnlisted
	}
	c.Call = call
	return c
}

// Does says in English and Chinese what is done about a call that is answered so: by the worker, or
// by the command for the calls that commands make.
func (c Code) Does() (en, zh string) {
	switch c.Call {
	case CallKFAccount, CallTyping, CallQuota:
		if c.Fault == FaultNone {
			return "nothing: the command was carried out", "无需处理：命令已执行"
		}
		return "the command fails and says why; nothing was changed",
			"命令失败并提示原因；没有任何改动"
	default:
		return c.Fault.Does()
	}
}

// Codes returns every row, sorted by code and then family.
func Codes() []Code {
	all := make([]Code, 0, len(table))
	for _, row := range table {
		all = append(all, *row)
	}
	slices.SortFunc(all, func(a, b Code) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Call, b.Call))
	})
	return all
}

// tokenFault returns the fault that a message has when the call for its token had f. The
// message was certainly not sent and is not to blame, so it must neither be buried nor lose an
// attempt: an answer without use is the way out's fault, and a refusal, whatever its reason, is for
// an operator to mend.
func tokenFault(f Fault) Fault {
	switch f {
	case FaultMinuteQuota, FaultDayQuota, FaultConfig, FaultUpstream:
		return f
	case FaultBusy, FaultUnknown, FaultNone:
		return FaultUpstream
	default:
		return FaultConfig
	}
}

// Where a row's meaning is written. The SDK lists carry WeChat's own English errmsg.
const (
	srcOJPM = "official return-code pages; WxJava, wechatpy and Mud.Wechat lists"
	srcOJP  = "official return-code pages; WxJava and wechatpy lists"
	srcOJM  = "official return-code pages; WxJava and Mud.Wechat lists"
	srcOM   = "official return-code pages; Mud.Wechat list"
	srcOJ   = "official return-code pages; WxJava list"
	srcO    = "official return-code pages"
	srcJPM  = "WxJava, wechatpy and Mud.Wechat lists"
	srcJP   = "WxJava and wechatpy lists"
	srcJM   = "WxJava and Mud.Wechat lists"
	srcPM   = "wechatpy and Mud.Wechat lists"
	srcJ    = "WxJava list"
	srcM    = "Mud.Wechat list"
	srcJPC  = "WxJava and wechatpy lists; community reports"
	srcJMC  = "WxJava and Mud.Wechat lists; community reports"
	srcJC   = "WxJava list; community reports"
	srcPC   = "wechatpy list; community reports"
	srcC    = "community reports"
	srcOC   = "official return-code pages; community reports"
	srcSign = "official guide to API signing; community reports"
	srcJW   = "WxJava and WxErrHelper lists"
	srcOJW  = "official return-code pages; WxJava and WxErrHelper lists"
	srcJWC  = "WxJava and WxErrHelper lists; community reports"
)

// What an operator can do, where many rows share it.
const (
	doTokenEn = "Nothing at first: kefu fetches the token again by itself. If it keeps coming, " +
		"find the other system that refreshes this app's token, or check that the token belongs " +
		"to this app."
	doTokenZh = "通常无需处理：kefu 会自动重新获取 access_token。若反复出现，" +
		"请检查是否有其他系统在刷新该公众号的 access_token，或所用 access_token 是否属于该公众号。"

	doWaitEn = "Nothing: kefu waits and goes on by itself."
	doWaitZh = "无需处理：kefu 会等待后自动继续。"

	doPlatformEn = "Only seen when a third-party platform calls for the app: renew the " +
		"authorisation on that platform."
	doPlatformZh = "仅在第三方平台代公众号调用时出现：请在该平台重新授权。"

	doBugEn = "Check wechat.base_url and any proxy in between; otherwise report it to the kefu " +
		"project with the rid."
	doBugZh = "请检查 wechat.base_url 及中间代理；若均无误，请附上 rid 向 kefu 项目反馈。"

	doEncoderEn = "kefu always sends raw UTF-8: see whether the text itself holds a literal \\u, " +
		"and whether a proxy rewrites the body; otherwise report it with the rid."
	doEncoderZh = "kefu 始终以原样 UTF-8 发送：请检查文本本身是否含有 \\u 字样、" +
		"中间代理是否改写了请求体；若均无误，请附上 rid 反馈。"

	doNeverEn = "Not expected from the calls that kefu makes: read the errmsg and report it with " +
		"the rid."
	doNeverZh = "kefu 所用接口不应返回此码：请查看 errmsg，并附上 rid 反馈。"

	doMPEn = "Log in to mp.weixin.qq.com as the app's administrator, read the notices there and " +
		"settle what they ask; then: kefu app resume."
	doMPZh = "请以管理员身份登录 mp.weixin.qq.com 查看站内通知并按要求处理，" +
		"之后执行 kefu app resume。"

	doAllowIPEn = "Add the address named in the errmsg to the app's IP allow-list on " +
		"mp.weixin.qq.com (set it behind NAT to every egress address); a held app goes on by " +
		"itself within minutes."
	doAllowIPZh = "请在 mp.weixin.qq.com 将 errmsg 中的 IP 加入该公众号的 IP 白名单" +
		"（经 NAT 出口时需加入全部出口 IP）；被暂停的公众号会在几分钟内自动恢复。"

	doEgressEn = "Find from which address this machine calls, and add it to the app's IP " +
		"allow-list on mp.weixin.qq.com; a held app goes on by itself within minutes."
	doEgressZh = "请查明本机的出口 IP，并在 mp.weixin.qq.com 将其加入该公众号的 IP 白名单；" +
		"被暂停的公众号会在几分钟内自动恢复。"

	doConfirmEn = "Ask the app's administrator to confirm the request that WeChat has sent to " +
		"their phone; a held app is tried again by itself."
	doConfirmZh = "请公众号管理员在手机微信中确认该请求；被暂停的公众号会自动重试。"

	doSecretEn = "Copy the AppID and AppSecret from mp.weixin.qq.com once more into the app's " +
		"appid and secret file; kefu reads the file again by itself."
	doSecretZh = "请在 mp.weixin.qq.com 重新核对 AppID 与 AppSecret，" +
		"并更新配置中的 appid 和密钥文件；kefu 会自动重新读取密钥文件。"

	doProducerEn = "Correct the producer and publish the message again."
	doProducerZh = "请修正生产方生成的消息后重新发布。"

	doTokenKindEn = "Check what the app's token file or token server hands out: it must be this " +
		"app's own access_token, or the authorizer_access_token that the platform has for it."
	doTokenKindZh = "请检查 token 文件或 token 服务给出的凭证：须为该公众号自己的 access_token，" +
		"或第三方平台为其取得的 authorizer_access_token。"

	doSigningEn = "Switch API signing and encryption off for the app on mp.weixin.qq.com " +
		"(API 安全): kefu does not sign."
	doSigningZh = "请在 mp.weixin.qq.com 的“API 安全”中为该公众号关闭 API 签名与加密：" +
		"kefu 不支持接口签名。"

	doMediaEn = "Upload the media again (temporary media lives 3 days) and publish the message " +
		"with the new media_id."
	doMediaZh = "请重新上传素材（临时素材仅保留 3 天），并用新的 media_id 重新发布消息。"

	doLinkEn = "Replace the link in the message and publish it again."
	doLinkZh = "请更换消息中的链接后重新发布。"

	doWeappEn = "Link the mini program to the app on mp.weixin.qq.com and check its appid and " +
		"page path in the message."
	doWeappZh = "请在 mp.weixin.qq.com 将该小程序与公众号关联，" +
		"并核对消息中的小程序 appid 与页面路径。"

	doUserEn = "Nothing to repair: the user can be reached again after writing to the app."
	doUserZh = "无需修复：用户再次给公众号发消息后方可回复。"

	doFollowEn = "Nothing to repair: the user must follow the app (again) first."
	doFollowZh = "无需修复：用户需先（重新）关注该公众号。"

	doKFEn = "Compare with the accounts on mp.weixin.qq.com, and correct the kf_account."
	doKFZh = "请对照 mp.weixin.qq.com 上的客服帐号列表修正。"

	doKFInputEn = "Correct the value and run the command again."
	doKFInputZh = "请修正参数后重新执行命令。"

	doKFEnableEn = "Enable the new customer service on mp.weixin.qq.com and add a first " +
		"kfaccount; it takes about 5 minutes to count."
	doKFEnableZh = "请在 mp.weixin.qq.com 开通新版客服功能并添加首个客服帐号，约 5 分钟后生效。"

	doAvatarEn = "Take another JPG, about 640 by 640 pixels and at most 5 MiB, and run the " +
		"command again."
	doAvatarZh = "请更换 JPG 图片（建议约 640×640 像素，不超过 5 MiB）后重新执行命令。"

	doTypingEn = "Nothing to repair: the sign can be shown again once the user has written to " +
		"the app."
	doTypingZh = "无需处理：用户再次给公众号发消息后方可下发输入状态。"

	doNothingEn = "Nothing."
	doNothingZh = "无需处理。"
)

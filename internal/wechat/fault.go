package wechat

import (
	"fmt"
	"strconv"
)

// Fault says whose fault a failed call was, which is all the worker needs to decide what to do
// about it.
type Fault uint8

// The faults. Each is one row of the table in Does.
const (
	FaultNone        Fault = iota // no failure
	FaultMessage                  // this message: it will be refused again however often it is sent
	FaultRecipient                // this user: window closed, allowance used, not a follower, …
	FaultBusy                     // WeChat is busy and says so: −1, HTTP 503
	FaultToken                    // the token is still refused after a refresh and a second try
	FaultMinuteQuota              // 45011, HTTP 429
	FaultDayQuota                 // 45009
	FaultConfig                   // the app's settings or its standing with WeChat are wrong
	FaultUpstream                 // certainly not sent: nothing of the message left this machine
	FaultUnknown                  // the request left, no usable answer came: it may have been sent
	FaultUnlisted                 // an errcode that is not in the table
	faultCount
)

// faults is the one table of what each fault is called and what the worker does about it.
var faults = [faultCount]struct{ name, en, zh string }{
	FaultNone: {
		"none",
		"nothing: the message was sent",
		"无需处理：消息已发送",
	},
	FaultMessage: {
		"message",
		"buries the message at once: dead letter \"rejected\"; the app goes on",
		"立即转入死信（rejected），不再重试；该公众号的其他消息照常发送",
	},
	FaultRecipient: {
		"recipient",
		"buries the message at once: dead letter \"recipient\"; the app goes on",
		"立即转入死信（recipient），不再重试；该公众号的其他消息照常发送",
	},
	FaultBusy: {
		"busy",
		"retries: 6 attempts in all, after 1 s, 4 s, 15 s, 1 min and 5 min (±20 %), then dead " +
			"letter \"exhausted\"",
		"重试：共 6 次，间隔 1 秒、4 秒、15 秒、1 分钟、5 分钟（±20%），" +
			"仍失败则转入死信（exhausted）",
	},
	FaultToken: {
		"token",
		"fetches the token once more and sends again at once; refused still, forces a new one (3 " +
			"a day at most) or holds the app; costs no attempt",
		"重新获取 access_token 后立即重发；若仍被拒绝，" +
			"则强制刷新（每日至多 3 次）或暂停该公众号；不计入重试次数",
	},
	FaultMinuteQuota: {
		"minute_quota",
		"holds the app until the next minute (HTTP 429: for the time given, 1 s to 1 h); costs " +
			"no attempt",
		"暂停该公众号至下一分钟（HTTP 429 则按其给出的时间，1 秒至 1 小时），不计入重试次数",
	},
	FaultDayQuota: {
		"day_quota",
		"holds the app until the quota is reset at midnight Beijing time, checked with the quota " +
			"call; costs no attempt",
		"暂停该公众号至北京时间零点额度重置（以额度查询接口为准），不计入重试次数",
	},
	FaultConfig: {
		"config",
		"holds the whole app, says why everywhere and probes again with growing pauses; costs no " +
			"attempt; a message that draws it again after another one was sent is buried alone: " +
			"dead letter \"rejected\"",
		"暂停整个公众号，在各处提示原因，并以逐渐加长的间隔重新探测；不计入重试次数；" +
			"若其他消息已能发出，仍得到该返回码的消息单独转入死信（rejected）",
	},
	FaultUpstream: {
		"upstream",
		"sends again, since nothing had left; when it repeats, holds the app and probes every 1 " +
			"s to 60 s; costs no attempt",
		"请求并未发出，可放心重发；若反复出现则暂停该公众号，每 1 至 60 秒探测一次；不计入重试次数",
	},
	FaultUnknown: {
		"unknown",
		"as the app is set: resend once (counted as a possible duplicate), then dead letter " +
			"\"unknown\", or park it there at once",
		"按该公众号的设置：重发一次（记为可能重复）后仍不明则转入死信（unknown），或直接转入死信",
	},
	FaultUnlisted: {
		"unlisted",
		"tries twice, then dead letter \"rejected\" with the raw code; three messages in a row " +
			"that draw it hold the app instead",
		"共尝试两次，仍失败则带上原始返回码转入死信（rejected）；若连续三条消息都得到该返回码，" +
			"则改为暂停整个公众号",
	},
}

// Faults lists every fault but FaultNone, for metrics that want all their labels from the start.
func Faults() []Fault {
	all := make([]Fault, 0, faultCount-1)
	for f := FaultMessage; f < faultCount; f++ {
		all = append(all, f)
	}
	return all
}

// String returns the fault's name: none, message, recipient, busy, token, minute_quota, day_quota,
// config, upstream, unknown or unlisted.
func (f Fault) String() string {
	if f >= faultCount {
		return "fault(" + strconv.Itoa(int(f)) + ")"
	}
	return faults[f].name
}

// Does says in English and Chinese what the worker does about a send that failed so, with the
// default settings.
func (f Fault) Does() (en, zh string) {
	if f >= faultCount {
		return "", ""
	}
	return faults[f].en, faults[f].zh
}

// MarshalText returns the name.
func (f Fault) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText accepts the names that String returns.
func (f *Fault) UnmarshalText(text []byte) error {
	for i := range faults {
		if faults[i].name == string(text) {
			*f = Fault(i)
			return nil
		}
	}
	return fmt.Errorf("fault %q is not known", text)
}

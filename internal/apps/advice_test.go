package apps

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/gate"
)

func TestWhatToDoAboutAHold(t *testing.T) {
	t.Parallel()
	for says, hold := range map[string]gate.Hold{
		"kefu app resume": {Kind: gate.Operator},
		"DNS":             {Kind: gate.Upstream},
		"tried again":     {Kind: gate.Config},
		"rate.per_day":    {Kind: gate.Quota, PerDay: 500_000},
		"AppSecret":       {Kind: gate.Config, Call: "token", Errcode: 40125},
	} {
		require.Contains(t, Advice([]gate.Hold{hold}), says)
	}
	require.Empty(t, Advice(nil))
}

func TestEveryKindOfHoldIsExplainedInBothLanguages(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		hold            gate.Hold
		en, zh, command string
	}{
		"an operator's": {
			gate.Hold{Kind: gate.Operator, By: "li@ops", Reason: "文案有误"},
			"paused by li@ops: 文案有误", "由 li@ops 暂停：文案有误", "kefu app resume wx1"},
		"an operator's without a reason": {
			gate.Hold{Kind: gate.Operator, By: "li@ops"},
			"paused by li@ops", "由 li@ops 暂停", "kefu app resume wx1"},
		"the app's own budget": {
			gate.Hold{Kind: gate.Quota, PerDay: 500},
			"the app's own budget of a day is used up (rate.per_day is 500)",
			"当日自设额度已用完（rate.per_day 为 500）", "kefu app quota wx1"},
		"the platform's quota": {
			gate.Hold{Kind: gate.Quota, Call: "send", Errcode: 45009, Errmsg: "reach max rid: 6-7"},
			"WeChat answers with errcode 45009 (the daily quota of this API is used up): “reach " +
				"max”",
			"微信返回 errcode 45009（接口调用次数已达当日上限）：“reach max”", "kefu app quota " +
				"wx1"},
		"what the quota call says": {
			gate.Hold{Kind: gate.Quota, Call: "quota"},
			"the day's quota of sends is used up, says WeChat's quota call",
			"微信额度接口返回：当日发送额度已用完", "kefu app quota wx1"},
		"HTTP 429": {
			gate.Hold{Kind: gate.Quota, Call: "send", Reason: "http 429"},
			"WeChat limits the app for now: http 429", "微信暂时限制了该公众号的调用：http 429",
			"kefu app quota wx1"},
		"no token": {
			gate.Hold{Kind: gate.Config, Call: "token", Errcode: 40164, Errmsg: "invalid ip " +
				"1.2.3.4"},
			"WeChat gives no access_token, errcode 40164 (", "微信拒绝发放 access_token，" +
				"errcode 40164（",
			"kefu app probe wx1"},
		"no way out": {
			gate.Hold{Kind: gate.Upstream, Reason: "connection refused"},
			"nothing reaches WeChat's API: connection refused",
			"无法连接微信接口：connection refused", "kefu app probe wx1"},
		"a file that is not there": {
			gate.Hold{Kind: gate.Config, Reason: "no such file"},
			"something is wrong in the configuration: no such file", "配置有误：no such file",
			"kefu app probe wx1"},
	} {
		a := AdviceOn("wx1", row.hold)
		require.True(t, strings.HasPrefix(a.MeansEn, row.en), "%s: %s", name, a.MeansEn)
		require.True(t, strings.HasPrefix(a.MeansZh, row.zh), "%s: %s", name, a.MeansZh)
		require.Equal(t, row.command, a.Command, name)
		require.NotEmpty(t, a.DoEn, name)
		require.True(t, strings.ContainsFunc(a.DoZh, isChinese), name)
	}
}

func isChinese(r rune) bool { return unicode.Is(unicode.Han, r) }

func TestALongErrmsgIsCut(t *testing.T) {
	t.Parallel()
	h := gate.Hold{Kind: gate.Config, Call: "send", Errcode: 48001}
	h.Errmsg = strings.Repeat("长", 200)
	require.Contains(t, AdviceOn("wx1", h).MeansZh, strings.Repeat("长", mostSaid)+"…”")
}

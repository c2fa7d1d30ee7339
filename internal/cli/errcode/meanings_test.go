package errcode

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wechat"
)

func TestErrcodeSaysOfACallWhatTheCallSays(t *testing.T) {
	t.Parallel()
	numbers := []int{99999}
	for _, row := range wechat.Codes() {
		if len(numbers) == 0 || numbers[len(numbers)-1] != row.Code {
			numbers = append(numbers, row.Code)
		}
	}
	for _, call := range []wechat.Call{wechat.CallSend, wechat.CallToken, wechat.CallTyping, wechat.CallKFAccount, wechat.CallQuota} {
		for _, code := range numbers {
			e := &errcode{call: string(call)}
			rows, known := e.meanings(code)
			require.Equal(t, []Meaning{explain(wechat.Explain(call, code))}, rows, "%s %d", call,
				code)
			require.Equal(t, code != 99999, known, "%s %d", call, code)
		}
	}
}

package wechat

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestALookupSaysOfACallWhatTheCallSays(t *testing.T) {
	t.Parallel()
	numbers := []int{99999}
	for _, row := range Codes() {
		if numbers[len(numbers)-1] != row.Code {
			numbers = append(numbers, row.Code)
		}
	}
	for _, call := range []Call{CallSend, CallToken, CallTyping, CallKFAccount, CallQuota} {
		for _, code := range numbers {
			rows, known := Lookup{Call: string(call)}.Meanings(code)
			require.Equal(t, []Code{Explain(call, code)}, rows, "%s %d", call, code)
			require.Equal(t, code != 99999, known, "%s %d", call, code)
		}
	}
}

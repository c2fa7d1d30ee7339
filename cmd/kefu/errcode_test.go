package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wechat"
)

// codes runs the command and returns the rows of its JSON.
func codes(t *testing.T, line string) []map[string]any {
	t.Helper()
	var rows []map[string]any
	got := kefu(t, try{args: args(line + " -o json")})
	require.NoError(t, json.Unmarshal([]byte(got.out), &rows), got.err)
	return rows
}

func TestErrcodeExplainsOneInBothLanguages(t *testing.T) {
	t.Parallel()
	row := wechat.Explain(wechat.CallSend, 45015)
	for locale, expects := range map[string]struct{ en, zh bool }{
		"":                 {true, true},
		"LANG=C.UTF-8":     {true, true},
		"LANG=en_US.UTF-8": {true, false},
		"LANG=zh_CN.UTF-8": {false, true},
		"LC_ALL=zh_HK":     {false, true},
		"LC_MESSAGES=de":   {true, false},
	} {
		got := kefu(t, try{args: args("errcode 45015"), environ: []string{locale}})
		require.Equal(t, exitDone, got.code)
		require.Equal(t, expects.en, strings.Contains(got.out, row.En), locale)
		require.Equal(t, expects.zh, strings.Contains(got.out, row.Zh), locale)
		does, _ := row.Fault.Does()
		require.Equal(t, expects.en, strings.Contains(got.out, does), locale)
		require.Equal(t, expects.en, strings.Contains(got.out, row.DoEn), locale)
		require.Contains(t, got.out, "recipient")
	}
	asked := kefu(t, try{args: args("errcode 45015 --lang zh"), environ: []string{"LANG=en_US"}})
	require.NotContains(t, asked.out, row.En)
	require.Contains(t, asked.out, row.Zh)
}

func TestACodeIsExplainedForEachCallItDiffersOn(t *testing.T) {
	t.Parallel()
	rows := codes(t, "errcode 40001")
	require.Greater(t, len(rows), 1, "a stale token on a send, a wrong secret on a token call")
	faults := map[any]bool{}
	for _, row := range rows {
		require.InDelta(t, 40001, row["code"], 0)
		faults[row["fault"]] = true
	}
	require.Greater(t, len(faults), 1)

	one := codes(t, "errcode 40001 --call token")
	require.Len(t, one, 1)
	require.Equal(t, "token", one[0]["call"])
	require.Equal(t, "config", one[0]["fault"])
	require.NotEmpty(t, one[0]["does_en"])
	require.NotEmpty(t, one[0]["does_zh"])
}

func TestACodeThatMeansTheSameOnAnyCallIsKnownOnEach(t *testing.T) {
	t.Parallel()
	require.Equal(t, wechat.CallAny, wechat.Explain(wechat.CallSend, 40001).Call)
	stale := codes(t, "errcode 40001 --call send")
	require.Len(t, stale, 1)
	require.Equal(t, "token", stale[0]["fault"])

	for _, call := range callNames() {
		means := make(map[float64]any)
		for _, row := range codes(t, "errcode --call "+call) {
			code := row["code"].(float64)
			require.NotContains(t, means, code, "one meaning on one call")
			means[code] = row["fault"]
		}
		for _, row := range wechat.Codes() {
			if row.Call == wechat.CallAny || string(row.Call) == call { // however it counts there
				require.Contains(t, means, float64(row.Code), call)
			}
			if string(row.Call) == call {
				require.Equal(t, row.Fault.String(), means[float64(row.Code)], call)
			}
		}
	}
}

func TestErrcodeTakesTheCodeMinusOne(t *testing.T) {
	t.Parallel()
	got := kefu(t, try{args: args("errcode -1 --lang en")})
	require.Equal(t, exitDone, got.code)
	require.Contains(t, got.out, "busy")
}

func TestErrcodeListsAndFilters(t *testing.T) {
	t.Parallel()
	all := codes(t, "errcode")
	require.Len(t, all, len(wechat.Codes()))
	for _, fault := range faultNames() {
		for _, row := range codes(t, "errcode --fault "+fault) {
			require.Equal(t, fault, row["fault"])
		}
	}
	var numbers []float64
	for _, row := range codes(t, "errcode --search quota --call any") {
		require.Empty(t, row["call"])
		numbers = append(numbers, row["code"].(float64))
	}
	require.Contains(t, numbers, 45009.0)
	require.True(t, slices.IsSorted(numbers))

	table := kefu(t, try{args: args("errcode --fault day_quota --lang en"), width: 60, environ: []string{"NO_COLOR=1"}})
	require.True(t, strings.HasPrefix(table.out, " CODE  CALL   FAULT      MEANING\n45009  "), table.out)
}

func TestAnUnknownCodeIsExitCodeThreeAndStillExplained(t *testing.T) {
	t.Parallel()
	got := kefu(t, try{args: args("errcode 12345678 --lang en")})
	require.Equal(t, exitNothing, got.code)
	require.Equal(t, "kefu: kefu does not know the code 12345678\n", got.err)
	does, _ := wechat.FaultUnlisted.Does()
	require.Contains(t, got.out, does, "what becomes of it is still worth knowing")
	require.Len(t, codes(t, "errcode 12345678"), 1)

	onCall := kefu(t, try{args: args("errcode 12345678 --call kfaccount --lang en")})
	require.Equal(t, exitNothing, onCall.code)
	require.Equal(t, "kefu: kefu does not know the code 12345678\n", onCall.err)
	require.Contains(t, onCall.out, "unlisted, on kfaccount")
	require.NotContains(t, onCall.out, does)

	narrowed := kefu(t, try{args: args("errcode 45015 --fault busy")})
	require.Equal(t, result{exitNothing, "", "kefu: kefu does not know the code 45015 among the codes you asked for\n"}, narrowed)
	nothing := kefu(t, try{args: args("errcode --search frobnicate -o json")})
	require.Equal(t, result{exitNothing, "[]\n", "kefu: no code matches\n"}, nothing)
}

// Whatever row a code has, and whether it has one: asked about a call, the answer is the one that an error of that call gives.
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
			e := &errcode{cli: &cli{}, call: string(call)}
			rows, known := e.meanings(code)
			require.Equal(t, []explained{explain(wechat.Explain(call, code))}, rows, "%s %d", call, code)
			require.Equal(t, code != 99999, known, "%s %d", call, code)
		}
	}
	avatar := codes(t, "errcode 40005 --call kfaccount")
	require.Len(t, avatar, 1)
	require.Equal(t, "avatar_file_type", avatar[0]["name"])
	require.Contains(t, avatar[0]["do_en"], "JPG")
	require.Equal(t, "the command fails and says why; nothing was changed", avatar[0]["does_en"])
	require.Equal(t, "kfaccount", codes(t, "errcode 40007 --call kfaccount")[0]["call"], "a code of a send, on this call")

	signing := codes(t, "errcode 40234")
	require.Len(t, signing, 1)
	require.InDelta(t, 40234, signing[0]["code"], 0)
	require.Equal(t, "config", signing[0]["fault"])
}

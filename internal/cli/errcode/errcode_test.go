package errcode_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/errcode"
	"github.com/kefuhq/kefu/internal/cli/root"
	"github.com/kefuhq/kefu/internal/wechat"
)

// codes runs the command and returns the rows of its JSON.
func codes(t *testing.T, line string) []map[string]any {
	t.Helper()
	var rows []map[string]any
	got := clitest.Run(t, clitest.Try{Args: clitest.Args(line + " -o json")})
	require.NoError(t, json.Unmarshal([]byte(got.Out), &rows), got.Err)
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
		got := clitest.Run(t,
			clitest.Try{Args: clitest.Args("errcode 45015"), Environ: []string{locale}})
		require.Equal(t, cli.ExitDone, got.Code)
		require.Equal(t, expects.en, strings.Contains(got.Out, row.En), locale)
		require.Equal(t, expects.zh, strings.Contains(got.Out, row.Zh), locale)
		does, _ := row.Fault.Does()
		require.Equal(t, expects.en, strings.Contains(got.Out, does), locale)
		require.Equal(t, expects.en, strings.Contains(got.Out, row.DoEn), locale)
		require.Contains(t, got.Out, "recipient")
	}
	asked := clitest.Run(t,
		clitest.Try{Args: clitest.Args("errcode 45015 --lang zh"), Environ: []string{"LANG=en_US"}})
	require.NotContains(t, asked.Out, row.En)
	require.Contains(t, asked.Out, row.Zh)
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

	for _, call := range wechat.CallNames() {
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
	got := clitest.Run(t, clitest.Try{Args: clitest.Args("errcode -1 --lang en")})
	require.Equal(t, cli.ExitDone, got.Code)
	require.Contains(t, got.Out, "busy")
}

func TestErrcodeListsAndFilters(t *testing.T) {
	t.Parallel()
	all := codes(t, "errcode")
	require.Len(t, all, len(wechat.Codes()))
	for _, fault := range wechat.FaultNames() {
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

	table := clitest.Run(t,
		clitest.Try{Args: clitest.Args("errcode --fault day_quota --lang en"), Width: 60,
			Environ: []string{"NO_COLOR=1"}})
	require.True(t, strings.HasPrefix(table.Out, " CODE  CALL   FAULT      MEANING\n45009  "),
		table.Out)
}

func TestAnUnknownCodeIsExitCodeThreeAndStillExplained(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t, clitest.Try{Args: clitest.Args("errcode 12345678 --lang en")})
	require.Equal(t, cli.ExitNothing, got.Code)
	require.Equal(t, "kefu: kefu does not know the code 12345678\n", got.Err)
	does, _ := wechat.FaultUnlisted.Does()
	require.Contains(t, got.Out, does, "what becomes of it is still worth knowing")
	require.Len(t, codes(t, "errcode 12345678"), 1)

	onCall := clitest.Run(t,
		clitest.Try{Args: clitest.Args("errcode 12345678 --call kfaccount --lang en")})
	require.Equal(t, cli.ExitNothing, onCall.Code)
	require.Equal(t, "kefu: kefu does not know the code 12345678\n", onCall.Err)
	require.Contains(t, onCall.Out, "unlisted, on kfaccount")
	require.NotContains(t, onCall.Out, does)

	narrowed := clitest.Run(t, clitest.Try{Args: clitest.Args("errcode 45015 --fault busy")})
	require.Equal(t, clitest.Ended(cli.ExitNothing, "",
		"kefu: kefu does not know the code 45015 among the codes you asked for\n"), narrowed)
	nothing := clitest.Run(t,
		clitest.Try{Args: clitest.Args("errcode --search frobnicate -o json")})
	require.Equal(t, clitest.Ended(cli.ExitNothing, "[]\n", "kefu: no code matches\n"), nothing)
}

// Whatever row a code has, and whether it has one: asked about a call, the answer is the one that
// an error of that call gives.
func TestACodeIsExplainedForTheCallThatDrewIt(t *testing.T) {
	t.Parallel()
	avatar := codes(t, "errcode 40005 --call kfaccount")
	require.Len(t, avatar, 1)
	require.Equal(t, "avatar_file_type", avatar[0]["name"])
	require.Contains(t, avatar[0]["do_en"], "JPG")
	require.Equal(t, "the command fails and says why; nothing was changed", avatar[0]["does_en"])
	require.Equal(t, "kfaccount", codes(t, "errcode 40007 --call kfaccount")[0]["call"],
		"a code of a send, on this call")

	signing := codes(t, "errcode 40234")
	require.Len(t, signing, 1)
	require.InDelta(t, 40234, signing[0]["code"], 0)
	require.Equal(t, "config", signing[0]["fault"])
}

func TestNegativeCodesAreNoFlags(t *testing.T) {
	t.Parallel()
	for line, expected := range map[string]string{
		"errcode -1":              "errcode -- -1",
		"errcode -1 -o json":      "errcode -o json -- -1",
		"--quiet errcode -40001":  "errcode --quiet -- -40001",
		"-o json errcode -1":      "errcode -o json -- -1",
		"errcode --yes -1":        "errcode --yes -- -1",
		"errcode 45015":           "errcode 45015",
		"errcode -- -1":           "errcode -- -1",
		"errcode -o json":         "errcode -o json",
		"errcode --search=-1 -x1": "errcode --search=-1 -x1",
		"errcode --search=x -1":   "errcode --search=x -- -1",
		// The value of a flag is no code.
		"errcode --search -1":        "errcode --search -1",
		"--app errcode errcode -1":   "errcode --app errcode -- -1",
		"errcode --search errcode 5": "errcode --search errcode 5",
		// Nor is a word that other commands are given.
		"sandbox --listen -1":                      "sandbox --listen -1",
		"send --id errcode --expires-in -1":        "send --id errcode --expires-in -1",
		"dead list --text errcode --generation -1": "dead list --text errcode --generation -1",
		"dead replay errcode --rate -1":            "dead replay errcode --rate -1",
		"app pause --reason errcode -5":            "app pause --reason errcode -5",
		"help errcode":                             "help errcode",
		"-1":                                       "-1",
		"":                                         "",
	} {
		cmd := root.New(cli.New(cli.Process{}))
		require.Equal(t, clitest.Args(expected), errcode.NegativeCodesLast(cmd, clitest.Args(line)),
			line)
	}
	replay := clitest.Run(t,
		clitest.Try{Args: clitest.Args("dead replay errcode --rate -1"), File: clitest.TwoApps})
	require.Contains(t, replay.Err, "--rate and --limit cannot be below 0")
	require.Equal(t, cli.ExitDone,
		clitest.Run(t, clitest.Try{Args: clitest.Args("errcode --search -1")}).Code)
}

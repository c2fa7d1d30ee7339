package wechat

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// documented is every errcode that the platform's pages and the clients in the field name, by the
// call that answers it, and whose fault it is there.
var documented = []struct {
	call  Call
	fault Fault
	codes string
}{
	// On every call.
	{CallAny, FaultNone, `0`},
	{CallAny, FaultBusy, `-1 -1000 268487001 268487002`},
	{CallAny, FaultToken, `40001 40014 41001 42001 48012`},
	{CallAny, FaultDayQuota, `45009`},
	{CallAny, FaultMinuteQuota, `45011 44991`},
	{CallAny, FaultConfig, `40002 40013 40090 40091 40094 40095 40125 40164 40187 40200 40221
		40222 40234 40235 40243 41002 41004 41018 41021 42002 42003 42005 42006 42007 43001 43002
		43003 43007 43015 43016 43104 44002 45032 45035 45040 45102 45103 45104 45501 48001 48003
		48004 48009 49001 50001 50002 50003 50004 50007 61000 61001 61002 61003 61004 61005 61006
		61007 61009 61010 61011 61014 61015 61016 61017 61023 61024 61028 61029 61052 61061 87009
		89501 89502 89503 89504 89505 89506 89507`},
	{CallToken, FaultConfig, `40001`},

	{CallSend, FaultConfig, `40013 40200 41002 45087 45094 45103 48001 50001 50002 50003 65400`},
	{CallSend, FaultBusy, `46007 9001002`},
	{CallSend, FaultRecipient, `40003 43004 43005 43006 43019 43101 45015 45037 45038 45047 45093
		46004 48002 49003 50005 50006 70000`},
	{CallSend, FaultMessage, `40004 40005 40006 40007 40008 40009 40010 40011 40012 40023 40033
		40035 40038 40039 40048 40062 40066 40068 40073 40080 40097 40101 40118 40121 40126 40128
		40130 40132 40137 40141 40155 40165 40166 40168 40173 40191 40213 40214 40249 41005 41006
		41009 41010 41011 41012 44001 44003 44004 44997 45001 45002 45003 45004 45005 45006 45007
		45008 45050 45064 45065 45066 45067 45086 45098 45099 45113 45157 45158 45159 45162 45166
		45168 46001 47001 47002 48008 49002 53600 61452 65401 65402 87014 88000 9001001 9001003`},
	{CallAny, FaultUnlisted, `4 1007`}, // seen on a send, with nothing but a rid

	{CallTyping, FaultMessage, `45072`},
	{CallTyping, FaultRecipient, `40003 43004 43019 45015 45047 45080 45081 48002 49003 50005`},
	{CallTyping, FaultConfig, `40200`},

	{CallKFAccount, FaultBusy, `61450`},
	{CallKFAccount, FaultConfig, `65400`},
	{CallKFAccount, FaultMessage, `40003 40004 40005 40006 40009 40035 40038 40097 40101 40132
		40137 41005 41011 44001 44006 45001 45078 45079 45091 47001 61400 61401 61451 61452 61453
		61454 61455 61456 61457 61458 61459 61500 61501 65401 65402 65403 65404 65405 65406 65407
		65408 65409 65410 65411 65412 65413 65414 65415 65416 65417 87014`},

	{CallQuota, FaultMessage, `48006 76001 76002 76003 76004 76021`},
	{CallQuota, FaultConfig, `76022`},
}

func TestEveryDocumentedCodeHasARowAndItsFault(t *testing.T) {
	t.Parallel()
	seen := make(map[key]bool)
	for _, row := range documented {
		for word := range strings.FieldsSeq(row.codes) {
			code, err := strconv.Atoi(word)
			require.NoError(t, err)
			seen[key{row.call, code}] = true
			got := Explain(row.call, code)
			require.Equal(t, row.fault, got.Fault, "%s %d (%s)", row.call, code, got.Name)
			require.NotEqual(t, "unlisted", got.Name, "%s %d", row.call, code)
		}
	}
	codes := make(map[int]bool)
	for _, c := range Codes() {
		codes[c.Code] = true
		require.True(t, seen[key{c.Call, c.Code}] || seen[key{CallAny, c.Code}],
			"nobody says why there is a row for %q %d", c.Call, c.Code)
	}
	require.GreaterOrEqual(t, len(codes), 220)
}

func TestRowsAreComplete(t *testing.T) {
	t.Parallel()
	rows := 0
	for _, part := range [][]Code{generalCodes, standingCodes, tokenCodes, recipientCodes,
		contentCodes, otherCallCodes} {
		rows += len(part)
	}
	require.Len(t, table, rows, "two rows have the same key")

	calls := map[Call]bool{CallAny: true, CallSend: true, CallToken: true, CallTyping: true,
		CallKFAccount: true, CallQuota: true}
	names := make(map[Call]map[string]int)
	snake := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for _, c := range Codes() {
		at := []any{"%q %d", c.Call, c.Code}
		require.True(t, calls[c.Call], at...)
		require.Regexp(t, snake, c.Name, at...)
		if names[c.Call] == nil {
			names[c.Call] = make(map[string]int)
		}
		require.NotContains(t, names[c.Call], c.Name, at...)
		names[c.Call][c.Name] = c.Code

		require.Equal(t, c.Code == 0, c.Fault == FaultNone, at...)
		require.Less(t, c.Fault, faultCount, at...)
		for _, text := range []string{c.En, c.Zh, c.Source, c.DoEn, c.DoZh} {
			require.NotEmpty(t, strings.TrimSpace(text), at...)
			require.Equal(t, strings.TrimSpace(text), text, at...)
		}
		for _, text := range []string{c.DoEn, c.DoZh} {
			require.Regexp(t, `[.。]$`, text, at...)
		}
		for _, text := range []string{c.Zh, c.DoZh} {
			require.True(t, strings.ContainsFunc(text,
				func(r rune) bool { return unicode.Is(unicode.Han, r) }), at...)
		}
		for _, text := range []string{c.En, c.Source} {
			require.False(t, strings.ContainsFunc(text,
				func(r rune) bool { return unicode.Is(unicode.Han, r) }), at...)
		}
	}
}

func TestExplainKnowsTheFault(t *testing.T) {
	t.Parallel()
	for fault, codes := range map[Fault][]int{
		FaultNone:        {0},
		FaultBusy:        {-1, -1000, 268487001, 268487002, 46007, 61450},
		FaultToken:       {40001, 40014, 41001, 42001, 48012},
		FaultMinuteQuota: {45011, 44991},
		FaultDayQuota:    {45009},
		FaultRecipient: {
			40003, 43004, 43005, 43006, 43019, 43101, 45015, 45037, 45038, 45047, 45093, 46004,
			48002, 49003, 50005, 50006, 70000,
		},
		FaultConfig: {
			40002, 40013, 40125, 40164, 40243, 41002, 41004, 42007, 43003, 45035, 45040, 45087,
			45094, 45102, 48001, 48004,
			50001, 50002, 50004, 61004, 65400, 89503, 89506, 40234, 40235, 61014, 44002, 87009,
		},
		FaultMessage: {
			40004, 40007, 40008, 40033, 44004, 45001, 45002, 45008, 45086, 46001, 47001, 47002,
			48008, 61452, 65401, 65402,
			87014,
		},
		// the last ones: known on other calls only
		FaultUnlisted: {4, 1007, 99999, -2, 1 << 30, 61451, 65404, 45080, 48006},
	} {
		for _, code := range codes {
			require.Equal(t, fault, Explain(CallSend, code).Fault, "send %d", code)
		}
	}
}

func TestExplainTakesTheFamilyFirst(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		call  Call
		code  int
		want  string
		fault Fault
	}{
		"40001 on a send is a stale token": {CallSend, 40001, "token_not_latest", FaultToken},
		"40001 on a kfaccount call is a stale token too": {
			CallKFAccount, 40001, "token_not_latest", FaultToken,
		},
		"40001 on a token call is a wrong secret": {
			CallToken, 40001, "appsecret_wrong", FaultConfig,
		},
		"61452 on a send names the message's kfaccount": {
			CallSend, 61452, "unknown_kfaccount", FaultMessage,
		},
		"61452 on a kfaccount call names the call's": {
			CallKFAccount, 61452, "kfaccount_invalid", FaultMessage,
		},
		"a general code holds on every call": {
			CallTyping, 45011, "minute_quota_reached", FaultMinuteQuota,
		},
		"a code of a send keeps its meaning on typing": {
			CallTyping, 40007, "media_id_invalid", FaultMessage,
		},
		"a kfaccount's code on a send is not the message's": {
			CallSend, 65404, "kfaccount_illegal", FaultUnlisted,
		},
		"busy is busy on whatever call": {CallSend, 61450, "kf_system_error", FaultBusy},
		"on a token call nothing speaks against a message": {
			CallToken, 40003, "invalid_openid", FaultConfig,
		},
		"without a family any row is found":   {CallAny, 45015, "window_closed", FaultRecipient},
		"an unknown code has the default row": {CallSend, 99999, "unlisted", FaultUnlisted},
		"an unknown code of an unknown family has it as well": {
			Call("x"), 99999, "unlisted", FaultUnlisted,
		},
	} {
		got := Explain(row.call, row.code)
		require.Equal(t, row.want, got.Name, name)
		require.Equal(t, row.fault, got.Fault, name)
		require.Equal(t, row.code, got.Code, name)
		require.NotEmpty(t, got.DoZh, name)
	}
}

func TestCodesAreSortedAndMarshal(t *testing.T) {
	t.Parallel()
	codes := Codes()
	for i := 1; i < len(codes); i++ {
		a, b := codes[i-1], codes[i]
		require.True(t, a.Code < b.Code || a.Code == b.Code && a.Call < b.Call)
	}
	data, err := json.Marshal(Explain(CallSend, 45015))
	require.NoError(t, err)
	require.Contains(t, string(data),
		`"call":"send","code":45015,"name":"window_closed","fault":"recipient"`)
}

func TestATokenCallNeverSpeaksAgainstTheMessage(t *testing.T) {
	t.Parallel()
	allowed := map[Fault]bool{FaultConfig: true, FaultUpstream: true, FaultMinuteQuota: true,
		FaultDayQuota: true}
	for f := range faultCount {
		require.True(t, allowed[tokenFault(f)], f.String())
	}
	require.Equal(t, FaultUpstream, tokenFault(FaultBusy))
	require.Equal(t, FaultUpstream, tokenFault(FaultUnknown))
	require.Equal(t, FaultConfig, tokenFault(FaultUnlisted))
	require.Equal(t, FaultConfig, tokenFault(FaultToken))
}

func TestFaultsHaveNamesAndTexts(t *testing.T) {
	t.Parallel()
	require.Equal(t,
		"none message recipient busy token minute_quota day_quota config upstream unknown unlisted",
		func() string {
			names := []string{FaultNone.String()}
			for _, f := range Faults() {
				names = append(names, f.String())
			}
			return strings.Join(names, " ")
		}())
	for f := range faultCount {
		en, zh := f.Does()
		require.NotEmpty(t, en, f.String())
		require.NotEmpty(t, zh, f.String())

		text, err := f.MarshalText()
		require.NoError(t, err)
		var back Fault
		require.NoError(t, back.UnmarshalText(text))
		require.Equal(t, f, back)
	}
	en, zh := Fault(99).Does()
	require.Empty(t, en+zh)
	require.Equal(t, "fault(99)", Fault(99).String())
	require.Error(t, new(Fault).UnmarshalText([]byte("nonsense")))
}

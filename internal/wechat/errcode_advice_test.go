package wechat

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is true of a queued message, and of a worker that goes on by itself, only.
var (
	aboutSendsEn = regexp.MustCompile(`(?i)publish|producer|replay|dead letter|\bbur(y|ies)\b|` +
		`retries|attempt|backlog|the queue|upload the media|split the text|the message\b|` +
		`\b(a|this|that) message\b|limits\.|rate\.|kefu (waits|goes on|retries|sends)`)
	aboutSendsZh = regexp.MustCompile(`发布消息|后发布|生产方|重放|死信|重试次数|积压|排队|` +
		`重新上传素材|该消息|消息内容|limits\.|rate\.|kefu 会(等待|在下一分钟|自动继续|自动重试)`)
)

// Every answer to every call: the advice is about that call, whichever row the code has.
func TestNoCallGetsTheAdviceOfASend(t *testing.T) {
	t.Parallel()
	codes := map[int]bool{99999: true}
	for _, row := range Codes() {
		codes[row.Code] = true
	}
	for _, call := range []Call{CallKFAccount, CallTyping, CallQuota, CallToken} {
		for code := range codes {
			got := Explain(call, code)
			at := []any{"%s %d (%s)", call, code, got.Name}
			require.Equal(t, call, got.Call, at...)
			require.NotRegexp(t, aboutSendsEn, got.DoEn, at...)
			require.NotRegexp(t, aboutSendsZh, got.DoZh, at...)
			if call == CallToken {
				// what a worker does about it is what it does about the message that needs the
				// token
				continue
			}
			en, zh := got.Does()
			require.NotRegexp(t, aboutSendsEn, en, at...)
			require.NotRegexp(t, aboutSendsZh, zh, at...)
		}
	}
}

// A row whose advice says that the message is not to blame must not bury messages: it would bury
// all of them.
func TestWhatIsNotTheMessagesFaultBuriesNone(t *testing.T) {
	t.Parallel()
	for _, row := range Codes() {
		if row.DoEn == doBugEn && (row.Call == CallAny || row.Call == CallSend) {
			require.Equal(t, FaultConfig, Explain(CallSend, row.Code).Fault, "%q %d",
				row.Call, row.Code)
		}
	}
}

func TestAdviceOfTheCall(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		call Call
		code int
		says string
	}{
		{CallKFAccount, 40005, "JPG"},
		{CallKFAccount, 40009, "5 MiB"},
		{CallKFAccount, 41005, "wechat.base_url"},
		{CallKFAccount, 40097, "run the command again"},
		{CallKFAccount, -1, "Run the command again in a moment."},
		{CallKFAccount, 45011, "Run the command again in a minute."},
		{CallKFAccount, 40001, "Run the command again."},
		{CallKFAccount, 45047, "WeChat names this code for other calls"},
		{CallTyping, 45015, "written to the app"},
		{CallTyping, 45047, "written to the app"},
		{CallTyping, 40003, "openid"},
		{CallSend, 40007, "mpnewsarticle"},
		{CallSend, 40200, "one type of message"},
		{CallSend, 65404, "WeChat names this code for other calls"},
		{CallToken, 45011, "Try again in a minute"},
		{CallToken, 42001, "token server"},
	} {
		got := Explain(row.call, row.code)
		require.Contains(t, got.DoEn, row.says, "%s %d", row.call, row.code)
		require.NotEmpty(t, strings.TrimSpace(got.DoZh))
	}
	require.Contains(t, Explain(CallSend, 40007).DoZh, "mpnewsarticle")
}

func TestATokenCallIsExplainedByWhatItsErrorsAre(t *testing.T) {
	t.Parallel()
	for _, row := range Codes() {
		if row.Code == 0 {
			continue
		}
		a := &answer{status: 200, body: []byte(`{"errcode":` + strconv.Itoa(row.Code) + `}`)}
		_, failed := check(CallToken, a, true, nil)
		require.NotNil(t, failed)
		require.Equal(t, failed.Fault, Explain(CallToken, row.Code).Fault, "%d", row.Code)
	}
}

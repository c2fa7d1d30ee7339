package dead_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rivo/uniseg"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/schema"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	brokertest.Overlap()
	time.Local = time.UTC // the golden files hold times of day
	os.Exit(m.Run())
}

// golden compares what a command prints on a terminal of a width with a file, and sees that no line
// is wider than that, but for those that are copied.
func golden(o *clitest.Operation, name, line string, width int, lang string) {
	o.T.Helper()
	got := o.Kefu(line, onTerminal(width, lang))
	o.Equal(cli.ExitDone, got.Code, got.Err)
	copied := false
	for text := range strings.Lines(got.Out) {
		text = strings.TrimSuffix(text, "\n")
		copied = text == "commands" || copied && strings.HasPrefix(text, "  ")
		if !copied {
			o.LessOrEqual(uniseg.StringWidth(text), width, text)
		}
	}
	path := filepath.Join("testdata", fmt.Sprintf("%s-%d.txt", name, width))
	if *update {
		o.NoError(os.WriteFile(path, []byte(got.Out), 0o600))
	}
	want, err := os.ReadFile(path)
	o.NoError(err)
	o.Equal(string(want), got.Out, "%s: go test ./internal/cli/dead -run Golden -update", path)
}

// buryOneOfEach buries letters as a shop has them.
func buryOneOfEach(o *clitest.Operation) {
	late := "response out of time limit or subscription is canceled rid: 6b04f11a-15c6e625-a5c11325"
	letters := []*schema.Letter{
		clitest.DeadLetter("order-4711", clitest.DiedOf(schema.ReasonRecipient, 45015, late)),
		clitest.DeadLetter("0f8fad5b-d9cb-469f-a165-70867728950e",
			clitest.DiedOf(schema.ReasonRecipient, 45015, late), clitest.OfCampaign("双十一预热提醒"),
			func(l *schema.Letter) { l.Source = "会员中心" }),
		clitest.DeadLetter("Cgh1H1PmBrW8ktCrb5ZbEE", clitest.OfCampaign("double-11"), busyThrice,
			func(l *schema.Letter) { l.Detail = "接口繁忙，多次尝试均未成功，请稍后重放" }),
		clitest.DeadLetter("order-4712", clitest.OfApp("wx2"), func(l *schema.Letter) {
			l.Reason, l.Detail = schema.ReasonInvalid, "articles: 11 图文消息, at most 10"
		}),
		clitest.DeadLetter("greeting-1", clitest.DiedOf(schema.ReasonRejected, 40007,
			"invalid media_id hint: [昵称：小明]")),
	}
	for _, l := range letters {
		l.PublishedAt = clitest.Died.Add(-14 * time.Hour)
	}
	o.Bury(letters...)
}

// busyThrice gives a letter three attempts of two workers, over midnight.
func busyThrice(l *schema.Letter) {
	code := -1
	l.Reason, l.Errcode, l.Errmsg = schema.ReasonExhausted, &code, "system error 系统繁忙"
	l.Worker, l.PossibleDuplicate = "worker-上海-2", true
	for i, at := range []time.Duration{-13 * time.Hour, -12 * time.Hour, -time.Minute} {
		l.Attempts = append(l.Attempts, schema.Attempt{
			Number: i + 1, At: l.DiedAt.Add(at), DurationMS: 1234.5, Outcome: "busy", Errcode: &code,
			Errmsg: "system error 系统繁忙", RID: fmt.Sprint("6b04f11a-15c6e625-a5c1132", i),
			HTTPStatus: 200, Worker: fmt.Sprint("worker-上海-", 1+i/2),
		})
	}
	l.Attempts[1].Errcode, l.Attempts[1].Errmsg = nil, ""
	l.Attempts[1].RID, l.Attempts[1].HTTPStatus, l.Attempts[1].Outcome = "", 502, "unknown"
	l.FirstAt, l.LastAt = l.Attempts[0].At, l.Attempts[2].At
}

func TestGoldenTables(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	buryOneOfEach(o)
	for _, width := range []int{80, 160} {
		golden(o, "list", "dead list", width, "en_US.UTF-8")
		golden(o, "groups", "dead groups", width, "C.UTF-8")
		golden(o, "show-recipient", "dead show order-4711", width, "en_US.UTF-8")
		golden(o, "show-exhausted", "dead show Cgh1H1PmBrW8ktCrb5ZbEE", width, "C.UTF-8")
		golden(o, "show-invalid", "dead show order-4712", width, "zh_CN.UTF-8")
		golden(o, "discard", "dead discard --all --dry-run", width, "en_US.UTF-8")
	}
}

package dead_test

import (
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/schema"
)

func TestDeadShowExplainsInTheLanguageOfTheUser(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("order-1",
		clitest.DiedOf(schema.ReasonRecipient, 45015, "response out of time limit")))
	code := 45015
	advice := deadletter.AdviceOn(schema.ReasonRecipient, &code)
	for lang, says := range map[string]struct{ en, zh bool }{
		"en_US.UTF-8": {en: true}, "zh_CN.UTF-8": {zh: true}, "C.UTF-8": {true, true},
	} {
		got := o.Kefu("dead show order-1", clitest.In(lang)).Out
		for text, expected := range map[string]bool{
			advice.MeansEn: says.en, advice.DoEn: says.en,
			advice.MeansZh: says.zh, advice.DoZh: says.zh,
		} {
			o.Equal(expected, strings.Contains(got, text), "%s: %s", lang, text)
		}
	}
	letters := clitest.Decode[[]letter.Letter](o, o.Kefu("dead show order-1 -o json"))
	o.Equal(advice, deadletter.Advice{MeansEn: letters[0].Means, MeansZh: letters[0].MeansZh,
		DoEn: letters[0].Advice, DoZh: letters[0].AdviceZh})
	o.Equal([]string{"kefu dead replay order-1   # when the user has written again"},
		letters[0].Commands)
	rows := clitest.Decode[[]letter.Row](o, o.Kefu("dead list -o json --group "+letters[0].Group))
	o.Equal("order-1", rows[0].ID)
}

func TestTheCommandsThatDeadShowPrintsRun(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	again := func(l *schema.Letter) { l.Generation = 2 }
	o.Bury(clitest.DeadLetter("busy"), clitest.DeadLetter("busy", again),
		clitest.DeadLetter("late", func(l *schema.Letter) { l.Reason = schema.ReasonExpired }))
	for _, id := range []string{"late", "busy"} {
		letters := clitest.Decode[[]letter.Letter](o, o.Kefu("dead show -o json "+id))
		for _, command := range letters[len(letters)-1].Commands {
			line, _, _ := strings.Cut(strings.TrimPrefix(command, "kefu "), "#")
			got := o.Kefu(line + " --yes")
			o.Equal(cli.ExitDone, got.Code, "%s: %s", command, got.Err)
		}
	}
	left := clitest.Decode[[]letter.Row](o, o.Kefu("dead list -o json"))
	o.Len(left, 1)
	o.Equal(1, left[0].Generation, "only the one that was shown")
}

func TestAttemptsThatALetterDoesNotHoldAreCounted(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("order-1", func(l *schema.Letter) {
		l.Attempts = []schema.Attempt{{Number: 2, At: clitest.Died, Outcome: "busy"}}
	}), clitest.DeadLetter("order-2", func(l *schema.Letter) { l.Attempts = nil }))
	o.Regexp(`(?m)^died .* after 2 attempts$`, o.Kefu("dead show order-1").Out)
	rows := clitest.Decode[[]letter.Row](o, o.Kefu("dead list --min-attempts 2 -o json"))
	o.Len(rows, 1)
	o.Equal([]any{"order-1", 2}, []any{rows[0].ID, rows[0].Attempts})
}

package dead_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/dead"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/schema"
)

// onTerminal is a command line on a terminal of a width, without colours.
func onTerminal(width int, lang string) func(*clitest.Try) {
	return func(c *clitest.Try) {
		c.Width = width
		c.Environ = append(c.Environ, "NO_COLOR=1", "LANG="+lang)
	}
}

// buryThreeKinds buries twelve letters of one group, and two of a group each.
func buryThreeKinds(o *clitest.Operation) {
	for i := range 12 {
		o.Bury(clitest.DeadLetter(fmt.Sprint("order-", i), clitest.DiedOf(schema.ReasonRecipient, 45015,
			fmt.Sprintf("response out of time limit or subscription is canceled rid: 6b04f11%d", i))))
	}
	o.Bury(clitest.DeadLetter("busy"), clitest.DeadLetter("news", func(l *schema.Letter) {
		l.Reason, l.Detail = schema.ReasonInvalid, "articles: 11 图文消息, at most 10"
	}))
}

func TestDeadGroupsShowsOneLineForEachTrouble(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Equal(clitest.Ended(cli.ExitNothing, "", "kefu: no dead letter matches: the box is empty\n"),
		o.Kefu("dead groups"))
	buryThreeKinds(o)

	o.Equal(clitest.Ended(cli.ExitDone, `
GROUP     COUNT  LAST HOUR  APP  REASON     ERRCODE  EXAMPLE   ERRMSG
645f2737     12        0    wx1  recipient    45015  order-11  response out of…
3028f3ae      1        0    wx1  exhausted           busy      the API was busy…
38d8988b      1        0    wx1  invalid             news      articles: # 图文…

45015      the reply window is closed (48 hours after a message, 1 minute after
           a menu click, scan or follow), or the user has left. Nothing to
           repair for this message. If it comes soon after the user acted, the
           queue is too slow: kefu app list shows the backlog.
exhausted  every attempt failed for a reason that passes. Replay it when the API
           answers again.
invalid    the packet breaks a rule, and was never sent. Correct what builds the
           packet, and publish it again: the same packet dies again.
`[1:], ""), o.Kefu("dead groups", onTerminal(80, "en_US.UTF-8")))

	died := cli.Moment(clitest.Died)
	wide := o.Kefu("dead groups --reason invalid,exhausted", onTerminal(160, "zh_CN.UTF-8"))
	o.Equal(strings.TrimPrefix(`
GROUP     COUNT  LAST HOUR  APP  REASON     ERRCODE  NEWEST               EXAMPLE  ERRMSG
3028f3ae      1        0    wx1  exhausted           `+died+`  busy     the API was busy six times
38d8988b      1        0    wx1  invalid             `+died+`  news     articles: # 图文消息, at most #

exhausted  每次尝试都因暂时性原因失败。待接口恢复后重放。
invalid    消息不符合规则，从未发送。请修正生成消息的代码后重新发布；原样重放仍会失败。
`, "\n"), wide.Out)
}

func TestDeadGroupsAsJSON(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	now := time.Now().UTC()
	for i := range 5 {
		at := now.Add(-time.Duration(i) * 20 * time.Minute)
		o.Bury(clitest.DeadLetter(fmt.Sprint("order-", i),
			clitest.DiedOf(schema.ReasonRecipient, 45015, "response out of time limit"),
			func(l *schema.Letter) { l.DiedAt = at }))
	}
	o.Bury(clitest.DeadLetter("busy"))

	rows := clitest.Decode[[]dead.Group](o, o.Kefu("dead groups -o json"))
	o.Len(rows, 2)
	o.Equal(5, rows[0].Count)
	o.Equal(3, rows[0].LastHour)
	o.Equal(2, rows[0].HourBefore)
	o.True(now.Equal(rows[0].Last))
	o.True(now.Add(-80 * time.Minute).Equal(rows[0].First))
	o.Equal("order-0", rows[0].Example)
	o.Contains(rows[0].Advice, "Nothing to repair")
	o.Contains(o.Kefu("dead groups -o json --reason exhausted").Out, `"errcode": null`)

	table := o.Kefu("dead groups").Out
	o.Contains(table, "  3 ↑  ", "more than in the hour before")
}

func TestAGroupChoosesItsLettersEverywhere(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	buryThreeKinds(o)
	rows := clitest.Decode[[]letter.Row](o, o.Kefu("dead list -o json --group 645F2737"))
	o.Len(rows, 12)
	rows = clitest.Decode[[]letter.Row](o, o.Kefu("dead list -o json --min-attempts 1"))
	o.Len(rows, 12, "the others died before their first attempt")
	o.Contains(o.Kefu("dead replay --group 3028f3ae --dry-run").Out, "1 letter")

	no := o.Kefu("dead list --group soup")
	o.Equal(cli.ExitUsage, no.Code)
	o.Contains(no.Err, `--group "soup" is not one that kefu dead groups shows`)
	no = o.Kefu("dead list --min-attempts -1")
	o.Equal(cli.ExitUsage, no.Code)
}

func TestDeadListHasOneLineForEachLetterOnANarrowTerminal(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("order-4711",
		clitest.DiedOf(schema.ReasonRecipient, 45015, "response out of time limit")),
		clitest.DeadLetter("Cgh1H1PmBrW8ktCrb5ZbEE", clitest.OfCampaign("double-11"),
			func(l *schema.Letter) { l.Detail = "接口繁忙，六次尝试均未成功，请稍后重放" }))
	died := cli.Moment(clitest.Died)
	o.Equal(strings.TrimPrefix(`
ID                      REASON     ERRCODE  DIED                 DETAIL
order-4711              recipient    45015  `+died+`  response out o…
Cgh1H1PmBrW8ktCrb5ZbEE  exhausted           `+died+`  接口繁忙，六次…
`, "\n"), o.Kefu("dead list", onTerminal(80, "en")).Out)
	for width := 40; width < 170; width += 7 {
		got := o.Kefu("dead list", onTerminal(width, "en"))
		o.Equal(3, strings.Count(got.Out, "\n"), "width %d", width)
	}
}

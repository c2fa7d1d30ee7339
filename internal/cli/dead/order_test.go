package dead_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/dead"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/schema"
)

// ids returns those that a list shows.
func ids(o *clitest.Operation, line string) (ids []string) {
	o.T.Helper()
	for _, row := range clitest.Decode[[]letter.Row](o, o.Kefu("dead list -o json "+line)) {
		ids = append(ids, row.ID)
	}
	return ids
}

func attempts(n int) func(*schema.Letter) {
	return func(l *schema.Letter) { l.Attempts = make([]schema.Attempt, n) }
}

func TestDeadListIsSorted(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("a", attempts(2)),
		clitest.DeadLetter("b", clitest.DiedOf(schema.ReasonRecipient, 45047, "full"), attempts(6)),
		clitest.DeadLetter("c", clitest.DiedOf(schema.ReasonRejected, -1, "busy"), attempts(6),
			clitest.OfApp("wx2")),
		clitest.DeadLetter("d", clitest.DiedOf(schema.ReasonRecipient, 45015, "late"), attempts(1)))
	for line, want := range map[string]string{
		"":                                "a b c d",
		"--limit 2":                       "c d",
		"--sort newest":                   "d c b a",
		"--sort newest --limit 3":         "d c b",
		"--sort newest --app wx1":         "d b a",
		"--sort newest --id a --id d":     "d a",
		"--sort oldest":                   "a b c d",
		"--sort oldest --limit 2":         "a b",
		"--sort attempts":                 "c b a d",
		"--sort attempts --limit 2":       "c b",
		"--sort errcode":                  "c d b a",
		"--sort errcode --limit 1":        "c",
		"--sort reason --limit 3":         "a d b",
		"--sort app":                      "d b a c",
		"--after 2":                       "c d",
		"--before 3":                      "a b",
		"--after 1 --before 4":            "b c",
		"--before 4 --limit 1":            "c",
		"--sort newest --before 4":        "c b a",
		"--sort newest --after 2":         "d c",
		"--sort newest --reveal":          "d c b a",
		"--sort oldest --reveal":          "a b c d",
		"--sort attempts --after 2":       "c d",
		"--sort attempts --reveal":        "c b a d",
		"--after 3 --since 1h --until 0h": "",
	} {
		if want == "" {
			o.Equal(cli.ExitNothing, o.Kefu("dead list "+line).Code, line)
			continue
		}
		o.Equal(want, strings.Join(ids(o, line), " "), line)
	}
	o.Equal([]int{4, 4, 4}, o.Revealed())
}

func TestDeadListSaysHowToGoOn(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for i := range 7 {
		o.Bury(clitest.DeadLetter(fmt.Sprint("order-", i)))
	}
	got := o.Kefu("dead list --limit 3")
	o.Regexp(`(?s)order-4.*order-5.*order-6`, got.Out)
	o.NotContains(got.Out, "order-3")
	for line, says := range map[string]string{
		"--limit 3":                         "the newest 3 of 7 letters; --before 5 goes on, --limit 0 shows all\n",
		"--limit 3 --before 5":              "the newest 3 letters of more that match; --before 2 goes on, --limit 0 shows all\n",
		"--limit 3 --before 2":              "",
		"--limit 3 --sort newest":           "the newest 3 of 7 letters; --before 5 goes on, --limit 0 shows all\n",
		"--limit 3 --sort oldest":           "the oldest 3 of 7 letters; --after 3 goes on, --limit 0 shows all\n",
		"--limit 3 --sort oldest --after 3": "the oldest 3 letters of more that match; --after 6 goes on, --limit 0 shows all\n",
		"--limit 3 --sort oldest --after 6": "",
		"--limit 3 --sort attempts":         "the first 3 of 7 letters; --limit shows more, --limit 0 shows all\n",
		"--limit 3 --sort oldest -o ndjson": "the oldest 3 of 7 letters; --after 3 goes on, --limit 0 shows all\n",
		"--limit 1 --sort oldest --app wx1": "the oldest 1 of 7 letters; --after 1 goes on, --limit 0 shows all\n",
	} {
		o.Equal(says, o.Kefu("dead list "+line).Err, line)
	}
	o.Len(ids(o, ""), 7)
	o.Equal("kefu: no dead letter matches there: --after or --before end the list\n",
		o.Kefu("dead list --after 7").Err)
	for line, says := range map[string]string{
		"--sort size":          `--sort "size" is not one of newest, oldest, attempts, errcode, reason, app`,
		"--before 0":           "--before counts from 1",
		"--after 4 --before 5": "nothing lies behind --after and before --before",
		"--limit -1":           "--limit cannot be below 0",
		"--after x":            "want a number",
	} {
		bad := o.Kefu("dead list " + line)
		o.Equal(cli.ExitUsage, bad.Code, line)
		o.Contains(bad.Err, says, line)
	}
}

func TestPagesOfDeadLettersAddUp(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	letters := make([]*schema.Letter, 1200) // more than are read at a time, backward
	for i := range letters {
		letters[i] = clitest.DeadLetter(fmt.Sprint("order-", i))
	}
	o.Bury(letters...)
	all := ids(o, "--sort oldest")
	o.Len(all, len(letters))
	newest := ids(o, "--sort newest")
	slices.Reverse(newest)
	o.Equal(all, newest)
	table := o.Kefu("dead list --limit 0").Out
	o.Less(strings.Index(table, "order-0 "), strings.Index(table, "order-1199 "))

	var pages []string
	for after := uint64(0); ; {
		got := o.Kefu(fmt.Sprint("dead list -o json --sort oldest --limit 500 --after ", after))
		if got.Code == cli.ExitNothing {
			break
		}
		for _, row := range clitest.Decode[[]letter.Row](o, got) {
			pages, after = append(pages, row.ID), row.Seq
		}
	}
	o.Equal(all, pages)
}

func TestGroupsAreSorted(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	died := func(hour int) func(*schema.Letter) {
		return func(l *schema.Letter) { l.DiedAt = clitest.Died.Add(time.Duration(hour) * time.Hour) }
	}
	late := clitest.DiedOf(schema.ReasonRecipient, 45015, "late")
	full := clitest.DiedOf(schema.ReasonRecipient, 45047, "full")
	o.Bury(clitest.DeadLetter("late-1", late, died(2)), clitest.DeadLetter("late-2", late, died(3)),
		clitest.DeadLetter("full-1", full, died(1)), clitest.DeadLetter("full-2", full, died(5)),
		clitest.DeadLetter("full-3", full, died(2)), clitest.DeadLetter("busy", died(0)))
	for line, want := range map[string]string{
		"":                        "full-2 late-2 busy",
		"--limit 1":               "full-2",
		"--sort newest":           "full-2 late-2 busy",
		"--sort oldest":           "busy full-2 late-2",
		"--sort oldest --limit 2": "busy full-2",
	} {
		var got []string
		for _, g := range clitest.Decode[[]dead.Group](o, o.Kefu("dead groups -o json "+line)) {
			got = append(got, g.Example)
		}
		o.Equal(want, strings.Join(got, " "), line)
	}
	o.Equal("the first 1 of 3 groups; --limit shows more, 0 all\n",
		o.Kefu("dead groups --limit 1").Err)
	o.Contains(o.Kefu("dead groups --sort size").Err, `--sort "size" is not one of count, newest, oldest`)
	o.Contains(o.Kefu("dead groups --limit -1").Err, "--limit cannot be below 0")
}

// TestEveryVerbChoosesWithTheSameFlags compares the lines of the helps.
func TestEveryVerbChoosesWithTheSameFlags(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	flag := regexp.MustCompile(`(?m)^ +--([a-z-]+) .*$`)
	lines := func(command string) map[string]string {
		found := make(map[string]string)
		for _, m := range flag.FindAllStringSubmatch(o.Kefu(command+" --help").Out, -1) {
			found[m[1]] = strings.Join(strings.Fields(m[0]), " ")
		}
		return found
	}
	choosing := []string{"reason", "errcode", "lane", "campaign", "source", "generation",
		"min-attempts", "search", "id", "openid", "group", "since", "until"}
	list := lines("dead list")
	for _, name := range choosing {
		o.NotEmpty(list[name], name)
		for _, verb := range []string{"groups", "replay", "discard", "export"} {
			o.Equal(list[name], lines("dead " + verb)[name], "%s --%s", verb, name)
		}
	}
	tail := lines("tail")
	for _, name := range choosing[:7] {
		o.Equal(list[name], tail[name], name)
	}
}

package dead_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/schema"
)

func TestWhatMatchesNothingSaysWhy(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	empty := o.Kefu("dead groups --reason expired")
	o.Equal(clitest.Ended(cli.ExitNothing, "",
		"kefu: no dead letter matches: the box is empty\n"), empty)
	for i := range 30 {
		l := clitest.DeadLetter(fmt.Sprint("order-", i),
			clitest.DiedOf(schema.ReasonRecipient, []int{45015, 45015, 45047}[i%3], "too late"))
		if i < 3 {
			clitest.OfCampaign("双十一")(l)
		}
		o.Bury(l)
	}
	for line, why := range map[string]string{
		"--errcode 40001": "--errcode 40001 excludes all of them " +
			"(the most frequent errcodes are 45015, 45047)",
		"--reason expired,poison": "--reason expired,poison excludes all of them " +
			"(the most frequent reason is recipient)",
		"--campaign 双十一 --errcode 45009": "--errcode 45009 excludes the 3 that would match otherwise " +
			"(the most frequent errcodes are 45015, 45047)",
		"--app wx2 --lane live": "--app wx2 excludes the 27 that would match otherwise " +
			"(the most frequent app is wx1)",
		"--search quota": "--search \"quota\" excludes all of them",
		"--lane bulk --source crm": "--source crm excludes the 3 that would match otherwise " +
			"(the most frequent source is shop)",
		"--openid oSOMEBODYWHOISNOTTHERE00000":  "--openid excludes all of them",
		"--search oSOMEBODYWHOISNOTTHERE00000X": "--search excludes all of them",
		"--min-attempts 3":                      "--min-attempts 3 excludes all of them (most of them have 1)",
		"--since 2100-01-01T00:00:00Z": "--since 2100-01-01T00:00:00Z excludes all of them " +
			"(the newest died " + cli.Moment(clitest.Died) + ")",
		"--until 2000-01-01T00:00:00Z": "--until 2000-01-01T00:00:00Z excludes all of them " +
			"(the oldest died " + cli.Moment(clitest.Died) + ")",
		"--id order-3 --errcode 45047": "--errcode 45047 excludes the only one that would match " +
			"otherwise (the most frequent errcode is 45015)",
	} {
		for _, verb := range []string{"list", "groups", "discard", "export"} {
			got := o.Kefu("dead " + verb + " " + line)
			o.Equal(clitest.Ended(cli.ExitNothing, "",
				"kefu: no dead letter matches: 30 letters lie in the box, and "+why+"\n"), got, line)
		}
	}
	for line, why := range map[string]string{
		"list --id nobody":               `no dead letter has the id "nobody": kefu find tells what became of it`,
		"groups --id nobody":             `no dead letter has the id "nobody": kefu find tells what became of it`,
		"show nobody":                    `no dead letter has the id "nobody": kefu find tells what became of it`,
		"discard --app wx2 order-1":      `no dead letter of wx2 has the id "order-1": kefu find tells`,
		"export --id no --id nobody":     `no dead letter has one of the 2 ids: kefu find tells what became of each`,
		"list -o json --app wx2":         `--app wx2 excludes all of them`,
		"groups -o json --reason poison": `--reason poison excludes all of them`,
	} {
		got := o.Kefu("dead " + line)
		o.Equal(cli.ExitNothing, got.Code, line)
		o.Contains(got.Err, why, line)
		if strings.Contains(line, "json") {
			o.Equal("[]\n", got.Out, line)
		}
	}
}

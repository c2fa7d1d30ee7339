package intent_test

import (
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
)

func TestSendReadsThePacketFromAPipe(t *testing.T) {
	t.Parallel()
	packet := clitest.PacketFor(clitest.Recipient)
	piped := func(text string) func(*clitest.Try) { return func(c *clitest.Try) { c.Stdin = text } }
	for name, row := range map[string]struct {
		line   string
		change func(*clitest.Try)
		says   string // empty: it is accepted
	}{
		"nothing but a pipe":      {"send --app wx1", piped(packet + "\n"), ""},
		"the flag still names it": {"send --app wx1 --packet -", piped(packet), ""},
		"other flags do not matter": {"send --app wx1 --id order-1 --expires-in 1h",
			piped(packet), ""},
		"flags for a text leave it alone": {"send --app wx1 --openid " + clitest.Recipient +
			" --text hi", piped("not a packet"), ""},
		"half of a text is a mistake": {"send --app wx1 --openid " + clitest.Recipient,
			piped(packet), "what to send? give --openid and --text, or --packet"},
		"an empty flag is a mistake": {"send --app wx1 --text= --openid=", piped(packet),
			" is empty: is a variable not set?"},
		"an empty pipe": {"send --app wx1", piped(" \n"),
			"standard input is empty"},
		"no packet in the pipe": {"send --app wx1", piped("hello"), "kefu: "},
		"a terminal is not waited for": {"send --app wx1", clitest.Answering(packet),
			"what to send? give --openid and --text, or --packet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := clitest.NewOperation(t)
			got := o.Kefu(row.line, row.change)
			if row.says != "" {
				o.Equal(cli.ExitUsage, got.Code)
				o.Contains(got.Err, row.says)
				o.Empty(o.Queued("wx1"))
				return
			}
			o.Equal(cli.ExitDone, got.Code, got.Err)
			queued := o.Queued("wx1")
			o.Len(queued, 1)
			if !strings.Contains(row.line, "--text") {
				o.Equal(packet, strings.TrimSpace(string(queued[0].Data)))
			}
		})
	}
}

package root_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
)

// A file that a Windows editor has saved begins with a byte order mark. It means the same as
// without.

const bom = "\ufeff"

func TestFilesOfPacketsMayBeginWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	packet := clitest.PacketFor(clitest.Recipient)
	s.Write("marked.json", bom+packet+"\r\n")
	s.Write("marked.ndjson", bom+clitest.PacketFor("o1")+"\r\n"+clitest.PacketFor("o2")+"\r\n")
	s.Write("marked.csv", bom+"openid,name\r\no1,Li\r\n")
	s.Write("marked-template.json", bom+`{"msgtype":"text","text":{"content":"{{name}}，您好"}}`)
	piped := func(c *clitest.Try) { c.Stdin = bom + packet }
	for line, change := range map[string]func(*clitest.Try){
		"validate @marked.json":                        nil,
		"validate @marked.ndjson":                      nil,
		"validate -":                                   piped,
		"send --app wx1 --packet @marked.json":         nil,
		"send --app wx1 --packet -":                    piped,
		"send --app wx1":                               piped,
		"campaign start a --file @marked.ndjson --yes": nil,
		"campaign start b --file @marked.csv --template @marked-template.json --yes": nil,
	} {
		if change == nil {
			change = func(*clitest.Try) {}
		}
		got := s.Kefu(line, func(c *clitest.Try) { c.Environ = []string{"S=x"} }, change)
		s.Equal(cli.ExitDone, got.Code, "%s: %s", line, got.Err)
	}
	s.Equal(3, s.Messages())
	list, err := campaign.List(t.Context(), s.Conn, "wx1")
	s.NoError(err)
	s.Len(list, 2)
	s.Equal(2+1, list[0].Queued+list[1].Queued)
}

func TestAPacketOfTheLargestSizeMayHaveAByteOrderMarkToo(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	head, tail := `{"touser":"o1","msgtype":"text","text":{"content":"hi"},"x":"`, `"}`
	largest := head + strings.Repeat("x", 64<<10-len(head)-len(tail)) + tail
	for _, text := range []string{largest, bom + largest} {
		got := o.Kefu("send --app wx1", func(c *clitest.Try) { c.Stdin = text })
		o.Equal(cli.ExitDone, got.Code, got.Err)
	}
}

func TestAConfigurationMayBeginWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	check := clitest.Run(t,
		clitest.Try{Args: clitest.Args("config check"), File: bom + clitest.TwoApps,
			Environ: []string{"S=x"}})
	require.Equal(t, cli.ExitDone, check.Code, check.Err)
}

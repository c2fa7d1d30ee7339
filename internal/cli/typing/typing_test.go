package typing_test

import (
	"testing"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/typing"
)

func TestTyping(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	// A message first: WeChat wants an exchange within the last 30 seconds.
	o.Equal(clitest.Ended(cli.ExitDone,
		"typing is shown to "+clitest.Masked+", for up to 15 seconds\n", ""),
		o.Kefu("typing --openid "+clitest.Recipient))
	again := o.Kefu("typing --openid "+clitest.Recipient, clitest.In("zh_CN"))
	o.Equal(cli.ExitFailed, again.Code)
	o.Contains(again.Err, "errcode 45081 (typing_already)")
	o.Contains(again.Err, "kefu: 含义 已处于输入状态")
	o.NotContains(again.Err, "means")
	done := clitest.Decode[typing.Shown](o.Operation,
		o.Kefu("typing --cancel -o json --openid "+clitest.Recipient))
	o.Equal(typing.Shown{AppID: "wx1", OpenID: clitest.Masked, Command: "CancelTyping"}, done)
	o.Equal(cli.ExitUsage, o.Kefu("typing").Code)
	o.Equal(cli.ExitUsage, o.Kefu("typing --openid a.b").Code)
	o.Equal([]string{"typing Typing: ", "typing Typing: ",
		"typing Typing: not done: errcode 45081 (typing_already)", "typing CancelTyping: "},
		o.Audited())
}

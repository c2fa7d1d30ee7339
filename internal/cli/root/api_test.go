package root_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wechat"
)

func TestWithoutABrokerADeedIsDoneAndNotWrittenDown(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	got := o.Kefu("kfaccount add test2@test --nickname 客服2 --set nats.url=nats://127.0.0.1:1")
	o.Equal(cli.ExitDone, got.Code)
	o.Contains(got.Err,
		"warning: this is not written to the audit: no NATS server answers at nats://127.0.0.1:1")
	o.Len(o.Accounts(), 2)
	o.Equal(cli.ExitDone, o.Kefu("kfaccount list --set nats.url=nats://127.0.0.1:1").Code)
}

func TestAFailureOfTheAPISaysWhatCanBeDone(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	for says, rule := range map[string]sandbox.Rule{
		"kefu: you can  Do it again in a moment.":                                    {HTTPStatus: 503},
		"kefu: you can  Do it again in 5s.":                                          {HTTPStatus: 429, RetryAfter: "5"},
		"redirect to the same host refused\nkefu: you can  Mend what it says":        {Redirect: "/elsewhere"},
		"errcode 65400 (kf_not_enabled): x\nkefu: means    the new customer service": {Errcode: 65400, Errmsg: "x"},
	} {
		rule.Call = "/cgi-bin/customservice/getkflist"
		id := o.API.Add(rule)
		got := o.Kefu("kfaccount list", clitest.In("en"))
		o.API.Remove(id)
		o.Equal(cli.ExitFailed, got.Code, says)
		o.Contains(got.Err, says)
	}
	token := o.API.Add(sandbox.Rule{Call: "token", Errcode: 40164,
		Errmsg: "invalid ip 1.2.3.4, not in whitelist"})
	got := o.Kefu("kfaccount list", clitest.In("zh_CN"))
	o.API.Remove(token)
	o.Contains(got.Err, "invalid ip 1.2.3.4")
	o.Contains(got.Err, "kefu: 建议 请在 mp.weixin.qq.com 将 errmsg 中的 IP 加入")

	nowhere := o.Kefu("kfaccount list --set wechat.base_url=http://127.0.0.1:1", clitest.In("en"))
	o.Equal(cli.ExitFailed, nowhere.Code)
	o.Contains(nowhere.Err,
		"kefu: you can  Look at this machine's way to 127.0.0.1:1: DNS, routes, proxies. "+
			"Nothing was changed.")
	o.Equal(cli.ExitUsage, o.Kefu("kfaccount list --app wx2").Code)
	o.True(strings.Contains(o.Kefu("kfaccount list --app wx2").Err, "no app wx2 is configured"))
}

func TestAFailureSaysWhatTheErrcodeMeansOnThatCall(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	var photo bytes.Buffer
	o.NoError(jpeg.Encode(&photo, image.NewGray(image.Rect(0, 0, 640, 640)), nil))
	face := filepath.Join(t.TempDir(), "face.jpg")
	o.NoError(os.WriteFile(face, photo.Bytes(), 0o600))

	for _, row := range []struct {
		line, path string
		call       wechat.Call
		codes      []int
	}{
		{"kfaccount avatar test1@test " + face, "/customservice/kfaccount/uploadheadimg",
			wechat.CallKFAccount, []int{40005, 40009, 41005, 40007}},
		{"kfaccount add test2@test --nickname x", "/customservice/kfaccount/add",
			wechat.CallKFAccount, []int{40009, 40097, 40003, 45078, -1, 99999}},
		{"typing --openid " + clitest.Recipient, wechat.TypingPath, wechat.CallTyping,
			[]int{40003, 45015, 45047, 45011}},
		{"app quota", "/cgi-bin/openapi/quota/get", wechat.CallQuota, []int{48001, 40035}},
	} {
		for _, code := range row.codes {
			id := o.API.Add(sandbox.Rule{Call: row.path, Errcode: code, Errmsg: "x"})
			failed := o.Kefu(row.line, clitest.In("en"))
			o.API.Remove(id)
			o.Equal(cli.ExitFailed, failed.Code, "%s: %d", row.line, code)

			asked := o.Kefu(fmt.Sprintf("errcode %d --call %s -o json", code, row.call))
			rows := clitest.Decode[[]wechat.Meaning](o.Operation,
				clitest.Ended(cli.ExitDone, asked.Out, ""))
			o.Len(rows, 1)
			o.Contains(failed.Err,
				"kefu: means    "+rows[0].En+"\nkefu: you can  "+rows[0].DoEn+"\n", "%s: %d",
				row.line, code)
		}
	}
}

func TestWhatToDoWhenNobodyKnowsWhetherItWasDone(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	const again = "kefu: you can  Nothing was changed: run the command again."
	for _, row := range []struct{ line, path, says string }{
		{"kfaccount list", "/cgi-bin/customservice/getkflist", again},
		{"kfaccount online", "/cgi-bin/customservice/getonlinekflist", again},
		// It looks first.
		{"kfaccount add test2@test --nickname x", "/cgi-bin/customservice/getkflist", again},
		{"kfaccount delete test1@test --yes", "/cgi-bin/customservice/getkflist", again},
		{"kfaccount update test1@test --password-file -", "/cgi-bin/customservice/getkflist",
			again},
		{"app quota", "/cgi-bin/openapi/quota/get", again},
		{"typing --openid " + clitest.Recipient, wechat.TypingPath,
			"run the command again, it does no harm"},
		{"kfaccount update test1@test --nickname x", "/customservice/kfaccount/update",
			"kefu: you can  Look before you do it again"},
		{"app quota --reset --yes", "/cgi-bin/clear_quota",
			"kefu: you can  Look before you do it again"},
	} {
		for name, rule := range map[string]sandbox.Rule{
			"unreadable":           {Body: "<html>"},
			"reset after it":       {Reset: sandbox.ResetAfter},
			"500 with a new code":  {HTTPStatus: 500, Body: `{"errcode":99999}`},
			"500 and nothing more": {HTTPStatus: 500},
		} {
			rule.Call = row.path
			id := o.API.Add(rule)
			got := o.Kefu(row.line, clitest.In("en"), func(c *clitest.Try) { c.Stdin = "secret" })
			o.API.Remove(id)
			o.Equal(cli.ExitFailed, got.Code, "%s: %s", row.line, name)
			o.Contains(got.Err, row.says, "%s: %s", row.line, name)
		}
	}
	o.Len(o.Accounts(), 1, "nothing was added or deleted after a look that failed")
}

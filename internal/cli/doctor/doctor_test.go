package doctor_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/sandbox"
)

// newOffice is an app that is set up, and sent for.
func newOffice(t *testing.T) *clitest.Office {
	t.Helper()
	o := clitest.NewOffice(t)
	o.Equal(cli.ExitDone, o.Kefu("setup --yes").Code)
	o.Worker(pool.Worker{Name: "w1", Host: "elsewhere"})
	return o
}

func TestASoundInstallationEndsWellAndFitsATerminal(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	got := o.Kefu("doctor", func(c *clitest.Try) { c.Width = 80 })
	o.Equal(cli.ExitDone, got.Code, got.Out)
	o.Equal("no error, no warnings, 2 skipped\n", got.Err, got.Out)
	for line := range strings.Lines(got.Out) {
		o.LessOrEqual(uniseg.StringWidth(strings.TrimRight(line, "\n")), 80, line)
	}
	for _, line := range []string{
		"STATE    CHECK       FINDING\n",
		"ok       jetstream   ",
		"ok       objects     11 streams, all as they should be\n",
		"ok       workers     1 worker alive\n",
		"ok       token       wx1: WeChat gives one for the AppSecret\n",
		"ok       kfaccounts  wx1: 1 kfaccount\n",
		"skipped  fsync       no client can see when nats-server writes to its disk;",
	} {
		o.Contains(got.Out, line)
	}
	o.Empty(o.Audited()[1:], "nothing but the setup is written down")
}

func TestAFindingStandsAboveItsFix(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.API.Add(sandbox.Rule{Call: sandbox.CallToken, Errcode: 40164})
	got := o.Kefu("doctor")
	o.Equal(cli.ExitFailed, got.Code)
	o.Equal("kefu: 1 error, no warnings, 5 skipped\n", got.Err, got.Out)
	o.Contains(got.Out, `
error    ip list     wx1: WeChat refuses calls from 203.0.113.7 (errcode 40164)
                     → Add 203.0.113.7 to the IP allow-list of wx1 on mp.weixin.qq.com,`)
	o.Contains(got.Out, "\nskipped  token       wx1: the IP list comes first\n")
	o.Contains(got.Out, "\nskipped  2 checks    there is no token to ask with: quota, kfaccounts\n")
}

func TestAWarningAloneIsNoFailure(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.Equal(cli.ExitDone, o.Kefu("app pause wx1 --reason stocktaking").Code)
	got := o.Kefu("doctor")
	o.Equal(cli.ExitDone, got.Code, got.Out)
	o.Equal("no error, 1 warning, 2 skipped\n", got.Err)
	o.Contains(got.Out, "(operator): stocktaking\n"+
		"                     → kefu app resume, when the time has come.\n")
}

func TestScriptsGetAListWithFiveNames(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.API.Add(sandbox.Rule{Call: "/cgi-bin/customservice/getkflist", Errcode: 48001})
	for _, format := range []string{"json", "ndjson"} {
		got := o.Kefu("doctor -o " + format)
		o.Equal(cli.ExitFailed, got.Code)
		text := got.Out
		if format == "ndjson" {
			text = "[" + strings.Join(strings.Split(strings.TrimSpace(text), "\n"), ",") + "]"
		}
		var list []map[string]string
		o.NoError(json.Unmarshal([]byte(text), &list))
		states := make(map[string]int)
		for _, f := range list {
			o.Len(f, 5)
			for _, key := range []string{"check", "app", "state", "finding", "fix"} {
				o.Contains(f, key)
			}
			states[f["state"]]++
			if f["state"] == "error" {
				o.Equal("kfaccounts", f["check"])
				o.Equal("wx1", f["app"])
				o.Contains(f["finding"], "errcode 48001")
				o.NotEmpty(f["fix"])
			}
		}
		o.Equal(map[string]int{"ok": 23, "skipped": 2, "error": 1}, states)
	}
}

func TestWhatIsAskedForMustExist(t *testing.T) {
	t.Parallel()
	file := "apps: [{appid: wx1, secret_env: S}]\n"
	for line, says := range map[string]string{
		"doctor --role boss": "kefu: --role boss is none of worker, operator,",
		"doctor --app wx9":   "kefu: no app wx9 is configured",
		"doctor wx1":         `kefu: unexpected argument "wx1"`,
		"doctor --monitor x": "kefu: --monitor x is not the address of a nats-server's monitoring",
	} {
		got := clitest.Run(t, clitest.Try{Args: clitest.Args(line), File: file,
			Environ: []string{"S=x"}})
		require.Equal(t, cli.ExitUsage, got.Code, line)
		require.Contains(t, got.Err, says)
	}
}

package app_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/app"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wechat"
)

func TestAppQuota(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	o.API.Configure(sandbox.Settings{Quotas: map[string]sandbox.Quota{"send": {Day: 500_000,
		Minute: 3000}}})
	o.API.SetUsed("wx1", "send", 499_999)
	got := o.Kefu("app quota")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`(?m)^APP +API +DAILY LIMIT +USED +BY KEFU +REMAIN +RATE LIMIT$`, got.Out)
	o.Regexp(`(?m)^wx1 +/cgi-bin/message/custom/send +500,000 +499,999 +0 +1 +3,000 in 60 s$`,
		got.Out)
	rows := clitest.Decode[[]app.Quota](o.Operation,
		o.Kefu("app quota wx1 -o json --api "+wechat.SendPath+" --api "+wechat.TypingPath))
	o.Len(rows, 2)
	o.EqualValues(499_999, rows[0].Used)
	o.EqualValues(3000, rows[0].RateCalls)

	o.Equal(cli.ExitUsage, o.Kefu("app quota --api send").Code)
	unknown := o.Kefu("app quota --api /cgi-bin/nothing", clitest.In("en"))
	o.Equal(cli.ExitFailed, unknown.Code)
	o.Contains(unknown.Err, "errcode 76021 (cgi_path_unknown)")
	o.Contains(unknown.Err, "kefu: you can  Correct the path")
	partly := o.Kefu("app quota --api " + wechat.SendPath + " --api /cgi-bin/nothing")
	o.Equal(cli.ExitPartly, partly.Code)
	o.Contains(partly.Out, "499,999", "what is known is shown")

	unasked := o.Kefu("app quota --reset")
	o.Equal(cli.ExitUsage, unasked.Code)
	o.Contains(unasked.Err,
		"Reset the quota of all APIs of 旗舰店? It can be done 10 times a month. There is no terminal")
	o.Empty(o.Audited())
	reset := o.Kefu("app quota --reset", clitest.Answering("y"))
	o.Equal(cli.ExitDone, reset.Code, reset.Err)
	o.Regexp(`send +500,000 +0 +0 +500,000`, reset.Out)
	one := clitest.Decode[[]app.Quota](o.Operation,
		o.Kefu("app quota --reset --yes -o json --api "+wechat.SendPath))
	o.Zero(one[0].Used)
	o.Equal([]string{"quota-reset all APIs: ", "quota-reset " + wechat.SendPath + ": "},
		o.Audited())
	for range 8 {
		o.Equal(cli.ExitDone, o.Kefu("app quota --reset --yes").Code)
	}
	spent := o.Kefu("app quota --reset --yes", clitest.In("en"))
	o.Equal(cli.ExitFailed, spent.Code)
	o.Contains(spent.Err, "errcode 48006 (clear_quota_used)")
}

func TestAQuotaThatIsResetIsSaidSoWhateverFails(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	// The first call resets, those after it fail.
	rule := o.API.Add(sandbox.Rule{Call: sandbox.CallQuota, After: 1, Errcode: 48001})
	got := o.Kefu("app quota --reset --yes --quiet -o json", clitest.In("en"))
	o.Equal(cli.ExitPartly, got.Code, got.Err)
	o.Empty(got.Out)
	o.Contains(got.Err, "kefu: the quota of all APIs is reset, but what is left cannot be read: ")
	o.Contains(got.Err, "errcode 48001")
	o.Contains(got.Err, "kefu app quota asks again; with --reset it would spend another one")
	o.NotContains(got.Err, "you can ", "not to run the command again")

	o.True(o.API.Remove(rule))
	o.API.Add(sandbox.Rule{Call: sandbox.CallQuota, After: 1, Errcode: 48001})
	got = o.Kefu("app quota --reset --yes --quiet --api "+wechat.SendPath+" --api "+
		wechat.TypingPath, clitest.In("en"))
	o.Equal(cli.ExitPartly, got.Code, got.Err)
	o.Contains(got.Err, "kefu: the quota of "+wechat.SendPath+" is reset, of the others not: ")
	o.Contains(got.Err, "errcode 48001")
	o.Equal([]string{
		"quota-reset all APIs: ", "quota-reset " + wechat.SendPath + ": ",
		"quota-reset " + wechat.TypingPath + ": ",
		"quota-reset " + wechat.TypingPath + ": not done: errcode 48001 (api_unauthorised)",
	}, o.Audited())
}

func TestAppQuotaShowsWhatKefuCountsForTheDay(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	o.API.SetUsed("wx1", "send", 1700)
	line := "app quota -o json --api " + wechat.SendPath + " --api " + wechat.TypingPath
	byKefu := func(more string) *int64 {
		rows := clitest.Decode[[]app.Quota](o.Operation, o.Kefu(line+more))
		o.Nil(rows[1].ByKefu, "kefu counts messages")
		return rows[0].ByKefu
	}
	o.Zero(*byKefu(""), "nothing was sent today")
	o.Nil(byKefu(" --set apps[0].rate.per_day=0"), "an app without a budget is not counted")

	count := func(day gate.Day) {
		body, err := json.Marshal(day)
		o.NoError(err)
		o.NoError(o.Conn.SaveState(t.Context(), broker.PutState("day.wx1", body, 0)))
	}
	count(gate.Day{End: gate.NextDay(time.Now()), Used: 1234})
	o.EqualValues(1234, *byKefu(""))
	o.EqualValues(1234, *byKefu(" --set apps[0].rate.per_day=0"),
		"the workers' configuration counts, not this one")
	o.Regexp(`(?m)^wx1 +/cgi-bin/message/custom/send +\S+ +1,700 +1,234 +`, o.Kefu("app quota").Out)
	count(gate.Day{End: time.Now().Add(-time.Minute), Used: 1234})
	o.Zero(*byKefu(""), "yesterday does not count")

	const nobody = " --set nats.url=nats://127.0.0.1:1"
	away := o.Kefu("app quota" + nobody)
	o.Equal(cli.ExitDone, away.Code, away.Err)
	o.NotContains(away.Out, "BY KEFU")
	o.Empty(away.Err)
	o.Nil(byKefu(nobody))
}

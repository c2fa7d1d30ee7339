package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wechat"
)

// office is an app at the sandbox with one kfaccount, and the commands that go there.
type office struct {
	*operation
	api *sandbox.Sandbox
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{operation: newOperation(t)}
	o.api = sandbox.New(sandbox.Options{Apps: map[string]string{"wx1": "x"}, TokenPrefix: "CANARY_TOKEN_"})
	url, err := o.api.Listen("127.0.0.1:0")
	o.NoError(err)
	t.Cleanup(func() { o.NoError(o.api.Close()) })
	o.file = "wechat: {base_url: '" + url + "'}\n" + o.file
	o.api.PutKFAccount("wx1", sandbox.KFAccount{Account: "test1@test", Nickname: "客服1"})
	return o
}

// kefu runs a command line and sees that nothing it prints holds the access token.
func (o *office) kefu(line string, change ...func(*try)) result {
	o.t.Helper()
	got := o.operation.kefu(line, change...)
	o.NotContains(got.out+got.err, "CANARY_TOKEN_")
	return got
}

// accounts are the app's, as "test1@test 客服1".
func (o *office) accounts() (names []string) {
	for _, k := range o.api.KFAccounts("wx1") {
		names = append(names, k.Account+" "+k.Nickname)
	}
	return names
}

func in(lang string) func(*try) {
	return func(c *try) { c.environ = append(c.environ, "LANG="+lang) }
}

func TestKFAccountsAreListed(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	got := o.kefu("kfaccount list")
	o.Equal(exitDone, got.code, got.err)
	o.Regexp(`(?m)^KFACCOUNT +NICKNAME +ID +AGENT +AVATAR$`, got.out)
	o.Regexp(`(?m)^test1@test +客服1 +1001 +http`, got.out)
	rows := decode[[]wechat.KFAccount](o.operation, o.kefu("kfaccount list -o json"))
	o.Len(rows, 1)
	o.Equal("1001", rows[0].ID)

	o.Equal(result{exitNothing, "", "kefu: no kfaccount of 旗舰店 is online\n"}, o.kefu("kfaccount online"))
	o.api.PutKFAccount("wx1", sandbox.KFAccount{Account: "test1@test", Nickname: "客服1", Status: 1, AcceptedCase: 1200})
	o.api.PutKFAccount("wx1", sandbox.KFAccount{Account: "test2@test", Nickname: "客服2", Status: 3})
	got = o.kefu("kfaccount online")
	o.Regexp(`(?m)^KFACCOUNT +ID +ONLINE +SESSIONS$`, got.out)
	o.Regexp(`(?m)^test1@test +1001 +on the web +1,200$`, got.out)
	o.Regexp(`(?m)^test2@test +1002 +status 3 +0$`, got.out)
	o.Len(decode[[]wechat.OnlineKFAccount](o.operation, o.kefu("kfaccount online -o json")), 2)

	o.api.RemoveKFAccount("wx1", "test1@test")
	o.api.RemoveKFAccount("wx1", "test2@test")
	o.Equal(result{exitNothing, "[]\n", "kefu: 旗舰店 has no kfaccounts\n"}, o.kefu("kfaccount list -o json"))
	o.Empty(o.audited(), "looking is no deed")
}

func TestAKFAccountIsAdded(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.Equal(result{exitDone, "test2@test is added\n", ""}, o.kefu("kfaccount add test2@test --nickname 客服2"))
	o.Equal([]string{"test1@test 客服1", "test2@test 客服2"}, o.accounts())
	done := decode[kfDone](o.operation, o.kefu("kfaccount add test2@test --nickname 客服2 -o json"))
	o.Equal(kfDone{"wx1", "test2@test", "add", false}, done)
	other := o.kefu("kfaccount add test2@test --nickname 小王")
	o.Equal(exitFailed, other.code)
	o.Contains(other.err, "test2@test is there already, as 客服2: kefu kfaccount update changes it")
	o.Equal([]string{"kfaccount-add test2@test: "}, o.audited(), "what was not done is not written down")

	for line, says := range map[string]string{
		"add":                    "KFACCOUNT is missing",
		"add test3@test":         "--nickname is missing",
		"add test3 --nickname x": "kf_account: must be prefix@wechatid, such as test1@test",
		"add test3@test --nickname 一二三四五六七":                    "nickname: 7 characters, at most 6 Chinese or 12 Latin ones",
		"add test3@test --nickname x --password-file /nowhere": "--password-file: open /nowhere: no such file or directory",
		"add test3@test --nickname x --password-file -":        "--password-file: there is no password in it",
	} {
		bad := o.kefu("kfaccount " + line)
		o.Equal(exitUsage, bad.code, line)
		o.Contains(bad.err, says, line)
	}
	o.Len(o.accounts(), 2)

	o.Equal(exitDone, o.kefu("kfaccount add test3@test --nickname 一二三四五六七 --set apps[0].limits.nickname=today").code)
	full := o.kefu("kfaccount add test4@test --nickname x --set apps[0].limits.kfaccounts=3")
	o.Equal(exitFailed, full.code)
	o.Contains(full.err, "旗舰店 has 3 kfaccounts, and limits.kfaccounts is 3: delete one that is no longer used, or raise the limit")
}

func TestAKFAccountIsChanged(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.Equal(result{exitDone, "test1@test is changed\n", ""}, o.kefu("kfaccount update test1@test --nickname 小王"))
	o.Equal([]string{"test1@test 小王"}, o.accounts())

	got := o.kefu("kfaccount update test1@test --password-file -", func(c *try) { c.stdin = "secret\n" })
	o.Equal(exitDone, got.code, got.err)
	o.NotContains(got.out+got.err, "secret")
	sent := o.api.Newest(sandbox.Filter{Call: "/customservice/kfaccount/update"}, 1)[0].Body
	o.JSONEq(`{"kf_account":"test1@test","nickname":"小王","password":"5ebe2294ecd0e0f08eab7690d2a6ee69"}`, sent, "hashed, with the nickname it has")

	o.Equal(exitUsage, o.kefu("kfaccount update test1@test").code)
	o.Equal(exitNothing, o.kefu("kfaccount update test9@test --password-file -", func(c *try) { c.stdin = "secret" }).code)
	missing := o.kefu("kfaccount update test9@test --nickname x", in("en"))
	o.Equal(exitFailed, missing.code)
	o.Contains(missing.err, "kefu: kfaccount: message: errcode 65401 (kfaccount_unknown)")
	o.Contains(missing.err, "kefu: means    no such kf_account\nkefu: you can  Compare with the accounts on mp.weixin.qq.com")
	o.Equal("kfaccount-update test1@test: ", o.audited()[0])
}

func TestAKFAccountIsDeletedAndLookedFor(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.Equal(result{exitNothing, "", "kefu: 旗舰店 has no kfaccount test9@test: kefu kfaccount list shows those it has\n"}, o.kefu("kfaccount delete test9@test --yes"))
	unasked := o.kefu("kfaccount delete test1@test")
	o.Equal(exitUsage, unasked.code)
	o.Contains(unasked.err, "Delete the kfaccount test1@test (客服1) of 旗舰店? There is no terminal to ask on: add --yes")
	declined := o.kefu("kfaccount delete test1@test", answering("n"))
	o.Equal(exitFailed, declined.code)
	o.Contains(declined.err, "nothing was changed")
	o.Empty(o.audited())

	// It says 0 and keeps it.
	rule := o.api.Add(sandbox.Rule{Call: "/customservice/kfaccount/del", Lose: true})
	kept := o.kefu("kfaccount delete test1@test", answering("y"))
	o.Equal(exitFailed, kept.code)
	o.Contains(kept.err, "test1@test is not deleted: WeChat answered ok and kept it, as it does at times; do it again")
	o.Len(o.accounts(), 1)
	o.api.Remove(rule)

	// It does it and says nothing.
	o.api.Add(sandbox.Rule{Call: "/customservice/kfaccount/del", Reset: sandbox.ResetAfter})
	done := o.kefu("kfaccount delete test1@test --yes")
	o.Equal(result{exitDone, "test1@test is deleted\n", "no usable answer came, but the list shows that it was done\n"}, done)
	o.Empty(o.accounts())
	o.Equal([]string{"kfaccount-delete test1@test: ", "kfaccount-delete test1@test: not done", "kfaccount-delete test1@test: "}, o.audited())

	// It neither does it nor says anything.
	o.api.RemoveRules()
	o.api.PutKFAccount("wx1", sandbox.KFAccount{Account: "test1@test", Nickname: "客服1"})
	o.api.Add(sandbox.Rule{Call: "/customservice/kfaccount/del", Reset: sandbox.ResetBefore})
	lost := o.kefu("kfaccount delete test1@test --yes")
	o.Equal(exitFailed, lost.code)
	o.Contains(lost.err, "kefu: the list does not show that it was done: do it again")
}

func TestAKFAccountGetsItsPicture(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		o.NoError(os.WriteFile(path, content, 0o600))
		return path
	}
	var photo, small, drawing bytes.Buffer
	o.NoError(jpeg.Encode(&photo, image.NewGray(image.Rect(0, 0, 640, 640)), nil))
	o.NoError(jpeg.Encode(&small, image.NewGray(image.Rect(0, 0, 80, 80)), nil))
	o.NoError(png.Encode(&drawing, image.NewGray(image.Rect(0, 0, 640, 640))))

	o.Equal(result{exitDone, "test1@test is given its picture\n", ""}, o.kefu("kfaccount avatar test1@test "+file("face.jpg", photo.Bytes())))
	o.Equal(photo.Bytes(), o.api.KFAccounts("wx1")[0].Avatar)
	got := o.kefu("kfaccount avatar test1@test " + file("small.jpg", small.Bytes()))
	o.Equal(exitDone, got.code)
	o.Contains(got.err, "small.jpg: the picture has 80×80 pixels; 640×640 looks best")

	for name, says := range map[string]string{
		file("face.png", drawing.Bytes()):               "face.png: the file is no JPEG but image/png: an avatar must be a JPG",
		file("large.jpg", make([]byte, 6<<20)):          "large.jpg: the file is larger than 5 MiB",
		file("half.jpg", photo.Bytes()[:photo.Len()/2]): "half.jpg: the file begins like a JPEG and is broken",
		filepath.Join(dir, "none.jpg"):                  "none.jpg: no such file or directory",
	} {
		bad := o.kefu("kfaccount avatar test1@test " + name)
		o.Equal(exitUsage, bad.code, name)
		o.Contains(bad.err, says)
	}
	o.Equal([]string{"kfaccount-avatar test1@test: ", "kfaccount-avatar test1@test: "}, o.audited())
}

func TestTyping(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	// A message first: WeChat wants an exchange within the last 30 seconds.
	o.Equal(result{exitDone, "typing is shown to " + masked + ", for up to 15 seconds\n", ""}, o.kefu("typing --to "+recipient))
	again := o.kefu("typing --to "+recipient, in("zh_CN"))
	o.Equal(exitFailed, again.code)
	o.Contains(again.err, "errcode 45081 (typing_already)")
	o.Contains(again.err, "kefu: 含义 已处于输入状态")
	o.NotContains(again.err, "means")
	done := decode[typed](o.operation, o.kefu("typing --cancel -o json --to "+recipient))
	o.Equal(typed{"wx1", masked, "CancelTyping"}, done)
	o.Equal(exitUsage, o.kefu("typing").code)
	o.Equal(exitUsage, o.kefu("typing --to a.b").code)
	o.Equal([]string{"typing Typing: ", "typing Typing: ", "typing Typing: not done: errcode 45081 (typing_already)", "typing CancelTyping: "}, o.audited())
}

func TestAppQuota(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.api.Configure(sandbox.Settings{Quotas: map[string]sandbox.Quota{"send": {Day: 500_000, Minute: 3000}}})
	o.api.SetUsed("wx1", "send", 499_999)
	got := o.kefu("app quota")
	o.Equal(exitDone, got.code, got.err)
	o.Regexp(`(?m)^APP +API +DAILY LIMIT +USED +BY KEFU +REMAIN +RATE LIMIT$`, got.out)
	o.Regexp(`(?m)^wx1 +/cgi-bin/message/custom/send +500,000 +499,999 +0 +1 +3,000 in 60 s$`, got.out)
	rows := decode[[]quotaRow](o.operation, o.kefu("app quota wx1 -o json --api "+wechat.SendPath+" --api "+wechat.TypingPath))
	o.Len(rows, 2)
	o.EqualValues(499_999, rows[0].Used)
	o.EqualValues(3000, rows[0].RateCalls)

	o.Equal(exitUsage, o.kefu("app quota --api send").code)
	unknown := o.kefu("app quota --api /cgi-bin/nothing", in("en"))
	o.Equal(exitFailed, unknown.code)
	o.Contains(unknown.err, "errcode 76021 (cgi_path_unknown)")
	o.Contains(unknown.err, "kefu: you can  Correct the path")
	partly := o.kefu("app quota --api " + wechat.SendPath + " --api /cgi-bin/nothing")
	o.Equal(exitPartly, partly.code)
	o.Contains(partly.out, "499,999", "what is known is shown")

	unasked := o.kefu("app quota --reset")
	o.Equal(exitUsage, unasked.code)
	o.Contains(unasked.err, "Reset the quota of all APIs of 旗舰店? It can be done 10 times a month. There is no terminal")
	o.Empty(o.audited())
	reset := o.kefu("app quota --reset", answering("y"))
	o.Equal(exitDone, reset.code, reset.err)
	o.Regexp(`send +500,000 +0 +0 +500,000`, reset.out)
	one := decode[[]quotaRow](o.operation, o.kefu("app quota --reset --yes -o json --api "+wechat.SendPath))
	o.Zero(one[0].Used)
	o.Equal([]string{"quota-reset all APIs: ", "quota-reset " + wechat.SendPath + ": "}, o.audited())
	for range 8 {
		o.Equal(exitDone, o.kefu("app quota --reset --yes").code)
	}
	spent := o.kefu("app quota --reset --yes", in("en"))
	o.Equal(exitFailed, spent.code)
	o.Contains(spent.err, "errcode 48006 (clear_quota_used)")
}

func TestAQuotaThatIsResetIsSaidSoWhateverFails(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	// The first call resets, those after it fail.
	rule := o.api.Add(sandbox.Rule{Call: sandbox.CallQuota, After: 1, Errcode: 48001})
	got := o.kefu("app quota --reset --yes --quiet -o json", in("en"))
	o.Equal(exitPartly, got.code, got.err)
	o.Empty(got.out)
	o.Contains(got.err, "kefu: the quota of all APIs is reset, but what is left cannot be read: ")
	o.Contains(got.err, "errcode 48001")
	o.Contains(got.err, "kefu app quota asks again; with --reset it would spend another one")
	o.NotContains(got.err, "you can ", "not to run the command again")

	o.True(o.api.Remove(rule))
	o.api.Add(sandbox.Rule{Call: sandbox.CallQuota, After: 1, Errcode: 48001})
	got = o.kefu("app quota --reset --yes --quiet --api "+wechat.SendPath+" --api "+wechat.TypingPath, in("en"))
	o.Equal(exitPartly, got.code, got.err)
	o.Contains(got.err, "kefu: the quota of "+wechat.SendPath+" is reset, of the others not: ")
	o.Contains(got.err, "errcode 48001")
	o.Equal([]string{
		"quota-reset all APIs: ", "quota-reset " + wechat.SendPath + ": ", "quota-reset " + wechat.TypingPath + ": ",
		"quota-reset " + wechat.TypingPath + ": not done: errcode 48001 (api_unauthorised)",
	}, o.audited())
}

func TestAppQuotaShowsWhatKefuCountsForTheDay(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.api.SetUsed("wx1", "send", 1700)
	line := "app quota -o json --api " + wechat.SendPath + " --api " + wechat.TypingPath
	byKefu := func(more string) *int64 {
		rows := decode[[]quotaRow](o.operation, o.kefu(line+more))
		o.Nil(rows[1].ByKefu, "kefu counts messages")
		return rows[0].ByKefu
	}
	o.Zero(*byKefu(""), "nothing was sent today")
	o.Nil(byKefu(" --set apps[0].rate.per_day=0"), "an app without a budget is not counted")

	count := func(day gate.Day) {
		body, err := json.Marshal(day)
		o.NoError(err)
		o.NoError(o.conn.SaveState(t.Context(), broker.PutState("day.wx1", body, 0)))
	}
	count(gate.Day{End: gate.NextDay(time.Now()), Used: 1234})
	o.EqualValues(1234, *byKefu(""))
	o.EqualValues(1234, *byKefu(" --set apps[0].rate.per_day=0"), "the workers' configuration counts, not this one")
	o.Regexp(`(?m)^wx1 +/cgi-bin/message/custom/send +\S+ +1,700 +1,234 +`, o.kefu("app quota").out)
	count(gate.Day{End: time.Now().Add(-time.Minute), Used: 1234})
	o.Zero(*byKefu(""), "yesterday does not count")

	const nobody = " --set nats.url=nats://127.0.0.1:1"
	away := o.kefu("app quota" + nobody)
	o.Equal(exitDone, away.code, away.err)
	o.NotContains(away.out, "BY KEFU")
	o.Empty(away.err)
	o.Nil(byKefu(nobody))
}

func TestWithoutABrokerADeedIsDoneAndNotWrittenDown(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	got := o.kefu("kfaccount add test2@test --nickname 客服2 --set nats.url=nats://127.0.0.1:1")
	o.Equal(exitDone, got.code)
	o.Contains(got.err, "warning: this is not written to the audit: no NATS server answers at nats://127.0.0.1:1")
	o.Len(o.accounts(), 2)
	o.Equal(exitDone, o.kefu("kfaccount list --set nats.url=nats://127.0.0.1:1").code)
}

func TestAFailureOfTheAPISaysWhatCanBeDone(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	for says, rule := range map[string]sandbox.Rule{
		"kefu: you can  Do it again in a moment.":                                    {HTTPStatus: 503},
		"kefu: you can  Do it again in 5s.":                                          {HTTPStatus: 429, RetryAfter: "5"},
		"redirect to the same host refused\nkefu: you can  Mend what it says":        {Redirect: "/elsewhere"},
		"errcode 65400 (kf_not_enabled): x\nkefu: means    the new customer service": {Errcode: 65400, Errmsg: "x"},
	} {
		rule.Call = "/cgi-bin/customservice/getkflist"
		id := o.api.Add(rule)
		got := o.kefu("kfaccount list", in("en"))
		o.api.Remove(id)
		o.Equal(exitFailed, got.code, says)
		o.Contains(got.err, says)
	}
	token := o.api.Add(sandbox.Rule{Call: "token", Errcode: 40164, Errmsg: "invalid ip 1.2.3.4, not in whitelist"})
	got := o.kefu("kfaccount list", in("zh_CN"))
	o.api.Remove(token)
	o.Contains(got.err, "invalid ip 1.2.3.4")
	o.Contains(got.err, "kefu: 建议 请在 mp.weixin.qq.com 将 errmsg 中的 IP 加入")

	nowhere := o.kefu("kfaccount list --set wechat.base_url=http://127.0.0.1:1", in("en"))
	o.Equal(exitFailed, nowhere.code)
	o.Contains(nowhere.err, "kefu: you can  Look at this machine's way to 127.0.0.1:1: DNS, routes, proxies. Nothing was changed.")
	o.Equal(exitUsage, o.kefu("kfaccount list --app wx2").code)
	o.True(strings.Contains(o.kefu("kfaccount list --app wx2").err, "no app wx2 is configured"))
}

func TestAFailureSaysWhatTheErrcodeMeansOnThatCall(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	var photo bytes.Buffer
	o.NoError(jpeg.Encode(&photo, image.NewGray(image.Rect(0, 0, 640, 640)), nil))
	face := filepath.Join(t.TempDir(), "face.jpg")
	o.NoError(os.WriteFile(face, photo.Bytes(), 0o600))

	for _, row := range []struct {
		line, path string
		call       wechat.Call
		codes      []int
	}{
		{"kfaccount avatar test1@test " + face, "/customservice/kfaccount/uploadheadimg", wechat.CallKFAccount, []int{40005, 40009, 41005, 40007}},
		{"kfaccount add test2@test --nickname x", "/customservice/kfaccount/add", wechat.CallKFAccount, []int{40009, 40097, 40003, 45078, -1, 99999}},
		{"typing --to " + recipient, wechat.TypingPath, wechat.CallTyping, []int{40003, 45015, 45047, 45011}},
		{"app quota", "/cgi-bin/openapi/quota/get", wechat.CallQuota, []int{48001, 40035}},
	} {
		for _, code := range row.codes {
			id := o.api.Add(sandbox.Rule{Call: row.path, Errcode: code, Errmsg: "x"})
			failed := o.kefu(row.line, in("en"))
			o.api.Remove(id)
			o.Equal(exitFailed, failed.code, "%s: %d", row.line, code)

			asked := o.kefu(fmt.Sprintf("errcode %d --call %s -o json", code, row.call))
			rows := decode[[]explained](o.operation, result{exitDone, asked.out, ""})
			o.Len(rows, 1)
			o.Contains(failed.err, "kefu: means    "+rows[0].En+"\nkefu: you can  "+rows[0].DoEn+"\n", "%s: %d", row.line, code)
		}
	}
}

func TestWhatToDoWhenNobodyKnowsWhetherItWasDone(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	const again = "kefu: you can  Nothing was changed: run the command again."
	for _, row := range []struct{ line, path, says string }{
		{"kfaccount list", "/cgi-bin/customservice/getkflist", again},
		{"kfaccount online", "/cgi-bin/customservice/getonlinekflist", again},
		{"kfaccount add test2@test --nickname x", "/cgi-bin/customservice/getkflist", again}, // it looks first
		{"kfaccount delete test1@test --yes", "/cgi-bin/customservice/getkflist", again},
		{"kfaccount update test1@test --password-file -", "/cgi-bin/customservice/getkflist", again},
		{"app quota", "/cgi-bin/openapi/quota/get", again},
		{"typing --to " + recipient, wechat.TypingPath, "run the command again, it does no harm"},
		{"kfaccount update test1@test --nickname x", "/customservice/kfaccount/update", "kefu: you can  Look before you do it again"},
		{"app quota --reset --yes", "/cgi-bin/clear_quota", "kefu: you can  Look before you do it again"},
	} {
		for name, rule := range map[string]sandbox.Rule{
			"unreadable":           {Body: "<html>"},
			"reset after it":       {Reset: sandbox.ResetAfter},
			"500 with a new code":  {HTTPStatus: 500, Body: `{"errcode":99999}`},
			"500 and nothing more": {HTTPStatus: 500},
		} {
			rule.Call = row.path
			id := o.api.Add(rule)
			got := o.kefu(row.line, in("en"), func(c *try) { c.stdin = "secret" })
			o.api.Remove(id)
			o.Equal(exitFailed, got.code, "%s: %s", row.line, name)
			o.Contains(got.err, row.says, "%s: %s", row.line, name)
		}
	}
	o.Len(o.accounts(), 1, "nothing was added or deleted after a look that failed")
}

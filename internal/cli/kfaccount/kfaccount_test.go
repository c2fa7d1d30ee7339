package kfaccount_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/kfaccount"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wechat"
)

func TestKFAccountsAreListed(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	got := o.Kefu("kfaccount list")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`(?m)^KFACCOUNT +NICKNAME +ID +AGENT +AVATAR$`, got.Out)
	o.Regexp(`(?m)^test1@test +客服1 +1001 +http`, got.Out)
	rows := clitest.Decode[[]wechat.KFAccount](o.Operation, o.Kefu("kfaccount list -o json"))
	o.Len(rows, 1)
	o.Equal("1001", rows[0].ID)

	o.Equal(clitest.Ended(cli.ExitNothing, "", "kefu: no kfaccount of 旗舰店 is online\n"),
		o.Kefu("kfaccount online"))
	o.API.PutKFAccount("wx1",
		sandbox.KFAccount{Account: "test1@test", Nickname: "客服1", Status: 1, AcceptedCase: 1200})
	o.API.PutKFAccount("wx1", sandbox.KFAccount{Account: "test2@test", Nickname: "客服2", Status: 3})
	got = o.Kefu("kfaccount online")
	o.Regexp(`(?m)^KFACCOUNT +ID +ONLINE +SESSIONS$`, got.Out)
	o.Regexp(`(?m)^test1@test +1001 +on the web +1,200$`, got.Out)
	o.Regexp(`(?m)^test2@test +1002 +status 3 +0$`, got.Out)
	o.Len(clitest.Decode[[]wechat.OnlineKFAccount](o.Operation, o.Kefu("kfaccount online -o json")),
		2)

	o.API.RemoveKFAccount("wx1", "test1@test")
	o.API.RemoveKFAccount("wx1", "test2@test")
	o.Equal(clitest.Ended(cli.ExitNothing, "[]\n", "kefu: 旗舰店 has no kfaccounts\n"),
		o.Kefu("kfaccount list -o json"))
	o.Empty(o.Audited(), "looking changes nothing")
}

func TestAKFAccountIsAdded(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	o.Equal(clitest.Ended(cli.ExitDone, "test2@test is added\n", ""),
		o.Kefu("kfaccount add test2@test --nickname 客服2"))
	o.Equal([]string{"test1@test 客服1", "test2@test 客服2"}, o.Accounts())
	done := clitest.Decode[kfaccount.Changed](o.Operation,
		o.Kefu("kfaccount add test2@test --nickname 客服2 -o json"))
	o.Equal(kfaccount.Changed{"wx1", "test2@test", "add", false}, done)
	other := o.Kefu("kfaccount add test2@test --nickname 小王")
	o.Equal(cli.ExitFailed, other.Code)
	o.Contains(other.Err, "test2@test is there already, as 客服2: kefu kfaccount update changes it")
	o.Equal([]string{"kfaccount-add test2@test: "}, o.Audited(),
		"what was not done is not written down")

	for line, says := range map[string]string{
		"add":                    "KFACCOUNT is missing",
		"add test3@test":         "--nickname is missing",
		"add test3 --nickname x": "kf_account: must be prefix@wechatid, such as test1@test",
		"add test3@test --nickname 一二三四五六七":                    "nickname: 7 characters, at most 6 Chinese or 12 Latin ones",
		"add test3@test --nickname x --password-file /nowhere": "--password-file: open /nowhere: no such file or directory",
		"add test3@test --nickname x --password-file -":        "--password-file: there is no password in it",
	} {
		bad := o.Kefu("kfaccount " + line)
		o.Equal(cli.ExitUsage, bad.Code, line)
		o.Contains(bad.Err, says, line)
	}
	o.Len(o.Accounts(), 2)

	o.Equal(cli.ExitDone,
		o.Kefu("kfaccount add test3@test --nickname 一二三四五六七 "+
			"--set apps[0].limits.nickname=today").Code)
	full := o.Kefu("kfaccount add test4@test --nickname x --set apps[0].limits.kfaccounts=3")
	o.Equal(cli.ExitFailed, full.Code)
	o.Contains(full.Err,
		"旗舰店 has 3 kfaccounts, and limits.kfaccounts is 3: delete one that is no longer used, "+
			"or raise the limit")
}

func TestAKFAccountIsChanged(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	o.Equal(clitest.Ended(cli.ExitDone, "test1@test is changed\n", ""),
		o.Kefu("kfaccount update test1@test --nickname 小王"))
	o.Equal([]string{"test1@test 小王"}, o.Accounts())

	got := o.Kefu("kfaccount update test1@test --password-file -", func(c *clitest.Try) {
		c.Stdin = "secret\n"
	})
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.NotContains(got.Out+got.Err, "secret")
	sent := o.API.Newest(sandbox.Filter{Call: "/customservice/kfaccount/update"}, 1)[0].Body
	o.JSONEq(
		`{"kf_account":"test1@test","nickname":"小王","password":"5ebe2294ecd0e0f08eab7690d2a6ee69"}`,
		sent, "hashed, with the nickname it has")

	o.Equal(cli.ExitUsage, o.Kefu("kfaccount update test1@test").Code)
	o.Equal(cli.ExitNothing,
		o.Kefu("kfaccount update test9@test --password-file -",
			func(c *clitest.Try) { c.Stdin = "secret" }).Code)
	missing := o.Kefu("kfaccount update test9@test --nickname x", clitest.In("en"))
	o.Equal(cli.ExitFailed, missing.Code)
	o.Contains(missing.Err, "kefu: kfaccount: message: errcode 65401 (kfaccount_unknown)")
	o.Contains(missing.Err,
		"kefu: means    no such kf_account\nkefu: you can  Compare with the accounts on "+
			"mp.weixin.qq.com")
	o.Equal("kfaccount-update test1@test: ", o.Audited()[0])
}

func TestAKFAccountIsDeletedAndLookedFor(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
	o.Equal(clitest.Ended(cli.ExitNothing, "",
		"kefu: 旗舰店 has no kfaccount test9@test: kefu kfaccount list shows those it has\n"),
		o.Kefu("kfaccount delete test9@test --yes"))
	unasked := o.Kefu("kfaccount delete test1@test")
	o.Equal(cli.ExitUsage, unasked.Code)
	o.Contains(unasked.Err,
		"Delete the kfaccount test1@test (客服1) of 旗舰店? There is no terminal to ask on: add --yes")
	declined := o.Kefu("kfaccount delete test1@test", clitest.Answering("n"))
	o.Equal(cli.ExitFailed, declined.Code)
	o.Contains(declined.Err, "nothing was changed")
	o.Empty(o.Audited())

	// It says 0 and keeps it.
	rule := o.API.Add(sandbox.Rule{Call: "/customservice/kfaccount/del", Lose: true})
	kept := o.Kefu("kfaccount delete test1@test", clitest.Answering("y"))
	o.Equal(cli.ExitFailed, kept.Code)
	o.Contains(kept.Err,
		"test1@test is not deleted: WeChat answered ok and kept it, as it does at times; do it again")
	o.Len(o.Accounts(), 1)
	o.API.Remove(rule)

	// It does it and says nothing.
	o.API.Add(sandbox.Rule{Call: "/customservice/kfaccount/del", Reset: sandbox.ResetAfter})
	done := o.Kefu("kfaccount delete test1@test --yes")
	o.Equal(clitest.Ended(cli.ExitDone, "test1@test is deleted\n",
		"no usable answer came, but the list shows that it was done\n"), done)
	o.Empty(o.Accounts())
	o.Equal([]string{"kfaccount-delete test1@test: ", "kfaccount-delete test1@test: not done",
		"kfaccount-delete test1@test: "}, o.Audited())

	// It neither does it nor says anything.
	o.API.RemoveRules()
	o.API.PutKFAccount("wx1", sandbox.KFAccount{Account: "test1@test", Nickname: "客服1"})
	o.API.Add(sandbox.Rule{Call: "/customservice/kfaccount/del", Reset: sandbox.ResetBefore})
	lost := o.Kefu("kfaccount delete test1@test --yes")
	o.Equal(cli.ExitFailed, lost.Code)
	o.Contains(lost.Err, "kefu: the list does not show that it was done: do it again")
}

func TestAKFAccountGetsItsPicture(t *testing.T) {
	t.Parallel()
	o := clitest.NewOffice(t)
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

	o.Equal(clitest.Ended(cli.ExitDone, "test1@test is given its picture\n", ""),
		o.Kefu("kfaccount avatar test1@test "+file("face.jpg", photo.Bytes())))
	o.Equal(photo.Bytes(), o.API.KFAccounts("wx1")[0].Avatar)
	got := o.Kefu("kfaccount avatar test1@test " + file("small.jpg", small.Bytes()))
	o.Equal(cli.ExitDone, got.Code)
	o.Contains(got.Err, "small.jpg: the picture has 80×80 pixels; 640×640 looks best")

	for name, says := range map[string]string{
		file("face.png", drawing.Bytes()): "face.png: the file is no JPEG but image/png: " +
			"an avatar must be a JPG",
		file("large.jpg", make([]byte, 6<<20)): "large.jpg: the file is larger than 5 MiB",
		file("half.jpg", photo.Bytes()[:photo.Len()/2]): "half.jpg: the file begins like a " +
			"JPEG and is broken",
		filepath.Join(dir, "none.jpg"): "none.jpg: no such file or directory",
	} {
		bad := o.Kefu("kfaccount avatar test1@test " + name)
		o.Equal(cli.ExitUsage, bad.Code, name)
		o.Contains(bad.Err, says)
	}
	o.Equal([]string{"kfaccount-avatar test1@test: ", "kfaccount-avatar test1@test: "}, o.Audited())
}

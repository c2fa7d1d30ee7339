package clitest

import (
	"testing"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// Office is an app at the sandbox with one kfaccount, and the commands that go there.
type Office struct {
	*Operation
	API *sandbox.Sandbox
}

// NewOffice starts it.
func NewOffice(t *testing.T) *Office {
	t.Helper()
	o := &Office{Operation: NewOperation(t)}
	o.API = sandbox.New(sandbox.Options{Apps: map[string]string{"wx1": "x"},
		TokenPrefix: "CANARY_TOKEN_"})
	url, err := o.API.Listen("127.0.0.1:0")
	o.NoError(err)
	t.Cleanup(func() { o.NoError(o.API.Close()) })
	o.File = "wechat: {base_url: '" + url + "'}\n" + o.File
	o.API.PutKFAccount("wx1", sandbox.KFAccount{Account: "test1@test", Nickname: "客服1"})
	return o
}

// Kefu runs a command line and sees that nothing it prints holds the access token.
func (o *Office) Kefu(line string, change ...func(*Try)) Result {
	o.T.Helper()
	got := o.Operation.Kefu(line, change...)
	o.NotContains(got.Out+got.Err, "CANARY_TOKEN_")
	return got
}

// Accounts returns the app's kfaccounts, as "test1@test 客服1".
func (o *Office) Accounts() (names []string) {
	for _, k := range o.API.KFAccounts("wx1") {
		names = append(names, k.Account+" "+k.Nickname)
	}
	return names
}

// In makes the user one of that language.
func In(lang string) func(*Try) {
	return func(c *Try) { c.Environ = append(c.Environ, "LANG="+lang) }
}

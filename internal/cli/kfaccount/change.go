package kfaccount

import (
	"context"
	"errors"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wechat"
)

// change is a change of one kfaccount.
type change struct {
	action  string // add, update, delete or avatar
	account string
	done    string // what it is afterwards
	call    func(context.Context) error
	seen    func([]wechat.KFAccount) bool // the list shows that it was done; nil: it cannot
	look    bool                          // at the list even when the API says that it was done
}

// Changed is the answer as JSON.
type Changed struct {
	AppID     string `json:"appid"`
	KFAccount string `json:"kf_account"`
	Action    string `json:"action"` // add, update, delete or avatar
	Changed   bool   `json:"changed"`
}

// do makes a change and says so.
func (a access) do(ctx context.Context, api *cli.API, c change) error {
	entry := broker.AuditEntry{Verb: "kfaccount-" + c.action, Filter: c.account}
	err := api.Change(ctx, entry, func() error { return a.callAndCheck(ctx, api, c) })
	if err != nil {
		return err
	}
	return a.answer(api, c, true)
}

// callAndCheck calls the API, and looks whether the change was made where its answer does not say.
func (a access) callAndCheck(ctx context.Context, api *cli.API, c change) error {
	err := c.call(ctx)
	var e *wechat.Error
	unknown := errors.As(err, &e) && e.Fault == wechat.FaultUnknown && c.seen != nil
	switch {
	case err != nil && !unknown:
		return api.Explain(cli.Changing, err)
	case unknown || c.look:
		return a.check(ctx, api, c, err)
	}
	return nil
}

// check asks the list whether a change was made whose answer, failed or nil, does not prove it.
func (a access) check(ctx context.Context, api *cli.API, c change, failed error) error {
	all, err := api.Client.KFAccounts(ctx)
	switch {
	case err != nil && failed != nil:
		return api.Explain(cli.Changing, failed)
	case err != nil:
		a.streams.Warn("WeChat answered ok, but whether it was done could not be looked at: " +
			err.Error())
	case !c.seen(all) && failed != nil:
		return fmt.Errorf("%w\nthe list does not show that it was done: do it again", failed)
	case !c.seen(all):
		return fmt.Errorf("%s is not %s: WeChat answered ok and kept it, as it does at times; do it again",
			c.account, c.done)
	case failed != nil:
		a.streams.Notef("no usable answer came, but the list shows that it was done")
	}
	return nil
}

func (a access) answer(api *cli.API, c change, done bool) error {
	result := Changed{api.App.AppID, c.account, c.action, done}
	return a.streams.Answer(result, "%s is %s\n", c.account, c.done)
}

package kfaccount

import (
	"context"
	"errors"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/kfaccount"
)

// change is a change of one kfaccount.
type change struct {
	action  string // add, update, delete or avatar
	account string
	done    string // what it is afterwards
	make    func(context.Context) (kfaccount.Outcome, error)
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
	var outcome kfaccount.Outcome
	err := api.Change(ctx, entry, func() (err error) {
		outcome, err = c.make(ctx)
		return err
	})
	var unseen *kfaccount.UnseenError
	switch {
	case errors.Is(err, kfaccount.ErrKept):
		return fmt.Errorf("%s is not %s: %w", c.account, c.done, err)
	case errors.As(err, &unseen):
		return err
	case err != nil:
		return api.Explain(cli.Changing, err)
	}
	switch {
	case outcome.Unchecked != nil:
		a.streams.Warn("WeChat answered ok, but whether it was done could not be looked at: " +
			outcome.Unchecked.Error())
	case outcome.Seen:
		a.streams.Notef("no usable answer came, but the list shows that it was done")
	}
	return a.answer(api, c, true)
}

func (a access) answer(api *cli.API, c change, done bool) error {
	result := Changed{api.App.AppID, c.account, c.action, done}
	return a.streams.Answer(result, "%s is %s\n", c.account, c.done)
}

// Package kfaccount changes an app's customer-service accounts. Where WeChat's answer does not say
// whether a change was made, it checks the list of accounts.
package kfaccount

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kefuhq/kefu/internal/wechat"
)

// Find returns the kfaccounts of an app, and the one with this name; nil when there is none.
func Find(
	ctx context.Context, client *wechat.Client, account string,
) (all []wechat.KFAccount, found *wechat.KFAccount, err error) {
	all, err = client.KFAccounts(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("look at the kfaccounts there are: %w", err)
	}
	if i := slices.IndexFunc(all, named(account)); i >= 0 {
		found = &all[i]
	}
	return all, found, nil
}

// named returns a predicate for the kfaccount with this name.
func named(account string) func(wechat.KFAccount) bool {
	return func(k wechat.KFAccount) bool { return k.Account == account }
}

// Outcome says how it is known that a change was made.
type Outcome struct {
	Seen      bool  // no usable answer came, but the list shows the change
	Unchecked error // the answer does not prove the change, and the list could not be read
}

// ErrKept means that an account still exists although WeChat answered that it is deleted.
var ErrKept = errors.New("WeChat answered ok and kept it, as it does at times; do it again")

// UnseenError means that a change got no usable answer and the list does not show it.
type UnseenError struct{ Err error }

func (e *UnseenError) Error() string {
	return e.Err.Error() + "\nthe list does not show that it was done: do it again"
}

func (e *UnseenError) Unwrap() error { return e.Err }

// Add adds an account.
func Add(
	ctx context.Context, client *wechat.Client, c wechat.KFAccountChange,
) (Outcome, error) {
	err := client.AddKFAccount(ctx, c)
	if !isUnknown(err) {
		return Outcome{}, err
	}
	return checkList(ctx, client, err, func(all []wechat.KFAccount) bool {
		return slices.ContainsFunc(all, named(c.Account))
	})
}

// Update changes an account. The list cannot show whether it was done.
func Update(
	ctx context.Context, client *wechat.Client, c wechat.KFAccountChange,
) (Outcome, error) {
	return Outcome{}, client.UpdateKFAccount(ctx, c)
}

// SetAvatar gives an account its picture. The list cannot show whether it was done.
func SetAvatar(
	ctx context.Context, client *wechat.Client, account string, picture []byte,
) (Outcome, error) {
	return Outcome{}, client.SetAvatar(ctx, account, picture)
}

// Delete deletes an account. It always checks the list afterwards, since WeChat at times answers ok
// and keeps the account.
func Delete(ctx context.Context, client *wechat.Client, account string) (Outcome, error) {
	err := client.DeleteKFAccount(ctx, account)
	if err != nil && !isUnknown(err) {
		return Outcome{}, err
	}
	return checkList(ctx, client, err, func(all []wechat.KFAccount) bool {
		return !slices.ContainsFunc(all, named(account))
	})
}

// isUnknown reports whether a call got no usable answer.
func isUnknown(err error) bool {
	var e *wechat.Error
	return errors.As(err, &e) && e.Fault == wechat.FaultUnknown
}

// checkList reads the list to see whether a change was made. callErr is the error of the call; nil
// when the answer was ok.
func checkList(
	ctx context.Context, client *wechat.Client, callErr error, made func([]wechat.KFAccount) bool,
) (Outcome, error) {
	all, err := client.KFAccounts(ctx)
	switch {
	case err != nil && callErr != nil:
		return Outcome{}, callErr
	case err != nil:
		return Outcome{Unchecked: err}, nil
	case made(all):
		return Outcome{Seen: callErr != nil}, nil
	case callErr != nil:
		return Outcome{}, &UnseenError{callErr}
	}
	return Outcome{}, ErrKept
}

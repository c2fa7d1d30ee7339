// Package kfaccount changes an app's customer-service accounts, and looks at their list where
// WeChat's answer does not say whether a change was made.
package kfaccount

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kefuhq/kefu/internal/wechat"
)

// Find returns the kfaccounts of an app, and the one of that name among them.
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

func named(account string) func(wechat.KFAccount) bool {
	return func(k wechat.KFAccount) bool { return k.Account == account }
}

// Outcome is how it is known that a change was made.
type Outcome struct {
	Seen      bool  // no usable answer came, but the list shows it
	Unchecked error // why the list could not be looked at after an answer that does not prove it
}

// ErrKept is an account that is still there though WeChat said that it is deleted.
var ErrKept = errors.New("WeChat answered ok and kept it, as it does at times; do it again")

// UnseenError is a change to which no usable answer came, and which the list does not show.
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
	return look(ctx, client, err, func(all []wechat.KFAccount) bool {
		return slices.ContainsFunc(all, named(c.Account))
	})
}

// Update changes an account. The list does not prove that it was done.
func Update(
	ctx context.Context, client *wechat.Client, c wechat.KFAccountChange,
) (Outcome, error) {
	return Outcome{}, client.UpdateKFAccount(ctx, c)
}

// SetAvatar gives an account its picture. The list does not prove that it was done.
func SetAvatar(
	ctx context.Context, client *wechat.Client, account string, picture []byte,
) (Outcome, error) {
	return Outcome{}, client.SetAvatar(ctx, account, picture)
}

// Delete deletes an account, and always looks afterwards whether it is gone.
func Delete(ctx context.Context, client *wechat.Client, account string) (Outcome, error) {
	err := client.DeleteKFAccount(ctx, account)
	if err != nil && !isUnknown(err) {
		return Outcome{}, err
	}
	return look(ctx, client, err, func(all []wechat.KFAccount) bool {
		return !slices.ContainsFunc(all, named(account))
	})
}

// isUnknown tells whether nobody knows what became of a call.
func isUnknown(err error) bool {
	var e *wechat.Error
	return errors.As(err, &e) && e.Fault == wechat.FaultUnknown
}

// look asks the list whether a change was made whose answer, failed or nil, does not prove it.
func look(
	ctx context.Context, client *wechat.Client, failed error, made func([]wechat.KFAccount) bool,
) (Outcome, error) {
	all, err := client.KFAccounts(ctx)
	switch {
	case err != nil && failed != nil:
		return Outcome{}, failed
	case err != nil:
		return Outcome{Unchecked: err}, nil
	case made(all):
		return Outcome{Seen: failed != nil}, nil
	case failed != nil:
		return Outcome{}, &UnseenError{failed}
	}
	return Outcome{}, ErrKept
}

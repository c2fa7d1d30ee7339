package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/textfile"
	"github.com/kefuhq/kefu/internal/wechat"
)

// kfWish is what add and update are asked for.
type kfWish struct {
	cli          *cli
	nickname     string
	passwordFile string
}

func (w *kfWish) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&w.nickname, "nickname", "", "`name` that users see; limits.nickname says how long it may be")
	cmd.Flags().StringVar(&w.passwordFile, "password-file", "",
		"`file` with the password of the old web client (多客服), in clear text or as MD5; - is standard input")
	_ = cmd.MarkFlagFilename("password-file") // the flag was added above
}

func newKFAccountAddCmd(c *cli) *cobra.Command {
	w := &kfWish{cli: c}
	cmd := &cobra.Command{
		Use:   "add KFACCOUNT",
		Short: "Add a kfaccount",
		Long: `Adds a kfaccount, named prefix@wechatid: a prefix of up to 10 letters, digits and underscores, and the app's WeChat id. One
that is there already under that nickname is left as it is.`,
		Example: `  kefu kfaccount add test1@test --nickname 客服1`,
		Args:    arguments(1, 1, "KFACCOUNT"),
		RunE:    func(cmd *cobra.Command, args []string) error { return w.add(cmd.Context(), args[0]) },
	}
	w.addFlags(cmd)
	return cmd
}

func newKFAccountUpdateCmd(c *cli) *cobra.Command {
	w := &kfWish{cli: c}
	cmd := &cobra.Command{
		Use:   "update KFACCOUNT",
		Short: "Change the nickname of a kfaccount",
		Example: `  kefu kfaccount update test1@test --nickname 小王
  kefu kfaccount update test1@test --password-file password.txt`,
		Args: arguments(1, 1, "KFACCOUNT"),
		RunE: func(cmd *cobra.Command, args []string) error { return w.update(cmd.Context(), args[0]) },
	}
	w.addFlags(cmd)
	return cmd
}

// change is the wish for account, with what can be known without asking the API checked.
func (w *kfWish) change(account string) (wechat.KFAccountChange, error) {
	change := wechat.KFAccountChange{Account: account, Nickname: w.nickname}
	if w.passwordFile == "" {
		return change, nil
	}
	password, err := w.cli.readPassword(w.passwordFile)
	change.Password = wechat.HashPassword(password)
	return change, err
}

// readPassword reads a short text from a file: on a command line it would be in everybody's process list.
func (c *cli) readPassword(name string) (string, error) {
	in := c.in
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", usagef("--password-file: %w", err)
		}
		defer f.Close() //nolint:errcheck // nothing was written
		in = f
	}
	const longest = 1024
	text, err := io.ReadAll(io.LimitReader(textfile.NewReader(in), longest+1))
	password := strings.TrimRight(string(text), "\r\n")
	switch {
	case err != nil:
		return "", usagef("--password-file: %w", err)
	case password == "":
		return "", usagef("--password-file: there is no password in it")
	case len(text) > longest:
		return "", usagef("--password-file: it is longer than %d bytes", longest)
	}
	return password, nil
}

func (w *kfWish) add(ctx context.Context, account string) error {
	if w.nickname == "" {
		return usagef("--nickname is missing")
	}
	change, err := w.change(account)
	if err != nil {
		return err
	}
	d, err := w.cli.api("")
	if err != nil {
		return err
	}
	defer d.close()
	if err := change.Check(wechat.NicknameRule(d.app.KFAccounts.Nickname)); err != nil {
		return d.refused(err)
	}
	all, found, err := d.kfAccount(ctx, account)
	switch {
	case err != nil:
		return d.unread(err)
	case found != nil && found.Nick == change.Nickname && change.Password.Empty():
		return d.tell(kfDeed{action: "add", account: account, done: "there already"}, false)
	case found != nil:
		return fmt.Errorf("%s is there already, as %s: kefu kfaccount update changes it", account, found.Nick)
	case len(all) >= d.app.KFAccounts.Most:
		return fmt.Errorf("%s has %s, and limits.kfaccounts is %d: delete one that is no longer used, or raise the limit",
			d.app.Label(), counted(len(all), "kfaccount"), d.app.KFAccounts.Most)
	}
	return d.do(ctx, kfDeed{
		action: "add", account: account, done: "added",
		call: func(ctx context.Context) error { return d.client.AddKFAccount(ctx, change) },
		seen: func(all []wechat.KFAccount) bool { return slices.ContainsFunc(all, named(account)) },
	})
}

func (w *kfWish) update(ctx context.Context, account string) error {
	if w.nickname == "" && w.passwordFile == "" {
		return usagef("nothing to change: --nickname or --password-file is missing")
	}
	change, err := w.change(account)
	if err != nil {
		return err
	}
	d, err := w.cli.api("")
	if err != nil {
		return err
	}
	defer d.close()
	if err := wechat.CheckKFAccount(account); err != nil {
		return d.refused(err)
	}
	if change.Nickname == "" { // the API wants it even when it does not change
		_, found, err := d.kfAccount(ctx, account)
		if err != nil {
			return d.unread(err)
		}
		if found == nil {
			return noKFAccount(d, account)
		}
		change.Nickname = found.Nick
	} else if err := change.Check(wechat.NicknameRule(d.app.KFAccounts.Nickname)); err != nil {
		return d.refused(err)
	}
	return d.do(ctx, kfDeed{
		action: "update", account: account, done: "changed",
		call: func(ctx context.Context) error { return d.client.UpdateKFAccount(ctx, change) },
	})
}

func named(account string) func(wechat.KFAccount) bool {
	return func(k wechat.KFAccount) bool { return k.Account == account }
}

func noKFAccount(d *apiDoor, account string) error {
	return nothingf("%s has no kfaccount %s: kefu kfaccount list shows those it has", d.app.Label(), account)
}

func newKFAccountDeleteCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "delete KFACCOUNT",
		Short: "Delete a kfaccount",
		Long: `Deletes a kfaccount, and looks afterwards whether it is gone: WeChat answers ok at times and keeps it. Messages that name it are
refused from then on (65401).`,
		Example: `  kefu kfaccount delete test1@test`,
		Args:    arguments(1, 1, "KFACCOUNT"),
		RunE:    func(cmd *cobra.Command, args []string) error { return c.kfAccountDelete(cmd.Context(), args[0]) },
	}
}

func (c *cli) kfAccountDelete(ctx context.Context, account string) error {
	d, err := c.api("")
	if err != nil {
		return err
	}
	defer d.close()
	if err := wechat.CheckKFAccount(account); err != nil {
		return d.refused(err)
	}
	_, found, err := d.kfAccount(ctx, account)
	if err != nil {
		return d.unread(err)
	}
	if found == nil {
		return noKFAccount(d, account)
	}
	if err := d.confirm(ctx, fmt.Sprintf("Delete the kfaccount %s (%s) of %s?", account, found.Nick, d.app.Label())); err != nil {
		return err
	}
	return d.do(ctx, kfDeed{
		action: "delete", account: account, done: "deleted", look: true,
		call: func(ctx context.Context) error { return d.client.DeleteKFAccount(ctx, account) },
		seen: func(all []wechat.KFAccount) bool { return !slices.ContainsFunc(all, named(account)) },
	})
}

func newKFAccountAvatarCmd(c *cli) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "avatar KFACCOUNT FILE",
		Short:   "Give a kfaccount its picture",
		Long:    `Uploads a picture that users see beside the kfaccount's messages: a JPG file, best of 640 by 640 pixels.`,
		Example: `  kefu kfaccount avatar test1@test face.jpg`,
		Args:    arguments(2, 2, "KFACCOUNT or FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.kfAccountAvatar(cmd.Context(), args[0], args[1])
		},
	}
	return cmd
}

func (c *cli) kfAccountAvatar(ctx context.Context, account, name string) error {
	if err := wechat.CheckKFAccount(account); err != nil {
		return c.refused(err)
	}
	picture, err := readPicture(name)
	if err != nil {
		return usagef("%w", err)
	}
	advice, err := wechat.CheckAvatar(picture)
	if bad := (*wechat.InputError)(nil); errors.As(err, &bad) {
		return usagef("%s: %s", name, bad.Rule)
	}
	d, err := c.api("")
	if err != nil {
		return err
	}
	defer d.close()
	if advice != "" {
		c.warn(name + ": " + advice)
	}
	return d.do(ctx, kfDeed{
		action: "avatar", account: account, done: "given its picture",
		call: func(ctx context.Context) error { return d.client.SetAvatar(ctx, account, picture) },
	})
}

// readPicture reads a file, but not much more of it than an avatar may have.
func readPicture(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return io.ReadAll(io.LimitReader(f, wechat.MaxAvatar+1))
}

// kfDeed is a change of one kfaccount.
type kfDeed struct {
	action  string // add, update, delete or avatar
	account string
	done    string // what it is afterwards
	call    func(context.Context) error
	seen    func([]wechat.KFAccount) bool // the list shows that it was done; nil: it cannot
	look    bool                          // at the list even when the API says that it was done
}

// kfDone is the answer as JSON.
type kfDone struct {
	AppID     string `json:"appid"`
	KFAccount string `json:"kf_account"`
	Action    string `json:"action"` // add, update, delete or avatar
	Changed   bool   `json:"changed"`
}

// do does a deed and says so.
func (d *apiDoor) do(ctx context.Context, deed kfDeed) error {
	entry := broker.AuditEntry{Verb: "kfaccount-" + deed.action, Filter: deed.account}
	if err := d.change(ctx, entry, func() error { return d.done(ctx, deed) }); err != nil {
		return err
	}
	return d.tell(deed, true)
}

// done calls the API and makes sure where its answer does not.
func (d *apiDoor) done(ctx context.Context, deed kfDeed) error {
	err := deed.call(ctx)
	var e *wechat.Error
	unknown := errors.As(err, &e) && e.Fault == wechat.FaultUnknown && deed.seen != nil
	switch {
	case err != nil && !unknown:
		return d.refused(err)
	case unknown || deed.look:
		return d.look(ctx, deed, err)
	}
	return nil
}

// look asks the list whether a deed was done whose answer, failed or nil, does not prove it.
func (d *apiDoor) look(ctx context.Context, deed kfDeed, failed error) error {
	all, err := d.client.KFAccounts(ctx)
	switch {
	case err != nil && failed != nil:
		return d.refused(failed)
	case err != nil:
		d.warn("WeChat answered ok, but whether it was done could not be looked at: " + err.Error())
	case !deed.seen(all) && failed != nil:
		return fmt.Errorf("%w\nthe list does not show that it was done: do it again", failed)
	case !deed.seen(all):
		return fmt.Errorf("%s is not %s: WeChat answered ok and kept it, as it does at times; do it again", deed.account, deed.done)
	case failed != nil:
		d.notef("no usable answer came, but the list shows that it was done")
	}
	return nil
}

func (d *apiDoor) tell(deed kfDeed, changed bool) error {
	if d.format != formatTable {
		return d.value(kfDone{d.app.AppID, deed.account, deed.action, changed})
	}
	return d.printf("%s is %s\n", deed.account, deed.done)
}

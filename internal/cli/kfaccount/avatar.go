package kfaccount

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/kfaccount"
	"github.com/kefuhq/kefu/internal/wechat"
)

// avatar is `kefu kfaccount avatar`.
type avatar struct{ access }

func newAvatar(env *cli.Env) *cobra.Command {
	a := &avatar{access{env.Streams, env.API}}
	cmd := &cobra.Command{
		Use:   "avatar KFACCOUNT FILE",
		Short: "Give a kfaccount its picture",
		Long: `Uploads a picture that users see beside the kfaccount's messages: a JPG file, best
of 640 by 640 pixels.`,
		Example: `  kefu kfaccount avatar test1@test face.jpg`,
		Args:    cli.Args(2, 2, "KFACCOUNT or FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), args[0], args[1])
		},
	}
	return cmd
}

func (a *avatar) run(ctx context.Context, account, name string) error {
	if err := wechat.CheckKFAccount(account); err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: err}
	}
	picture, err := readPicture(name)
	if err != nil {
		return cli.Usagef("%w", err)
	}
	advice, err := wechat.CheckAvatar(picture)
	if bad := (*wechat.InputError)(nil); errors.As(err, &bad) {
		return cli.Usagef("%s: %s", name, bad.Rule)
	}
	api, err := a.api("")
	if err != nil {
		return err
	}
	defer api.Close()
	if advice != "" {
		a.streams.Warn(name + ": " + advice)
	}
	return a.do(ctx, api, change{
		action: "avatar", account: account, done: "given its picture",
		make: func(ctx context.Context) (kfaccount.Outcome, error) {
			return kfaccount.SetAvatar(ctx, api.Client, account, picture)
		},
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

package kfaccount

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/textfile"
	"github.com/kefuhq/kefu/internal/wechat"
)

// profile is the flags of add and update.
type profile struct {
	access
	nickname     string
	passwordFile string
}

func (p *profile) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.nickname, "nickname", "",
		"`name` that users see; limits.nickname says how long it may be")
	cmd.Flags().StringVar(&p.passwordFile, "password-file", "",
		"`file` with the password of the old web client (多客服), in clear text or as MD5; "+
			"- is standard input")
	_ = cmd.MarkFlagFilename("password-file") // the flag was added above
}

// wanted returns the change that the flags ask for. What can be checked without the API is.
func (p *profile) wanted(account string) (wechat.KFAccountChange, error) {
	change := wechat.KFAccountChange{Account: account, Nickname: p.nickname}
	if p.passwordFile == "" {
		return change, nil
	}
	password, err := p.readPassword(p.passwordFile)
	change.Password = wechat.HashPassword(password)
	return change, err
}

// readPassword reads a short text from a file: on a command line it would be in everybody's process
// list.
func (p *profile) readPassword(name string) (string, error) {
	in := p.streams.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", cli.Usagef("--password-file: %w", err)
		}
		defer f.Close() //nolint:errcheck // nothing was written
		in = f
	}
	const longest = 1024
	text, err := io.ReadAll(io.LimitReader(textfile.NewReader(in), longest+1))
	password := strings.TrimRight(string(text), "\r\n")
	switch {
	case err != nil:
		return "", cli.Usagef("--password-file: %w", err)
	case password == "":
		return "", cli.Usagef("--password-file: there is no password in it")
	case len(text) > longest:
		return "", cli.Usagef("--password-file: it is longer than %d bytes", longest)
	}
	return password, nil
}

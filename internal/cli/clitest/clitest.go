// Package clitest runs command lines in tests as the program would, but without a process around
// them. It is linked into no program.
package clitest

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/root"
)

// Try is one command line in a test: what the process would find around it.
type Try struct {
	Args    []string
	Stdin   string
	Environ []string
	File    string // text of the configuration file; empty for none
	Width   int    // of the terminal everything is connected to; 0 for pipes
	Ctx     context.Context
}

// Result is what came of it.
type Result struct {
	Code     int
	Out, Err string
}

// Ended returns a Result that a test expects.
func Ended(code int, out, err string) Result { return Result{code, out, err} }

// Run runs a command line. Nothing of the machine's environment or files gets in.
func Run(t *testing.T, c Try) Result {
	t.Helper()
	var out, err bytes.Buffer
	p := cli.Process{
		In: strings.NewReader(c.Stdin), Out: &out, Err: &err, Environ: c.Environ,
		Search:  []string{},
		Hangups: NoHangups,
	}
	folder := ""
	if c.File != "" {
		p.Search = []string{WriteConfig(t, c.File)}
		folder = filepath.Dir(p.Search[0]) + string(filepath.Separator)
	}
	if c.Width > 0 {
		p.Terminal = &cli.Terminal{In: true, Out: true, Err: true, Width: c.Width}
	}
	ctx := c.Ctx
	if ctx == nil {
		ctx = t.Context()
	}
	code := root.Run(ctx, c.Args, p)
	// Tests name the file as kefu.yaml.
	plain := func(b *bytes.Buffer) string {
		if folder == "" {
			return b.String()
		}
		return strings.ReplaceAll(b.String(), folder, "")
	}
	return Result{code, plain(&out), plain(&err)}
}

// WriteConfig writes a configuration file into a folder of its own and returns its path.
func WriteConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kefu.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// NoHangups is for a cli.Process that gets none.
func NoHangups() (<-chan os.Signal, func()) { return nil, func() {} }

// Args splits a command line at its blanks.
func Args(line string) []string { return strings.Fields(line) }

// TwoApps is a configuration file.
const TwoApps = `apps:
  - {appid: wx1, name: 旗舰店, secret_env: S, limits: {text_bytes: 3}}
  - {appid: wx2, secret_env: S}
`

// GoodPacket is a packet that every rule lets pass.
const GoodPacket = `{"touser":"o1","msgtype":"text","text":{"content":"hi"}}`

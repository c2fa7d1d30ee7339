package dead

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
)

func TestTheExitCodeSaysWhetherAnythingWasReplayed(t *testing.T) {
	t.Parallel()
	const refused = "20 letters in a row could not be published: refused"
	away := errors.New("the box is away")
	for what, c := range map[string]struct {
		result deadletter.Result
		err    error
		code   int
		says   string
	}{
		"interrupted before the first": {deadletter.Result{}, context.Canceled,
			cli.ExitFailed, "kefu: interrupted\n"},
		"the box went away before the first": {deadletter.Result{}, away, cli.ExitFailed,
			"kefu: the box is away\n"},
		"the box went away in the middle": {
			deadletter.Result{Replayed: 3}, away, cli.ExitPartly,
			"kefu: stopped: the box is away; run it again to go on\n",
		},
		"interrupted, and the audit did not answer": {
			deadletter.Result{Replayed: 3},
			errors.Join(context.Canceled, errors.New("audit: no answer")), cli.ExitPartly,
			"run it again to go on\nkefu: audit: no answer\n",
		},
		"stopped by refusals, nothing was replayed": {
			deadletter.Result{Failed: 20, Stopped: refused}, nil, cli.ExitFailed,
			"kefu: nothing was replayed: " + refused + "\n",
		},
		"stopped by refusals in the middle": {
			deadletter.Result{Replayed: 3, Failed: 20, Stopped: refused}, nil, cli.ExitPartly,
			"kefu: stopped: " + refused + "; run it again to go on\n",
		},
		"all were left in the box": {
			deadletter.Result{Skipped: 2, Failed: 1}, nil, cli.ExitFailed,
			"kefu: nothing was replayed: 3 letters were left in the box\n",
		},
		"some were left in the box": {deadletter.Result{Replayed: 1, Skipped: 1}, nil,
			cli.ExitPartly, "kefu: 1 letter was left in the box\n"},
		"one could not be taken out": {
			deadletter.Result{Replayed: 1, Kept: 1}, nil, cli.ExitPartly,
			"kefu: 1 letter was replayed but could not be taken out of the box: run it again\n",
		},
		"all were replayed": {deadletter.Result{Replayed: 3}, nil, cli.ExitDone, ""},
	} {
		var out, said strings.Builder
		env := cli.New(cli.Process{Out: &out, Err: &said})
		d := &replay{streams: env.Streams}
		cmd := &cobra.Command{RunE: func(*cobra.Command,
			[]string) error {
			return d.report(c.result, c.err)
		}}
		env.Frame(cmd)
		require.Equal(t, c.code, env.Execute(t.Context(), cmd, nil), what)
		require.Contains(t, said.String(), c.says, what)
	}
}

func TestTheExitCodeSaysWhetherAnythingWasDiscardedOrImported(t *testing.T) {
	t.Parallel()
	away := errors.New("the box is away")
	for what, c := range map[string]struct {
		done, left int
		err        error
		code       int
		says       string // of both
	}{
		"interrupted before the first": {0, 0, context.Canceled, cli.ExitFailed,
			"kefu: interrupted\n"},
		"interrupted in the middle": {3, 0, context.Canceled, cli.ExitPartly,
			"kefu: interrupted: "},
		"the box went away before the first": {0, 0, away, cli.ExitFailed,
			"kefu: the box is away\n"},
		"the box went away in the middle": {3, 0, away, cli.ExitPartly,
			"kefu: stopped: the box is away; run it again to "},
		"all were left":  {0, 2, nil, cli.ExitFailed, "kefu: nothing was "},
		"some were left": {1, 2, nil, cli.ExitPartly, "kefu: "},
		"all were done":  {3, 0, nil, cli.ExitDone, ""},
	} {
		report := func(of func(*cli.Streams) error) {
			var out, said strings.Builder
			env := cli.New(cli.Process{Out: &out, Err: &said})
			cmd := &cobra.Command{RunE: func(*cobra.Command, []string) error {
				return of(env.Streams)
			}}
			env.Frame(cmd)
			require.Equal(t, c.code, env.Execute(t.Context(), cmd, nil), what)
			require.Contains(t, said.String(), c.says, what)
		}
		report(func(s *cli.Streams) error {
			return (&discard{streams: s}).report(
				deadletter.DiscardResult{Discarded: c.done, Left: c.left}, c.err)
		})
		report(func(s *cli.Streams) error {
			return (&importing{streams: s}).report(
				deadletter.ImportResult{Imported: c.done, Refused: c.left}, c.err)
		})
	}
}

package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatChangesMuchAsksFirst(t *testing.T) {
	t.Parallel()
	ask := func(answer string, set func(*cli)) (string, error) {
		var err bytes.Buffer
		c := newCLI(nil, strings.NewReader(answer), nil, &err)
		c.tty = terminal{in: true, err: true}
		if set != nil {
			set(c)
		}
		return err.String(), c.confirm(t.Context(), "Discard 12 letters?")
	}
	for _, yes := range []string{"y\n", "Y\n", " yes \n", "是\n", "y"} {
		_, err := ask(yes, nil)
		require.NoError(t, err, yes)
	}
	for _, no := range []string{"\n", "n\n", "yeah\n", ""} {
		_, err := ask(no, nil)
		require.ErrorIs(t, err, errDeclined, no)
	}
	_, err := ask("", func(c *cli) { c.yes = true })
	require.NoError(t, err)
	for _, set := range []func(*cli){
		func(c *cli) { c.tty.in = false },
		func(c *cli) { c.tty.err = false },
	} {
		_, err := ask("y\n", set)
		require.EqualError(t, err, "Discard 12 letters? There is no terminal to ask on: add --yes if that is what you want")
		var exit *exitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, exitUsage, exit.code)
	}
}

func TestTheQuestionIsShownEvenWhenQuiet(t *testing.T) {
	t.Parallel()
	var err bytes.Buffer
	c := newCLI(nil, strings.NewReader("y\n"), nil, &err)
	c.tty, c.quiet = terminal{in: true, err: true}, true
	require.NoError(t, c.confirm(t.Context(), "Discard\x1b[2J 12 letters?"))
	require.Equal(t, "Discard[2J 12 letters? [y/N] ", err.String())
}

func TestAnInterruptEndsTheQuestion(t *testing.T) {
	t.Parallel()
	in, keyboard := io.Pipe()
	t.Cleanup(func() { require.NoError(t, keyboard.Close()) })
	c := newCLI(nil, in, nil, io.Discard)
	c.tty = terminal{in: true, err: true}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.confirm(ctx, "Discard?"), context.Canceled)
}

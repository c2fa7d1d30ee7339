package cli

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
	ask := func(answer string, set func(*Streams)) (string, error) {
		var err bytes.Buffer
		c := New(Process{In: strings.NewReader(answer), Err: &err}).Streams
		c.Terminal = Terminal{In: true, Err: true}
		if set != nil {
			set(c)
		}
		return err.String(), c.Confirm(t.Context(), "Discard 12 letters?")
	}
	for _, yes := range []string{"y\n", "Y\n", " yes \n", "是\n", "y"} {
		_, err := ask(yes, nil)
		require.NoError(t, err, yes)
	}
	for _, no := range []string{"\n", "n\n", "yeah\n", ""} {
		_, err := ask(no, nil)
		require.ErrorIs(t, err, errDeclined, no)
	}
	_, err := ask("", func(c *Streams) { c.Yes = true })
	require.NoError(t, err)
	for _, set := range []func(*Streams){
		func(c *Streams) { c.Terminal.In = false },
		func(c *Streams) { c.Terminal.Err = false },
	} {
		_, err := ask("y\n", set)
		require.EqualError(t, err,
			"Discard 12 letters? There is no terminal to ask on: add --yes if that is what you want")
		var exit *ExitError
		require.ErrorAs(t, err, &exit)
		require.Equal(t, ExitUsage, exit.Code)
	}
}

func TestTheQuestionIsShownEvenWhenQuiet(t *testing.T) {
	t.Parallel()
	var err bytes.Buffer
	c := New(Process{In: strings.NewReader("y\n"), Err: &err}).Streams
	c.Terminal, c.Quiet = Terminal{In: true, Err: true}, true
	require.NoError(t, c.Confirm(t.Context(), "Discard\x1b[2J 12 letters?"))
	require.Equal(t, "Discard[2J 12 letters? [y/N] ", err.String())
}

func TestAnInterruptEndsTheQuestion(t *testing.T) {
	t.Parallel()
	in, keyboard := io.Pipe()
	t.Cleanup(func() { require.NoError(t, keyboard.Close()) })
	c := New(Process{In: in, Err: io.Discard}).Streams
	c.Terminal = Terminal{In: true, Err: true}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, c.Confirm(ctx, "Discard?"), context.Canceled)
}

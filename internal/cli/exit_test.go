package cli

import (
	"bytes"
	"os"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

func TestHowACommandEndedIsItsExitCode(t *testing.T) {
	t.Parallel()
	for code, err := range map[int]error{
		ExitDone:    nil,
		ExitFailed:  os.ErrPermission,
		ExitUsage:   Usagef("that is no way to ask"),
		ExitNothing: Nothingf("nothing there"),
		ExitPartly:  Partlyf("3 of 5 done: %w", os.ErrPermission),
	} {
		c := New(Process{Out: &bytes.Buffer{}, Err: &bytes.Buffer{}})
		c.started = true
		require.Equal(t, code, c.exit(&cobra.Command{Use: "kefu"}, err))
	}
	require.ErrorIs(t, Partlyf("3 of 5 done: %w", os.ErrPermission), os.ErrPermission)
}

package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAPrivateFileThatIsInterruptedLeavesTheFileThatWasThere(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "letters.gz")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))
	_, err := PrivateFile(path, func(w io.Writer) (int, error) {
		_, err := io.WriteString(w, "half")
		require.NoError(t, err)
		return 1, context.Canceled
	})
	require.ErrorIs(t, err, context.Canceled)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "before", string(text))
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1)
}

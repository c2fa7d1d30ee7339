package cli

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestABuildIsOneLine(t *testing.T) {
	t.Parallel()
	require.Equal(t,
		"kefu 1.2.3 (3f2a91c0d1e2 with changes, 2026-11-24T09:00:00Z) go1.26 linux/arm64", Build{
			Version: "1.2.3", Commit: "3f2a91c0d1e2aaaaaaaa", Date: "2026-11-24T09:00:00Z",
			Modified: true, Go: "go1.26", OS: "linux", Arch: "arm64",
		}.String())
}

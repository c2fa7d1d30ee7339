package clitest

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Times of this machine's clock and zone.
var (
	aMoment       = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	aMomentOfYear = regexp.MustCompile(`\b\d\d-\d\d \d\d:\d\d\b`)
)

// Golden compares what was printed with testdata/name, which go test -update writes. Times in it
// count as equal.
func Golden(t *testing.T, name, printed string) {
	t.Helper()
	printed = aMoment.ReplaceAllString(printed, "YYYY-MM-DD hh:mm:ss")
	printed = aMomentOfYear.ReplaceAllString(printed, "MM-DD hh:mm")
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o750))
		require.NoError(t, os.WriteFile(path, []byte(printed), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), printed, "go test -update writes %s anew", path)
}

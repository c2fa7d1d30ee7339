package dead_test

import (
	"os"
	"path/filepath"
	"regexp"

	"github.com/kefuhq/kefu/internal/cli/clitest"
)

// Times of this machine's clock.
var (
	aMoment       = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	aMomentOfYear = regexp.MustCompile(`\b\d\d-\d\d \d\d:\d\d\b`)
)

// printedAs compares what was printed with testdata/name, which -update writes. Times count as
// equal.
func printedAs(o *clitest.Operation, name, printed string) {
	o.T.Helper()
	printed = aMoment.ReplaceAllString(printed, "YYYY-MM-DD hh:mm:ss")
	printed = aMomentOfYear.ReplaceAllString(printed, "MM-DD hh:mm")
	path := filepath.Join("testdata", name)
	if *update {
		o.NoError(os.WriteFile(path, []byte(printed), 0o600))
	}
	want, err := os.ReadFile(path)
	o.NoError(err)
	o.Equal(string(want), printed, "go test ./internal/cli/dead -run '%s' -update", o.T.Name())
}

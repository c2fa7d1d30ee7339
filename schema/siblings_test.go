package schema

import (
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

// The few are compared with strings.EqualFold and the crowd through fold: both must mean the same.
func TestFoldMeansEqualFold(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		folded := fold(string(r))
		if !strings.EqualFold(string(r), folded) {
			require.Fail(t, "fold changes the meaning", "%U", r)
		}
		for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
			require.Equal(t, folded, fold(string(other)), "%U and %U", r, other)
		}
	}
}

package cli_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
)

func TestTopKeepsWhatComesFirst(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for most := range 12 {
		numbers := r.Perm(10)
		want := slices.Sorted(slices.Values(numbers))
		if most > 0 {
			want = want[:min(most, len(want))]
		}
		top := cli.Top[int]{Most: most, Compare: cmp.Compare[int]}
		for _, n := range numbers {
			top.Add(n)
		}
		require.Equal(t, want, top.Rows(), "%d", most)
		require.Equal(t, 10, top.Count)
	}
}

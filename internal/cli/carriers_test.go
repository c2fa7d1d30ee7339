package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/pool"
)

func TestAnAppIsServedByAWorkerThatCarriesOutJobs(t *testing.T) {
	t.Parallel()
	apps := []string{"wx1", "wx2"}
	for what, c := range map[string]struct {
		workers []pool.Worker
		missing []string
	}{
		"nobody is there":             {nil, apps},
		"one serves both":             {[]pool.Worker{{Jobs: true, Apps: apps}}, nil},
		"one serves one":              {[]pool.Worker{{Jobs: true, Apps: apps[:1]}}, apps[1:]},
		"each serves one":             {[]pool.Worker{{Jobs: true, Apps: apps[:1]}, {Jobs: true, Apps: apps[1:]}}, nil},
		"it is of an earlier version": {[]pool.Worker{{Apps: apps}}, apps},
		"it leaves":                   {[]pool.Worker{{Jobs: true, Leaving: true, Apps: apps}}, apps},
	} {
		require.Equal(t, c.missing, uncarried(apps, c.workers), what)
	}
}

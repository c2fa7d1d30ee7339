package worker

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheOriginOfAPanic(t *testing.T) {
	t.Parallel()
	var none map[string]int
	for name, f := range map[string]func(){
		"a panic":                 func() { panic("a bug") },
		"of the runtime":          func() { none["x"] = 1 },
		"of a nil pointer":        func() { var d *delivery; d.attempt++ },
		"in somebody else's code": func() { require.Eventually(nil, nil, 0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				require.NotNil(t, recover())
				require.Regexp(t, `^worker/delivery_test\.go:1[2-9]$`, origin(debug.Stack()))
			}()
			f()
		})
	}
	require.Equal(t, "unknown", origin(debug.Stack()))
}

package schema_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestCancelSubject(t *testing.T) {
	t.Parallel()
	require.Equal(t, "$KV.KEFU_STATE.cancel.wx1.f3fcc311bb7466aa",
		schema.CancelSubject("wx1", "order-7"))
	require.NotEqual(t, schema.CancelSubject("wx1", "order-7"),
		schema.CancelSubject("wx1", "order-8"))
	for _, token := range crafted {
		require.Empty(t, schema.CancelSubject(token, "order-7"), "%q", token)
	}
}

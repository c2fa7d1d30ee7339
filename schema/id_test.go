package schema_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestCheckID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"1", "order 7/8", "~!@#$%^&*()", strings.Repeat("a", 128)} {
		require.NoError(t, schema.CheckID(id), "%q", id)
	}
	for _, tt := range []struct{ name, id, want string }{
		{"nothing", "", "id: empty, 1 to 128 bytes"},
		{"too long", strings.Repeat("a", 129), "id: 129 bytes, at most 128"},
		{"a blank in front", " a", "id: must not begin or end with a blank"},
		{"a blank behind", "a ", "id: must not begin or end with a blank"},
		{"a line break", "a\r\nKefu-Unknown: park", "id: must be printable ASCII"},
		{"a NUL", "a\x00b", "id: must be printable ASCII"},
		{"DEL", "a\x7Fb", "id: must be printable ASCII"},
		{"beyond ASCII", "订单", "id: must be printable ASCII"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.EqualError(t, schema.CheckID(tt.id), tt.want)
		})
	}
}

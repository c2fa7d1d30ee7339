package schema_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestCheckID(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"1", "order 7/8", "~!@#$%^&*()", strings.Repeat("a", 128), schema.DefaultID(time.Now(), 1<<64-1)} {
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

func TestDefaultID(t *testing.T) {
	t.Parallel()
	beijing := time.FixedZone("CST", 8*60*60)
	created := time.Date(2026, time.November, 24, 8, 15, 0, 123_999_999, beijing)
	require.Equal(t, "20261124T001500.123Z-42", schema.DefaultID(created, 42))
}

func TestBrokerMessageIDsAreNoIDsOfIntents(t *testing.T) {
	t.Parallel()
	ids := []string{
		schema.ReplayMsgID("wx1", "order-7", 2, 42),
		schema.ReplayMsgID("wx1", "order-7", 3, 42),
		schema.ReplayMsgID("wx1", "order-7", 2, 43),
		schema.ReplayMsgID("wx2", "order-7", 2, 42),
		schema.MovedMsgID("wx1", "order-7", 1, 2, 0, 7),
		schema.MovedMsgID("wx1", "order-7", 1, 2, 0, 8),
		schema.MovedMsgID("wx1", "order-7", 1, 2, 1, 7),
		schema.MovedMsgID("wx1", "order-7", 2, 1, 0, 7),
		schema.MovedMsgID("wx2", "order-7", 1, 2, 0, 7),
		schema.LetterMsgID("wx1", "order-7", 1, 42),
		schema.LetterMsgID("wx1", "order-7", 1, 43),
		schema.ReceiptMsgID("wx1", "order-7", 1),
	}
	require.Equal(t, []string{
		"wx1·order-7·2·replay·42",
		"wx1·order-7·3·replay·42",
		"wx1·order-7·2·replay·43",
		"wx2·order-7·2·replay·42",
		"wx1·order-7·1·2·0·from·7",
		"wx1·order-7·1·2·0·from·8",
		"wx1·order-7·1·2·1·from·7",
		"wx1·order-7·2·1·0·from·7",
		"wx2·order-7·1·2·0·from·7",
		"wx1·order-7·1·42",
		"wx1·order-7·1·43",
		"wx1·order-7·1",
	}, ids)
	for _, id := range ids {
		require.Error(t, schema.CheckID(id))
	}
}

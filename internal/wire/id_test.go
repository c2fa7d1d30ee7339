package wire_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestDefaultID(t *testing.T) {
	t.Parallel()
	beijing := time.FixedZone("CST", 8*60*60)
	created := time.Date(2026, time.November, 24, 8, 15, 0, 123_999_999, beijing)
	require.Equal(t, "20261124T001500.123Z-42", wire.DefaultID(created, 42))
	require.NoError(t, schema.CheckID(wire.DefaultID(created, 1<<64-1)))
}

func TestBrokerMessageIDsAreNoIDsOfIntents(t *testing.T) {
	t.Parallel()
	ids := []string{
		wire.ReplayMsgID("wx1", "order-7", 2, 42),
		wire.ReplayMsgID("wx1", "order-7", 3, 42),
		wire.ReplayMsgID("wx1", "order-7", 2, 43),
		wire.ReplayMsgID("wx2", "order-7", 2, 42),
		wire.MovedMsgID("wx1", "order-7", 1, 2, 0, 7),
		wire.MovedMsgID("wx1", "order-7", 1, 2, 0, 8),
		wire.MovedMsgID("wx1", "order-7", 1, 2, 1, 7),
		wire.MovedMsgID("wx1", "order-7", 2, 1, 0, 7),
		wire.MovedMsgID("wx2", "order-7", 1, 2, 0, 7),
		wire.LetterMsgID("wx1", "order-7", 1, 42),
		wire.LetterMsgID("wx1", "order-7", 1, 43),
		wire.ReceiptMsgID("wx1", "order-7", 1),
		wire.CampaignReceiptMsgID("wx1", "order-7"),
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
		"wx1·order-7·campaign",
	}, ids)
	for _, id := range ids {
		require.Error(t, schema.CheckID(id))
	}
}

package campaign

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

func TestAnIDFollowsFromAppCampaignAndRecipient(t *testing.T) {
	t.Parallel()
	p := broker.NewPseudonyms([]byte("the pool's key"))
	id := ID(p, "wx1", "double-11", "o1")
	require.Regexp(t, `^double-11-[a-z2-7]{26}$`, id)
	require.Equal(t, id, ID(p, "wx1", "double-11", "o1"))
	for _, other := range []string{
		ID(p, "wx2", "double-11", "o1"), ID(p, "wx1", "double-12", "o1"),
		ID(p, "wx1", "double-11", "o2"),
		ID(broker.NewPseudonyms([]byte("another key")), "wx1", "double-11", "o1"),
		schema.CampaignID("wx1", "double-11", "o1"),
	} {
		require.NotEqual(t, id[len(id)-26:], other[len(other)-26:])
	}
	long := strings.Repeat("c", 127)
	require.Len(t, ID(p, "wx1", long+"a", "o1"), 128)
	require.NoError(t, schema.CheckID(ID(p, "wx1", long+"a", "o1")))
	require.NotEqual(t, ID(p, "wx1", long+"a", "o1"), ID(p, "wx1", long+"b", "o1"))
}

package schema_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestACampaignsIDsAreThoseOfEveryVersion(t *testing.T) {
	t.Parallel()
	require.Equal(t, "double-11-22jm2yupjoqh6j4uae6xwb35r7",
		schema.CampaignID("wx0000000000000001", "double-11", "oAlice"),
		"with other ids, a campaign that is run again would be sent twice")
}

func TestACampaignsIDFollowsFromAppCampaignAndRecipient(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("c", 127)
	met := make(map[string]bool)
	for _, names := range [][3]string{
		{"wx1", "spring", "o1"}, {"wx2", "spring", "o1"}, {"wx1", "autumn", "o1"},
		{"wx1", "spring", "o2"}, {"wx1", long + "a", "o1"}, {"wx1", long + "b", "o1"},
	} {
		id := schema.CampaignID(names[0], names[1], names[2])
		require.NoError(t, schema.CheckID(id), "%v", names)
		require.NotContains(t, id, "o1")
		hash := id[len(id)-26:]
		require.False(t, met[hash], "%v", names)
		met[hash] = true
	}
}

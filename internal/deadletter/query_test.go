package deadletter

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestAFilterIsWrittenIntoAURLAndReadBack(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	all := Filter{AppID: "wx1", IDs: []string{"a,b", "c&d"}, Reasons: []schema.Reason{"unknown", "expired"},
		Errcodes: []int{-1, 45015}, Lane: schema.LaneBulk, Campaign: "spring", Source: "shop & co",
		OpenID: "oUser", Generation: 2, Since: now.Add(-time.Hour), Until: now, Text: "busy",
		Group: "7fb47d95", MinAttempts: 3}
	for name, f := range map[string]Filter{"nothing": {}, "everything": all} {
		values, err := url.ParseQuery(f.Query().Encode())
		require.NoError(t, err)
		got, err := ParseQuery(values, now)
		require.NoError(t, err, name)
		require.Equal(t, f.Query(), got.Query(), name)
		require.True(t, got.Since.Equal(f.Since), name)
	}
	for query, want := range map[string]string{
		"reason=tired": "reason", "errcode=x": "errcode", "since=tomorrow": "since", "group=1": "group",
		"lane=fast": "lane", "app=a.b": "app", "generation=-1": "generation", "min-attempts=many": "min-attempts",
		"since=1h&until=2h": "no time is left",
	} {
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		_, err = ParseQuery(values, now)
		require.ErrorContains(t, err, want, query)
	}
	relative, err := ParseQuery(url.Values{"since": {"24h"}}, now)
	require.NoError(t, err)
	require.Equal(t, now.Add(-24*time.Hour), relative.Since)
}

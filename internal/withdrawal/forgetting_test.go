package withdrawal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

// ordered has the person forgotten in wx1, and returns the order as it is stored.
func ordered(t *testing.T, conn *broker.Conn, openID string, campaigns ...string) Forgetting {
	t.Helper()
	f, err := Forget(t.Context(), conn, pseudonyms, "wx1", openID,
		Forgetting{By: "me", Campaigns: campaigns}, time.Hour)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), f.At, brokertest.Patience)
	return f
}

func is(openID string) func() string { return func() string { return openID } }

func TestAForgettingIsAboutWhatWasPublishedBeforeAndCampaignsThatHadBegun(t *testing.T) {
	t.Parallel()
	at := time.Now()
	f := Forgetting{At: at, Campaigns: []string{"begun"}}
	for _, row := range []struct {
		what, campaign string
		published      time.Time
		covered        bool
	}{
		{"live, from before", "", at.Add(-time.Hour), true},
		{"live, of that moment", "", at, true},
		{"live, from later", "", at.Add(1), false},
		{"of a campaign, from before", "another", at.Add(-1), true},
		{"of a campaign that begins later", "another", at.Add(1), false},
		{"of a campaign that had begun", "begun", at.Add(time.Hour), true},
		{"that does not say when", "", time.Time{}, true},
	} {
		require.Equal(t, row.covered, f.Covers(row.campaign, row.published), row.what)
	}
}

func TestAForgettingReachesEveryWorker(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	early := watch(t, conn)
	before := time.Now().Add(-time.Minute)
	require.False(t, early.Forgotten("wx1", "", before, is("o1")))
	f := ordered(t, conn, "o1", "begun")
	late := watch(t, b.Connect())
	for _, w := range []*Orders{early, late} {
		require.Eventually(t, func() bool { return w.Forgotten("wx1", "", before, is("o1")) },
			brokertest.Patience, time.Millisecond)
		require.True(t, w.Forgotten("wx1", "begun", f.At.Add(time.Hour), is("o1")))
		require.False(t, w.Forgotten("wx1", "", before, is("o2")), "somebody else")
		require.False(t, w.Forgotten("wx2", "", before, is("o1")), "another app")
		asked := func() string { t.Error("nobody need know who it is for"); return "o1" }
		require.False(t, w.Forgotten("wx1", "", f.At.Add(1), asked))
		require.False(t, w.Forgotten("wx1", "another", f.At.Add(1), asked))
		require.False(t, w.Has("wx1", "id-1", 1, before), "it is about no intent")
	}

	again := ordered(t, conn, "o1")
	require.True(t, again.At.After(f.At), "asked once more, it counts from then on")
	stored, ok, err := ReadForgetting(t.Context(), conn, pseudonyms, "wx1", "o1")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, Forgetting{By: "me", At: again.At}, stored)
	require.Eventually(t, func() bool { return early.Forgotten("wx1", "", again.At, is("o1")) },
		brokertest.Patience, time.Millisecond)
	require.False(t, early.Forgotten("wx1", "begun", again.At.Add(1), is("o1")))
}

func TestAForgettingEndsAndHoldsNoOpenID(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	w := watch(t, conn)
	before := time.Now().Add(-time.Minute)
	_, err := Forget(t.Context(), conn, pseudonyms, "wx1", "oPERSON1", Forgetting{}, time.Second)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return w.Forgotten("wx1", "", before, is("oPERSON1")) },
		brokertest.Patience, time.Millisecond)
	require.NoError(t, conn.Scan(t.Context(), wire.StreamState, broker.ScanOptions{},
		func(s broker.Stored) error {
			require.NotContains(t, s.Subject+string(s.Data), "oPERSON1")
			return nil
		}))
	require.Eventually(t, func() bool { return !w.Forgotten("wx1", "", before, is("oPERSON1")) },
		brokertest.Patience, time.Millisecond)
	require.Empty(t, w.persons)
}

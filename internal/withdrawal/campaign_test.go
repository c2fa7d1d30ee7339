package withdrawal

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestACancelledCampaignReachesEveryWorker(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	early := watch(t, conn)
	told := make(chan string, 2)
	early.OnCampaign(func(appID, campaign string) {
		if early.CampaignCancelled(appID, campaign) {
			told <- appID + " " + campaign
		}
	})
	require.False(t, early.CampaignCancelled("wx1", "summer"))
	order, fresh, err := CancelCampaign(t.Context(), conn, "wx1", "summer", "ann", time.Hour)
	require.NoError(t, err)
	require.True(t, fresh)
	require.Equal(t, "wx1 summer", <-told)
	late := watch(t, b.Connect())
	for _, w := range []*Orders{early, late} {
		require.True(t, w.CampaignCancelled("wx1", "summer"))
		require.False(t, w.CampaignCancelled("wx1", "summer-2"))
		require.False(t, w.CampaignCancelled("wx2", "summer"), "of another app")
		require.False(t, w.CampaignCancelled("wx1", ""), "what belongs to no campaign")
		require.False(t, w.Has("wx1", "summer", 1, time.Now()), "an intent of that name")
	}
	stored, ok, err := ReadCampaignOrder(t.Context(), conn, "wx1", "summer")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, order, stored)
	_, ok, err = ReadCampaignOrder(t.Context(), conn, "wx2", "summer")
	require.NoError(t, err)
	require.False(t, ok)
}

func TestTheFirstOrderAboutACampaignStands(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	first, fresh, err := CancelCampaign(t.Context(), conn, "wx1", "summer", "ann", time.Hour)
	require.NoError(t, err)
	require.True(t, fresh)
	second, fresh, err := CancelCampaign(t.Context(), conn, "wx1", "summer", "bob", time.Hour)
	require.NoError(t, err)
	require.False(t, fresh)
	require.Equal(t, first, second)

	key := campaignKey("wx1", "summer")
	stored, err := conn.Last(t.Context(), wire.StreamState, wire.StateKeys+key)
	require.NoError(t, err)
	require.Equal(t, "1h0m0s", stored.Header.Get("Nats-TTL"))
	orders := watch(t, conn)
	require.NoError(t, conn.SaveState(t.Context(), broker.DeleteState(key)))
	require.Eventually(t, func() bool { return !orders.CampaignCancelled("wx1", "summer") },
		brokertest.Patience, time.Millisecond)
	third, fresh, err := CancelCampaign(t.Context(), conn, "wx1", "summer", "bob", time.Hour)
	require.NoError(t, err)
	require.True(t, fresh, "there is none any more")
	require.Equal(t, "bob", third.By)
}

func TestAnOrderThatCannotBeReadStandsAllTheSame(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	m := broker.PutState(campaignKey("wx1", "summer"), []byte("{"), time.Hour)
	require.NoError(t, conn.SaveState(t.Context(), m))
	require.True(t, watch(t, conn).CampaignCancelled("wx1", "summer"))
	o, ok, err := ReadCampaignOrder(t.Context(), conn, "wx1", "summer")
	require.NoError(t, err)
	require.True(t, ok)
	require.False(t, o.At.IsZero())
}

func TestOnlyTokensNameACampaign(t *testing.T) {
	t.Parallel()
	var wrong *schema.FieldError
	_, _, err := CancelCampaign(t.Context(), nil, "wx1", "a.b", "ann", time.Hour)
	require.ErrorAs(t, err, &wrong)
	require.Equal(t, "campaign", wrong.Field)
}

func TestToAskForACampaignAllocatesNothing(t *testing.T) { // AllocsPerRun wants to be alone
	var none, one Orders
	one.campaigns.Store(&map[campaignOf]bool{{"wx1", "summer"}: true})
	for _, o := range []*Orders{&none, &one} {
		require.Zero(t, testing.AllocsPerRun(100, func() { o.CampaignCancelled("wx1", "winter") }))
	}
}

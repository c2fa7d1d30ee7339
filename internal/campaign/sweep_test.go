package campaign

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func TestTheReceiptOfACampaignCountsForAllOfItsIntents(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	began := time.Now()
	for _, r := range []schema.Receipt{
		{ID: "a", State: schema.StateSent},
		{ID: "b", State: schema.StateCancelled},
		{ID: "summer", State: schema.StateCancelled, Count: 90},
		{ID: "summer", State: schema.StateSent}, // an intent of that name
		{ID: "summer", State: schema.StateCancelled, Count: 97},
	} {
		r.AppID, r.Lane, r.Campaign = app, schema.LaneBulk, "summer"
		body, err := json.Marshal(r)
		require.NoError(t, err)
		_, err = conn.JS.Publish(t.Context(), schema.ReceiptSubject(app, r.State), body)
		require.NoError(t, err)
	}
	c, err := fromReceipts(t.Context(), conn, Record{AppID: app, Campaign: "summer",
		StartedAt: began})
	require.NoError(t, err)
	require.Equal(t, []int{2, 98}, []int{c.Sent, c.Cancelled})
}

func TestNothingIsSweptThatNobodyHasCancelled(t *testing.T) {
	t.Parallel()
	_, err := Sweep(t.Context(), brokertest.New(t, app), app, "summer", SweepOptions{})
	require.EqualError(t, err, "sweep campaign summer: nobody has cancelled it")
}

package campaign

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
)

func TestAFullQueueReachesTheCampaignAsSuch(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	spec := brokertest.Spec("wx1")
	spec.Apps[0].QueueMessages = 3
	brokertest.Provision(t, conn, spec)
	p, err := publisher.New(conn.JS)
	require.NoError(t, err)
	var intents []Intent
	for i := range 5 {
		packet := fmt.Appendf(nil, `{"touser":"o%d","msgtype":"text","text":{"content":"a"}}`, i)
		intents = append(intents, Intent{ID: fmt.Sprintf("id%d", i), JSON: packet})
	}
	accepted, err := PublisherQueue{p}.PublishBulk(t.Context(), "wx1", Terms{Campaign: "c"},
		intents)
	require.NoError(t, err)
	full := 0
	for _, a := range accepted {
		if a.Err != nil {
			require.ErrorIs(t, a.Err, ErrQueueFull)
			full++
		}
	}
	require.Equal(t, 2, full)
}

func TestAnOpenOutcomeIsNotTakenForAFullQueue(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct{ said, want, not error }{
		"the queue is full":  {publisher.ErrQueueFull, ErrQueueFull, ErrAway},
		"nobody answers":     {publisher.ErrOutcomeOpen, ErrAway, ErrQueueFull},
		"the broker is away": {publisher.ErrNotQueued, ErrAway, ErrQueueFull},
		"it became full, and was asked": {errors.Join(publisher.ErrOutcomeOpen,
			publisher.ErrQueueFull), ErrAway, ErrQueueFull},
	} {
		a := acceptedAs(publisher.Result{Err: c.said})
		require.ErrorIs(t, a.Err, c.want, what)
		require.NotErrorIs(t, a.Err, c.not, what)
	}
	require.Equal(t, Accepted{Duplicate: true},
		acceptedAs(publisher.Result{Accepted: publisher.Accepted{Duplicate: true}}))
}

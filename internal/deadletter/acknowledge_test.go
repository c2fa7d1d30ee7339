package deadletter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

func TestAnAcknowledgedGroupIsOpenAgainWhenItRecurs(t *testing.T) {
	t.Parallel()
	r := require.New(t)
	conn := brokertest.New(t, "wx1")
	box := deadletter.Open(conn)
	died := func(id string, at time.Time) {
		m, err := deadletter.Message(&schema.Letter{ID: id, AppID: "wx1", Generation: 1,
			Reason: schema.ReasonExhausted, Detail: "busy", DiedAt: at})
		r.NoError(err)
		_, err = conn.Outbox.PublishWait(t.Context(), m)
		r.NoError(err)
	}
	only := func() deadletter.Group {
		groups, err := box.Groups(t.Context(), deadletter.Filter{}, time.Now())
		r.NoError(err)
		r.Len(groups, 1)
		return groups[0]
	}
	died("a", time.Now().Add(-time.Minute))
	r.Nil(only().Acknowledged)
	a := deadletter.Acknowledgement{By: "li@desk", At: time.Now().UTC(), Note: "release 41"}
	r.NoError(box.Acknowledge(t.Context(), only().ID, a))
	r.Equal(&a, only().Acknowledged)

	found, err := box.Reopen(t.Context(), only().ID, "li@desk")
	r.NoError(err)
	r.True(found)
	r.Nil(only().Acknowledged)
	found, err = box.Reopen(t.Context(), only().ID, "li@desk")
	r.NoError(err)
	r.False(found)

	r.NoError(box.Acknowledge(t.Context(), only().ID, a))
	died("b", a.At.Add(time.Second))
	r.Nil(only().Acknowledged, "another letter died of the same")
	r.Error(box.Acknowledge(t.Context(), "no group", a))
}

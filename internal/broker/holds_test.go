package broker_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func TestHoldsSaysWhetherAMessageIsThere(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 3)
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	require.NoError(t, s.DeleteMsg(t.Context(), 2))
	for seq, want := range map[uint64]bool{1: true, 2: false, 3: true, 4: false} {
		held, err := conn.Holds(t.Context(), schema.StreamDead, seq)
		require.NoError(t, err)
		require.Equal(t, want, held, seq)
	}
	require.NoError(t, s.Purge(t.Context()))
	held, err := conn.Holds(t.Context(), schema.StreamDead, 1)
	require.NoError(t, err)
	require.False(t, held)
	_, err = conn.Holds(t.Context(), "NONE", 1)
	var refused *broker.APIError
	require.ErrorAs(t, err, &refused,
		"a stream that is not there does not say that it has no message")
}

func TestWhoMayNotAskForAMessageIsToldAtOnceAndAsksNoMore(t *testing.T) {
	t.Parallel()
	conn, log := connectDenied(t, "$JS.API.STREAM.MSG.GET.>")
	_, err := conn.JS.CreateStream(t.Context(),
		jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	require.NoError(t, err)
	_, err = conn.Holds(t.Context(), "S", 1)
	require.ErrorIs(t, err, broker.ErrMayNotGet)
	_, err = conn.Holds(t.Context(), "S", 1)
	require.ErrorContains(t, err, "not asked")
	require.Empty(t, conn.Denied(), "a worker does without")
	require.NotContains(t, log.String(), "permission")
}

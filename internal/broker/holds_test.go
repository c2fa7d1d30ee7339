package broker_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

func TestHoldsSaysWhetherAMessageIsThere(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	letters(t, conn, 3)
	s, err := conn.JS.Stream(t.Context(), "KEFU_DEAD")
	require.NoError(t, err)
	require.NoError(t, s.DeleteMsg(t.Context(), 2))
	for seq, want := range map[uint64]bool{1: true, 2: false, 3: true, 4: false} {
		held, err := conn.Holds(t.Context(), "KEFU_DEAD", seq)
		require.NoError(t, err)
		require.Equal(t, want, held, seq)
	}
	require.NoError(t, s.Purge(t.Context()))
	held, err := conn.Holds(t.Context(), "KEFU_DEAD", 1)
	require.NoError(t, err)
	require.False(t, held)
	_, err = conn.Holds(t.Context(), "NONE", 1)
	var refused *broker.APIError
	require.ErrorAs(t, err, &refused, "a stream that is not there does not say that it has no message")
}

func TestWhoMayNotAskForAMessageIsToldAtOnceAndAsksNoMore(t *testing.T) {
	t.Parallel()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(),
		Users: []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{">"}, Deny: []string{"$JS.API.STREAM.MSG.GET.>"}},
		}}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	s.Start()
	require.True(t, s.ReadyForConnections(brokertest.Patience))
	log := newLogbook()
	conn, err := broker.Connect(t.Context(), broker.Options{URL: strings.Replace(s.ClientURL(), "nats://", "nats://u:p@", 1), Log: log.logger()})
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.JS.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	require.NoError(t, err)
	_, err = conn.Holds(t.Context(), "S", 1)
	require.ErrorIs(t, err, broker.ErrMayNotGet)
	_, err = conn.Holds(t.Context(), "S", 1)
	require.ErrorContains(t, err, "not asked")
	require.Empty(t, conn.Denied(), "a worker does without")
	require.NotContains(t, log.String(), "permission")
}

package apps

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestTheStatusOfAnAppCountsItsOwnWaitingIntents(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1", "wx2")
	at := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for appID, ids := range map[string][]string{"wx1": {"a"}, "wx2": {"a", "b"}} {
		for _, id := range ids {
			m := nats.NewMsg(wire.LaterWaitSubject(appID, id))
			m.Header.Set("Nats-Schedule", "@at "+at)
			m.Header.Set("Nats-Schedule-Target", wire.LaterDueSubject(appID))
			_, err := conn.Outbox.PublishWait(t.Context(), m)
			require.NoError(t, err)
		}
	}
	for appID, want := range map[string]uint64{"wx1": 1, "wx2": 2} {
		s, err := StatusOf(t.Context(), conn, App{App: config.App{AppID: appID}, HasQueue: true})
		require.NoError(t, err)
		require.Equal(t, want, s.Waiting, appID)
	}
}

package worker

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

func TestWhatAnotherAppPutOffTakesNoRoomOfAnApp(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1", "wx2")
	m := nats.NewMsg(wire.LaterWaitSubject("wx2", "a"))
	m.Header.Set("Nats-Schedule", "@at "+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	m.Header.Set("Nats-Schedule-Target", wire.LaterDueSubject("wx2"))
	_, err := conn.Outbox.PublishWait(t.Context(), m)
	require.NoError(t, err)
	for appID, want := range map[string]bool{"wx1": true, "wx2": false} {
		share := &laterShare{conn: conn, appID: appID, limit: 1}
		room, _ := share.reserve(t.Context())
		require.Equal(t, want, room, appID)
	}
}

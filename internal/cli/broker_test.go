package cli

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
)

func TestACommandConnectsToTheConfiguredBroker(t *testing.T) {
	t.Parallel()
	server, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0",
		Dir: t.TempDir()})
	require.NoError(t, err)
	t.Cleanup(server.Close)
	var errs bytes.Buffer
	c := New(Process{
		Environ: []string{"KEFU_NATS_URL=" + server.URL()}, Err: &errs, Search: []string{},
	})
	conn, err := c.Broker.Connect(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	require.True(t, conn.Connected())
	require.Empty(t, errs.String())
}

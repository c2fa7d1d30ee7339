package broker_test

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

func TestTheServerConfigurationInDeployIsOne(t *testing.T) {
	t.Parallel()
	o, err := server.ProcessConfigFile("../../deploy/nats-server.conf")
	require.NoError(t, err)
	require.True(t, o.JetStream)
	require.True(t, o.SyncAlways, "what was acknowledged must survive a power cut")
	require.EqualValues(t, 1<<20, o.MaxPayload)
}

package broker_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

func TestTheServerConfigurationInDeployIsOne(t *testing.T) {
	t.Parallel()
	o, err := server.ProcessConfigFile("../../deploy/nats-server.conf")
	require.NoError(t, err)
	requireSafe(t, o)
	require.Empty(t, o.Users)
}

// Not in parallel: nats-server takes the passwords from the environment.
func TestTheServerConfigurationInDeployTakesTheRolesIn(t *testing.T) {
	hash := "$2a$11$" + strings.Repeat("x", 53)
	for _, role := range []string{"PROVISIONER", "WORKER", "OPERATOR", "VIEWER", "PRIVACY", "SHOP"} {
		t.Setenv(role+"_PASSWORD", `"`+hash+`"`)
	}
	const include = `# include "nats-roles.conf"`
	dir := t.TempDir()
	for _, name := range []string{"nats-server.conf", "nats-roles.conf"} {
		text, err := os.ReadFile(filepath.Join("../../deploy", name))
		require.NoError(t, err)
		if name == "nats-server.conf" {
			require.True(t, bytes.HasSuffix(text, []byte("\n"+include+"\n")))
			text = bytes.Replace(text, []byte(include), []byte(include[2:]), 1)
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}

	o, err := server.ProcessConfigFile(filepath.Join(dir, "nats-server.conf"))
	require.NoError(t, err)
	requireSafe(t, o)
	require.Len(t, o.Users, 6)
	for _, user := range o.Users {
		require.Equal(t, hash, user.Password)
		require.NotEmpty(t, user.Permissions.Publish.Allow, user.Username)
	}
}

func requireSafe(t *testing.T, o *server.Options) {
	t.Helper()
	require.True(t, o.JetStream)
	require.True(t, o.SyncAlways, "what was acknowledged must survive a power cut")
	require.EqualValues(t, 1<<20, o.MaxPayload)
}

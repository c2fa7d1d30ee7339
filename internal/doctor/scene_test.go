package doctor_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/doctor"
)

// as makes a user of deploy/nats-roles.conf the one who looks.
func (w *ward) as(user string) *ward {
	w.url = strings.Replace(w.url, "://", "://"+user+":secret@", 1)
	return w
}

func TestAnOperatorAndAViewerMayLookAtEverything(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"operator", "viewer"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			findings := newWard(t, nil, withoutRight("")).as(user).examine()
			require.Empty(t, of(findings, doctor.Warning, doctor.Error))
			require.Len(t, of(findings, doctor.Skipped), 1, "the disk")
			for _, f := range findings {
				if f.Check == "rights" {
					require.Equal(t, "user "+user+" has all rights of a role: "+user, f.Text)
				}
			}
		})
	}
}

// With the rights of an earlier version of deploy/nats-roles.conf.
func TestWhatAUserMayNotAskIsSkippedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWard(t, nil, withoutRight(`, "$JS.API.INFO", "$SYS.REQ.USER.INFO"`)).as("operator")
	begin := time.Now()
	findings := w.examine()
	require.Less(t, time.Since(begin), brokertest.Patience, "what is refused is never answered")
	require.Empty(t, of(findings, doctor.Warning, doctor.Error))
	said := make(map[string]string)
	for _, f := range of(findings, doctor.Skipped) {
		said[f.Check] = f.Text
	}
	require.Len(t, said, 3)
	require.Equal(t, "this user may not publish to $JS.API.INFO", said["jetstream"])
	require.Equal(t, "the broker does not tell this user its rights", said["rights"])
	require.Contains(t, said, "disk")
}

func TestEachServerOfAClusterIsAsked(t *testing.T) {
	t.Parallel()
	c := brokertest.StartCluster(t, "wx1")
	set := map[string]any{"nats.url": c.Servers[0].ClientURL(), "nats.replicas": "3",
		"worker.ledger.keep": "1h", "defaults.queue.messages": "1000000",
		"defaults.queue.bytes": "1GiB", "apps[0].appid": "wx1", "apps[0].secret_env": "S"}
	cfg, _, err := config.Load(config.Source{Flags: set, Search: []string{}})
	require.NoError(t, err)
	said := make(map[string]string)
	for _, f := range doctor.Examine(t.Context(), doctor.Options{Config: cfg,
		Wait: brokertest.Patience}) {
		said[f.Check] = f.Text
	}
	require.Equal(t, "3 servers, nats-server "+server.VERSION+" (needed: "+broker.MinServer+")",
		said["servers"])
	require.Equal(t, "3 copies on 3 servers", said["replicas"])
	require.Equal(t, "10 streams, all as they should be", said["objects"])
}

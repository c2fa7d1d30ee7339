package wiring

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
)

func TestBrokerOptions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		nats     config.NATS
		expected broker.Options
	}{
		{"elsewhere, with everything it takes",
			config.NATS{URL: "tls://h:1", CredsFile: "c",
				TLS: config.TLS{CAFile: "ca", CertFile: "cert", KeyFile: "key"}},
			broker.Options{URL: "tls://h:1", CredsFile: "c", CAFile: "ca", CertFile: "cert",
				KeyFile: "key"}},
		{"embedded in another process on this machine",
			config.NATS{URL: "embedded", Listen: "127.0.0.1:4333"},
			broker.Options{URL: "nats://127.0.0.1:4333"}},
		{"embedded, listening everywhere",
			config.NATS{URL: "embedded", Listen: ":4333", CredsFile: "c"},
			broker.Options{URL: "nats://127.0.0.1:4333"}},
		{"embedded, listening everywhere, said differently",
			config.NATS{URL: "embedded", Listen: "[::]:4333"},
			broker.Options{URL: "nats://127.0.0.1:4333"}},
	} {
		options, err := BrokerOptions(&config.Config{NATS: c.nats})
		require.NoError(t, err, c.name)
		require.Equal(t, c.expected, options, c.name)
	}
	_, err := BrokerOptions(&config.Config{NATS: config.NATS{URL: "embedded",
		Listen: "127.0.0.1:0"}})
	require.ErrorContains(t, err, "the embedded broker picks a free port")
}

package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wiring"
)

// A worker forces a new token when the endpoint keeps handing out one that is refused, if the
// pool's ration has a refresh left.
func TestForcedTokenRefreshesAreRationedForThePool(t *testing.T) {
	t.Parallel()
	conn := brokertest.Start(t).Connect()
	sb := sandbox.New(sandbox.Options{})
	url, err := sb.Listen("127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sb.Close()) })
	hc, err := wechat.NewHTTPClient(wechat.HTTPOptions{Timeout: 30 * time.Second})
	require.NoError(t, err)
	t.Cleanup(hc.CloseIdleConnections)
	cfg := &config.Config{WeChat: config.WeChat{BaseURL: url}}
	secret := func(config.App) (wechat.Secret, error) { return wechat.NewSecret("secret"), nil }

	send := func() error {
		tokens := wiring.TokenSource(hc, cfg.WeChat, config.App{AppID: "wx1"}, secret,
			gate.NewRefreshRation(conn, nil))
		defer tokens.(*wechat.StableToken).Close()
		sb.Add(sandbox.Rule{Call: "send", Errcode: 40001, Times: 2})
		return wechat.NewClient(hc, url, tokens).Send(t.Context(),
			[]byte(`{"touser":"oUser1","msgtype":"text","text":{"content":"x"}}`))
	}
	require.NoError(t, send())
	require.Equal(t, 1, sb.Count(sandbox.Filter{Call: "send", Delivered: true}))
	taken, err := conn.ReadState(t.Context(), "token.wx1.")
	require.NoError(t, err)
	require.Len(t, taken, 1)

	var e *wechat.Error
	require.ErrorAs(t, send(), &e)
	require.Equal(t, wechat.FaultConfig, e.Fault)
	require.ErrorContains(t, e, "no forced refresh is left for now")
	require.Equal(t, 1, sb.Count(sandbox.Filter{Call: "send", Delivered: true}))
}

func TestProvisionLogsWhatToDoAboutAnotherNumberOfShards(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	for _, provisions := range []bool{true, false} {
		cfg := &config.Config{Worker: config.Worker{Provision: provisions,
			Ledger: config.Ledger{Keep: brokertest.Keep}}}
		cfg.Apps = []config.App{{AppID: "wx1", Settings: config.Settings{
			LiveShards: 8, DuplicateWindow: 10 * time.Minute,
			Queue: config.Queue{Messages: 1_000_000, Bytes: 1 << 30},
		}}}
		var log bytes.Buffer
		require.NoError(t, provision(t.Context(), conn, cfg,
			slog.New(slog.NewTextHandler(&log, nil))))
		require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
		require.Contains(t, log.String(),
			`change="KEFU_SEND_wx1: live_shards is 4, wanted 8 (refused)"`)
		require.Contains(t, log.String(), "stop the workers, delete the stream KEFU_SEND_wx1")
	}
}

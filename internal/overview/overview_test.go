package overview

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/deadletter/lettertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

const wx1, wx2 = "wx0000000000000001", "wx0000000000000002"

// configured is a configuration with some apps.
func configured(ids ...string) *config.Config {
	settings := config.Settings{
		Rate: config.Rate{PerSecond: 100, PerDay: 1000}, ExpireAfter: 24 * time.Hour,
	}
	cfg := &config.Config{Defaults: settings}
	for i, id := range ids {
		cfg.Apps = append(cfg.Apps, config.App{AppID: id, Name: fmt.Sprint("旗舰店", i+1),
			Settings: settings})
	}
	return cfg
}

// bury puts letters into the box.
func bury(t testing.TB, conn *broker.Conn, letters ...*schema.Letter) {
	t.Helper()
	for _, l := range letters {
		m, err := deadletter.Message(l)
		require.NoError(t, err)
		_, err = conn.Outbox.PublishWait(t.Context(), m)
		require.NoError(t, err)
	}
}

func publish(t testing.TB, conn *broker.Conn, subject string, header ...string) {
	t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(`{"touser":"o1","msgtype":"text","text":{"content":"hi"}}`)
	for i := 0; i+1 < len(header); i += 2 {
		m.Header.Set(header[i], header[i+1])
	}
	_, err := conn.Outbox.PublishWait(t.Context(), m)
	require.NoError(t, err)
}

func hold(t testing.TB, conn *broker.Conn, appID string, h gate.Hold) {
	t.Helper()
	body, err := json.Marshal(h)
	require.NoError(t, err)
	require.NoError(t, conn.SaveState(t.Context(),
		broker.PutState(gate.AppKey(appID, h.Kind), body, 0)))
}

func TestTheFirstScreenOfAHeldApp(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, wx1, wx2)
	p, err := pool.Join(t.Context(), conn, pool.Worker{Name: "w1", Apps: []string{wx1, wx2}}, nil)
	_ = p
	require.NoError(t, err)
	hold(t, conn, wx1, gate.Hold{Kind: gate.Config, Call: "token", Errcode: 40164,
		Errmsg: "invalid ip 1.2.3.4", Since: time.Now().Add(-time.Minute),
		Until: time.Now().Add(5 * time.Minute), By: "w1"})
	publish(t, conn, "kefu.send."+wx1+".live.o1", "Kefu-Expires-At",
		time.Now().Add(30*time.Minute).UTC().Format(time.RFC3339))
	publish(t, conn, "kefu.send."+wx1+".bulk.c1")
	bury(t, conn, lettertest.Letter("a", lettertest.OfApp(wx2), lettertest.Code(45015)))

	o, err := Read(t.Context(), conn, configured(wx1, wx2))
	require.NoError(t, err)
	text, _ := json.MarshalIndent(o, "", " ")
	t.Log(string(text))
	require.Equal(t, apps.Held, o.Apps[0].State)
}

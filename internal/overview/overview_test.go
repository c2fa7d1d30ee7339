package overview

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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
	"github.com/kefuhq/kefu/internal/pulse"
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

var discard = slog.New(slog.DiscardHandler)

// saved has a worker that stops write its hours down.
func saved(t testing.TB, hours *pulse.Recorder, conn *broker.Conn) {
	t.Helper()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	hours.Keep(over, conn, "w1", discard)
}

// beating has a worker live for as long as a test.
func beating(t testing.TB, conn *broker.Conn, apps ...string) {
	t.Helper()
	p, err := pool.Join(t.Context(), conn, pool.Worker{Name: "w1", Apps: apps}, discard)
	require.NoError(t, err)
	t.Cleanup(func() { p.Leave(context.WithoutCancel(t.Context())) })
}

// furnished is a broker with one app that is held and one of which a letter died.
func furnished(t *testing.T) *broker.Conn {
	conn, now := brokertest.New(t, wx1, wx2), time.Now()
	beating(t, conn, wx1, wx2)
	hold(t, conn, wx1, gate.Hold{Kind: gate.Config, Call: "token", Errcode: 40164,
		Errmsg: "invalid ip 1.2.3.4", Since: now.Add(-time.Minute),
		Until: now.Add(5 * time.Minute), By: "w1"})
	publish(t, conn, "kefu.send."+wx1+".live.o1", schema.HeaderExpiresAt,
		now.Add(30*time.Minute).UTC().Format(time.RFC3339))
	publish(t, conn, "kefu.send."+wx1+".bulk.c1")
	bury(t, conn, lettertest.Letter("a", lettertest.OfApp(wx2), lettertest.Code(45015),
		func(l *schema.Letter) { l.DiedAt = now }))
	hours := pulse.NewRecorder()
	hours.App(wx2).Ended(now, schema.LaneLive, schema.StateSent, 100*time.Millisecond)
	saved(t, hours, conn)
	return conn
}

func TestTheFirstScreen(t *testing.T) {
	t.Parallel()
	o, err := Read(t.Context(), furnished(t), configured(wx1, wx2))
	require.NoError(t, err)
	require.Equal(t, []int{2, 1, 1, 1}, []int{o.Totals.Apps, o.Totals.Held, o.Totals.Workers,
		o.Totals.SentLastHour})
	require.EqualValues(t, 2, o.Totals.Queued)
	require.Equal(t, 1, *o.Totals.DeadLastDay)
	require.Zero(t, *o.Totals.Unknown)
	require.Equal(t, 2, o.Workers[0].Apps)

	held, open := o.Apps[0], o.Apps[1]
	require.Equal(t, []string{apps.Held, "config", "invalid ip 1.2.3.4"},
		[]string{held.State, held.Kind, held.Errmsg})
	require.True(t, held.Served)
	require.Equal(t, []uint64{1, 1}, []uint64{held.Live.Queued, held.Bulk.Queued})
	require.Equal(t, []int{2, 1}, []int{held.Expiring.Looked, held.Expiring.Soon})
	require.Equal(t, apps.Open, open.State)
	require.EqualValues(t, 1, open.Dead)
	require.Equal(t, 1, open.SentLastHour)
	require.InEpsilon(t, 0.1, open.P99, 0.3)
	require.Len(t, open.Points, pulse.Minutes)
	require.EqualValues(t, 1000, open.Day.Left)

	require.Len(t, o.Problems, 1)
	require.Equal(t, []string{"critical", IsHeld, wx1},
		[]string{string(o.Problems[0].Severity), o.Problems[0].Kind, o.Problems[0].App})
	require.Len(t, o.Dead.Groups, 1)
	require.Nil(t, o.Dead.Groups[0].Acknowledged)
	require.Equal(t, "旗舰店2", o.Dead.Groups[0].Name)
	require.NotEmpty(t, o.Dead.Groups[0].Means.Zh)
	require.Len(t, o.Campaigns.Rows, 1, "one that was published straight")
	require.Equal(t, "c1", o.Campaigns.Rows[0].Campaign)

	text, err := json.Marshal(o)
	require.NoError(t, err)
	for _, list := range []string{"workers", "apps", "problems", "groups", "rows", "points"} {
		require.NotContains(t, string(text), `"`+list+`":null`, "scripts rely on a list")
	}
}

func TestAnAcknowledgementIsSeenBeforeTheLettersAreCountedAgain(t *testing.T) {
	t.Parallel()
	conn := furnished(t)
	bury(t, conn, lettertest.Letter("b", lettertest.OfApp(wx1), lettertest.Code(40003),
		func(l *schema.Letter) { l.DiedAt = time.Now() }))
	var s snapshot
	var err error
	s.died.value, err = readDied(t.Context(), conn)
	require.NoError(t, err)
	first := s.groups()[0]
	require.NoError(t, deadletter.Open(conn).Acknowledge(t.Context(), first.ID,
		deadletter.Acknowledgement{By: "ann@desk", At: time.Now()}))
	s.stand.value, err = readStand(t.Context(), conn, configured(wx1, wx2))
	require.NoError(t, err)
	groups := s.groups()
	require.Equal(t, first.ID, groups[1].ID, "it stands behind what nobody looks after")
	require.Equal(t, "ann@desk", groups[1].Acknowledged.By)
}

func TestLookingChangesNothingAndMakesNoConsumer(t *testing.T) {
	t.Parallel()
	conn := furnished(t)
	k := NewKeeper(conn, func() *config.Config { return configured(wx1, wx2) })
	for range 3 {
		o, err := k.Look(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, o.Totals.Held)
	}
	require.Eventually(t, func() bool {
		o, err := k.Look(t.Context())
		return err == nil && !o.Dead.Counting && o.Apps[0].Expiring != nil && !o.Jobs.At.IsZero()
	}, time.Minute, time.Millisecond)
	k.Close()
	_, err := k.Look(t.Context())
	require.ErrorIs(t, err, context.Canceled)
	queue, err := conn.JS.Stream(t.Context(), schema.SendStream(wx1))
	require.NoError(t, err)
	require.EqualValues(t, 2, queue.CachedInfo().State.Msgs)
	require.Zero(t, queue.CachedInfo().State.Consumers)
}

func TestABrokerWithoutAnythingHasAFirstScreen(t *testing.T) {
	t.Parallel()
	o, err := Read(t.Context(), brokertest.New(t), configured())
	require.NoError(t, err)
	require.Empty(t, o.Problems)
	require.Zero(t, o.Totals.Apps)
	o, err = Read(t.Context(), brokertest.New(t), configured(wx1))
	require.NoError(t, err)
	require.Equal(t, apps.NoQueue, o.Apps[0].State)
}

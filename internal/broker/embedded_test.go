package broker_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

func TestAnEmbeddedBrokerOnAPortThatIsTakenSaysSoInOneSentence(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	_, err = broker.StartEmbedded(broker.EmbeddedOptions{Listen: l.Addr().String(),
		Dir: t.TempDir()})
	require.ErrorIs(t, err, broker.ErrAddressInUse)
	require.EqualError(t, err,
		"embedded broker cannot listen at "+l.Addr().String()+
			": address already in use (is another broker or kefu running?)")
}

func TestAnEmbeddedBrokerRefusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, listen, want string }{
		{"a port alone", "4222", "want host:port"},
		{"a port that is a word", "127.0.0.1:nats", "the port must be 0..65535"},
		{"a port that is too high", "127.0.0.1:65536", "the port must be 0..65535"},
		{"a port below zero", "127.0.0.1:-1", "the port must be 0..65535"},
		{"an address of another machine", "192.0.2.1:4222", "cannot assign requested address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: c.listen,
				Dir: t.TempDir()})
			require.ErrorContains(t, err, c.want)
			require.NotErrorIs(t, err, broker.ErrAddressInUse)
		})
	}
}

func TestAnEmbeddedBrokerThatCannotWriteSaysWhy(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0", Dir: file})
	require.ErrorContains(t, err, file)
}

func TestAnEmbeddedBrokerThatCannotStartItsStreamsSaysWhyAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600))
	begin := time.Now()
	_, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0", Dir: dir})
	require.ErrorContains(t, err, "Can't start JetStream")
	require.Less(t, time.Since(begin), 5*time.Second)
}

func TestTwoEmbeddedBrokersDoNotShareAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0", Dir: dir})
	require.NoError(t, err)
	_, err = broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0", Dir: dir})
	require.ErrorIs(t, err, broker.ErrFolderInUse)
	require.EqualError(t, err,
		"embedded broker: another broker keeps its files there: "+dir+" (is another kefu running?)")
	e.Close()
	e, err = broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0", Dir: dir})
	require.NoError(t, err)
	e.Close()
	e.Close() // twice does no harm
}

func TestAnEmbeddedBrokerWithoutAFolderRemovesItsOwn(t *testing.T) {
	t.Parallel()
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	require.NoError(t, err)
	require.DirExists(t, e.Dir)
	e.Close()
	require.NoDirExists(t, e.Dir)
}

func TestAnEmbeddedBrokerTakesConnectionsWithoutASocket(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	conn := b.ConnectWith(broker.Options{InProcess: b.Embedded().Server})
	_, err := conn.Outbox.PublishWait(t.Context(), nats.NewMsg("kefu.send.wx1.bulk.c"))
	require.NoError(t, err)
}

func TestAnEmbeddedBrokerKeepsItsStreamsOverARestart(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	conn := b.Connect()
	_, err := conn.Outbox.PublishWait(t.Context(), nats.NewMsg("kefu.send.wx1.bulk.c"))
	require.NoError(t, err)
	back := brokertest.Reconnected(t, conn)
	b.Restart()
	brokertest.Await(t, back, "the reconnect")
	s, err := conn.Get(t.Context(), schema.SendStream("wx1"), 1)
	require.NoError(t, err)
	require.Equal(t, "kefu.send.wx1.bulk.c", s.Subject)
}

func TestAnEmbeddedBrokerPromisesMoreThanTheDiskHas(t *testing.T) {
	t.Parallel()
	spec := brokertest.Spec("wx1", "wx2")
	for i := range spec.Apps {
		spec.Apps[i].QueueBytes = 16 << 40
	}
	conn := brokertest.Bare(t).Connect()
	brokertest.Provision(t, conn, spec)
}

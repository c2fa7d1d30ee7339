package broker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// swept is what Sweep reads of the letters. meanwhile is called at each.
func swept(
	t *testing.T, conn *broker.Conn, o broker.ScanOptions, meanwhile func(n int),
) (all []broker.Stored) {
	t.Helper()
	require.NoError(t, conn.Sweep(t.Context(), schema.StreamDead, o, func(s broker.Stored) error {
		all = append(all, s)
		if meanwhile != nil {
			meanwhile(len(all))
		}
		return nil
	}))
	return all
}

func dead(t *testing.T, conn *broker.Conn) jetstream.Stream {
	t.Helper()
	s, err := conn.JS.Stream(t.Context(), schema.StreamDead)
	require.NoError(t, err)
	return s
}

func TestSweepReadsWhatScanReads(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	const n = 1500
	letters(t, conn, n)
	s := dead(t, conn)
	for i := uint64(1); i <= n; i++ {
		if i <= 3 || i > 10 && i <= 300 || i == 1000 || i == n {
			require.NoError(t, s.DeleteMsg(t.Context(), i))
		}
	}
	middle := stored(t, conn, schema.StreamDead, broker.ScanOptions{Seq: 700})[0].Time
	for name, o := range map[string]broker.ScanOptions{
		"everything":                  {},
		"by subject":                  {Subject: "kefu.dead.wx1.rejected"},
		"nothing has the subject":     {Subject: "kefu.dead.*.poison"},
		"no letter can have it":       {Subject: "kefu.send.wx1.>"},
		"from a sequence":             {Seq: 1400},
		"from one that is gone":       {Seq: 20},
		"from beyond the end":         {Seq: n + 10},
		"through a sequence":          {Seq: 500, Through: 510},
		"through one before the rest": {Through: 3},
		"from a time":                 {Since: middle},
		"from a time by subject":      {Since: middle, Subject: "kefu.dead.wx2.*"},
		"from a time in the future":   {Since: time.Now().Add(time.Hour)},
	} {
		want := stored(t, conn, schema.StreamDead, o)
		got := swept(t, conn, o, nil)
		require.Equal(t, bodies(want), bodies(got), name)
		for i := range got {
			require.Equal(t, want[i].Seq, got[i].Seq, name)
			require.Equal(t, want[i].Subject, got[i].Subject, name)
			require.True(t, want[i].Time.Equal(got[i].Time), name)
			require.Equal(t, want[i].Header, got[i].Header, name)
		}
	}
	require.Eventually(t, func() bool {
		info, err := s.Info(t.Context())
		return err == nil && info.State.Consumers == 0
	}, brokertest.Patience, 10*time.Millisecond, "reading leaves no trace")
}

func TestSweepGoesOnWithoutItsConsumer(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	const n = 2000
	letters(t, conn, n)
	s := dead(t, conn)
	all := swept(t, conn, broker.ScanOptions{}, func(n int) {
		if n != 100 {
			return
		}
		for name := range s.ConsumerNames(t.Context()).Name() {
			require.NoError(t, s.DeleteConsumer(t.Context(), name))
		}
	})
	require.Equal(t, numbers(1, n+1), bodies(all))
}

func TestSweepEndsAlthoughTheLastLettersAreGone(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	const n = 1500
	letters(t, conn, n)
	s := dead(t, conn)
	all := swept(t, conn, broker.ScanOptions{}, func(at int) {
		if at == 1 {
			require.NoError(t, s.Purge(t.Context(), jetstream.WithPurgeSubject("kefu.dead.wx2.>")))
		}
	})
	require.Less(t, len(all), n)
	require.Equal(t, "1499", string(all[len(all)-1].Data))
}

func TestSweepReadsAWorkQueueAsScanDoes(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	p := newPulled(t, conn, 5)
	p.Request(2)
	p.take(2)
	n := 0
	require.NoError(t, conn.Sweep(t.Context(), queue, broker.ScanOptions{},
		func(broker.Stored) error { n++; return nil }))
	require.Equal(t, 5, n)
	require.EqualValues(t, 3, p.info().NumPending)
}

func TestSweepEndsAsItsFunctionOrItsContextSays(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	conn := b.Connect()
	letters(t, conn, 600)
	sweep := func(ctx context.Context, stream string, f func(n int) error) (n int, err error) {
		err = conn.Sweep(ctx, stream, broker.ScanOptions{}, func(broker.Stored) error {
			n++
			return f(n)
		})
		return n, err
	}
	n, err := sweep(t.Context(), schema.StreamDead, func(n int) error {
		if n == 520 {
			return broker.ErrStopScan
		}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 520, n)

	broken := errors.New("broken")
	_, err = sweep(t.Context(), schema.StreamDead, func(int) error { return broken })
	require.ErrorIs(t, err, broken)

	ctx, cancel := context.WithCancel(t.Context())
	n, err = sweep(ctx, schema.StreamDead, func(n int) error {
		if n == 3 {
			cancel()
		}
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 3, n)

	_, err = sweep(t.Context(), "MISSING", func(int) error { return nil })
	require.ErrorIs(t, err, broker.ErrNoStream)
	b.Stop()
	require.Eventually(t, func() bool { return !conn.Connected() }, brokertest.Patience,
		time.Millisecond)
	_, err = sweep(t.Context(), schema.StreamDead, func(int) error { return nil })
	require.ErrorIs(t, err, broker.ErrAway)
}

func TestSweepNeedsNoRightToConsumers(t *testing.T) {
	t.Parallel()
	for _, forbidden := range []string{"$JS.API.CONSUMER.CREATE.>", "$JS.API.CONSUMER.MSG.NEXT.>"} {
		conn, log := connectDenied(t, forbidden)
		brokertest.Provision(t, conn, brokertest.Spec())
		letters(t, conn, 10)
		require.Equal(t, numbers(1, 11), bodies(swept(t, conn, broker.ScanOptions{}, nil)))
		require.Empty(t, conn.Denied(), "nothing is missing")
		require.NotContains(t, log.String(), "permission")
	}
}

// Package replaytest carries out replays in tests, without a whole worker.
package replaytest

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/replay"
)

// Start joins the pool as a worker that carries out the replays of some apps and nothing else: what
// they publish stays in the queues. It leaves when stop is called, or the test ends.
func Start(t testing.TB, conn *broker.Conn, settings replay.Settings) (stop func()) {
	t.Helper()
	name := pool.NewName("test")
	log := slog.New(slog.DiscardHandler)
	book, err := ledger.Open(t.Context(), conn, ledger.Options{Worker: name, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	member, err := pool.Join(t.Context(), conn, pool.Worker{
		Name: name, Started: time.Now(), Jobs: true, Apps: slices.Sorted(maps.Keys(settings.Apps)),
	}, log)
	if err != nil {
		t.Fatal(err)
	}
	work := replay.NewWork(conn, book, func() replay.Settings { return settings })
	runner := job.NewRunner(conn, name, member, map[job.Kind]job.Work{job.KindReplay: work}, log)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- runner.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			member.Leave(context.WithoutCancel(ctx))
			book.Close()
		})
	}
	t.Cleanup(stop)
	return stop
}

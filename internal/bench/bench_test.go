package bench

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestALoadThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	good := Load{
		Apps: 10, Recipients: 100, Backlog: 1, Rate: 10, Duration: time.Second, Workers: 1,
		Concurrency: 1, PerSecond: 1, Burst: 1, Shards: 1,
	}
	require.NoError(t, good.Check())
	for name, row := range map[string]struct {
		change func(*Load)
		want   string
	}{
		"no app":          {func(l *Load) { l.Apps = 0 }, "at least one app"},
		"fewer than none": {func(l *Load) { l.HeldApps = -1 }, "below zero"},
		"no app that is healthy": {
			func(l *Load) { l.SlowApps, l.FailingApps, l.HeldApps = 5, 4, 1 },
			"10 of 10 apps",
		},
		"nothing to send":          {func(l *Load) { l.Backlog, l.Rate = 0, 0 }, "nothing to send"},
		"a rate that never is":     {func(l *Load) { l.Duration = 0 }, "duration"},
		"more live than there are": {func(l *Load) { l.LiveShare = 1.1 }, "0..1"},
		"nothing but faults":       {func(l *Load) { l.Faults = 1 }, "0..0.9"},
		"nobody who works":         {func(l *Load) { l.Workers = 0 }, "worker"},
		"no budget":                {func(l *Load) { l.PerSecond = 0 }, "budget"},
		"idle with a backlog":      {func(l *Load) { l.Idle = time.Second }, "not idle"},
	} {
		l := good
		row.change(&l)
		require.ErrorContains(t, l.Check(), row.want, name)
	}
}

func TestTheCeilingIsSlotsOverLatency(t *testing.T) {
	t.Parallel()
	l := Load{Workers: 2, Concurrency: 64}
	require.Zero(t, l.ceiling(), "no latency, no ceiling")
	l.Latency.Min = 50 * time.Millisecond
	require.Equal(t, 2560.0, l.ceiling())
	l.Latency.Min, l.Latency.Max = 20*time.Millisecond, 80*time.Millisecond
	require.Equal(t, 2560.0, l.ceiling(), "drawn evenly, 50 ms on average")
}

func TestContendersAreComparedRoundByRound(t *testing.T) {
	t.Parallel()
	run := func(name string, round int, perSecond float64) Run {
		return Run{Contender: name, Round: round, PerSecond: perSecond, Finished: true}
	}
	report := newReport([]Contender{{Name: "a"}, {Name: "b"}}, []Run{
		run("a", 1, 100), run("b", 1, 200), run("b", 2, 50), run("a", 2, 50), run("a", 3, 90),
		run("b", 3, 300),
	})
	require.Equal(t, 90.0, report.Contenders[0].Medians["per_second"])
	require.Equal(t, 200.0, report.Contenders[1].Medians["per_second"])
	require.Equal(t, Comparison{Key: "per_second", Median: 0.5, Low: 0.3, High: 1},
		report.Ratios[0])
	require.NotContains(t, report.Contenders[0].Medians, "live_p99_ms",
		"nothing was offered, so nothing took its time")
	require.NotContains(t, report.Contenders[0].Medians, "worker_cpu_us",
		"what is not known is not reported as zero")
	require.True(t, report.Complete())
	for _, bad := range []Run{{Finished: false}, {Finished: true, Intents: Intents{Lost: 1}},
		{Finished: true, Intents: Intents{Repeated: 1}}} {
		require.False(t, (&Report{Runs: []Run{bad}}).Complete())
	}
}

// The test's own binary is no kefu: it says PASS, or what is wrong with its flags, where a process
// of a run says hello.
func TestAProcessThatDoesNotWorkSaysWhy(t *testing.T) {
	t.Parallel()
	b := Bench{Program: os.Args[0], Environ: os.Environ()}
	_, err := b.start(t.Context(), "worker", "-test.run=(")
	require.ErrorContains(t, err, "the worker: ")
	require.ErrorContains(t, err, "-test.run")

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.start(ended, "worker", "-test.run=^$")
	require.Error(t, err)
}

func TestTheTailIsTheLastLines(t *testing.T) {
	t.Parallel()
	var tl tail
	_, err := tl.Write([]byte(strings.Repeat("early\n", 30) + "la"))
	require.NoError(t, err)
	_, err = tl.Write([]byte("te\nunfinished"))
	require.NoError(t, err)
	got := strings.Split(tl.String(), "\n")
	require.Len(t, got, tailLines+1)
	require.Equal(t, []string{"late", "unfinished"}, got[len(got)-2:])
}

package dead

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/replay"
)

func TestTheExitCodeSaysWhetherAnythingWasReplayed(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		status replay.Status
		apart  int
		code   int
		says   string
	}{
		"all were replayed": {status: replay.Status{State: job.StateDone, Published: 3}},
		"some died again":   {status: replay.Status{State: job.StateDone, Published: 3, Dead: new(3)}},
		"some were left in the box": {
			replay.Status{State: job.StateDone, Published: 1, Left: 1}, 0, cli.ExitPartly,
			"kefu: 1 letter was left in the box\n",
		},
		"those of an app without a queue were left": {
			replay.Status{State: job.StateDone, Published: 1}, 2, cli.ExitPartly,
			"kefu: 2 letters were left in the box\n",
		},
		"all were left in the box": {
			replay.Status{State: job.StateDone, Left: 3}, 0, cli.ExitFailed,
			"kefu: nothing was replayed: 3 letters were left in the box\n",
		},
		"all went by somebody else": {
			replay.Status{State: job.StateDone, Gone: 2}, 0, cli.ExitFailed,
			"kefu: nothing was replayed: somebody else took 2 letters out of the box meanwhile\n",
		},
		"it was not watched to its end": {
			replay.Status{State: job.StateRunning, Published: 1}, 0, cli.ExitPartly,
			"kefu: interrupted: only the watching has ended, replay k3vq goes on; " +
				"kefu dead replays watch k3vq comes back to it\n",
		},
		"nobody has begun it": {
			replay.Status{State: job.StatePlanned}, 0, cli.ExitPartly,
			"kefu: interrupted: only the watching has ended, replay k3vq is stored; " +
				"kefu dead replays watch k3vq comes back to it\n",
		},
		"it is paused": {
			replay.Status{State: job.StatePaused, Published: 1}, 0, cli.ExitPartly,
			"kefu: an operator has paused replay k3vq: kefu dead replays resume k3vq lets it go on\n",
		},
		"it has halted": {
			replay.Status{State: job.StateHalted, Published: 100, Halted: "the first 100 of wx1 died again"},
			0, cli.ExitPartly,
			"kefu: replay k3vq has halted: the first 100 of wx1 died again; " +
				"kefu dead replays resume k3vq lets it go on, kefu dead replays abort k3vq ends it\n",
		},
		"it was aborted before the first": {
			replay.Status{State: job.StateAborted, Left: 3}, 0, cli.ExitFailed,
			"kefu: nothing was replayed: replay k3vq was aborted\n",
		},
		"it was aborted in the middle": {
			replay.Status{State: job.StateAborted, Published: 3, Left: 3}, 0, cli.ExitPartly,
			"kefu: replay k3vq was aborted: 3 letters were left in the box\n",
		},
	} {
		var out, said strings.Builder
		env := cli.New(cli.Process{Out: &out, Err: &said})
		c.status.Job = "k3vq"
		d := &resend{streams: env.Streams}
		cmd := &cobra.Command{RunE: func(*cobra.Command, []string) error {
			return d.report(c.status, c.apart)
		}}
		env.Frame(cmd)
		require.Equal(t, c.code, env.Execute(t.Context(), cmd, []string{}), what)
		require.Contains(t, said.String(), c.says, what)
	}
}

func TestWatchingEndsWhenNothingMovesAnyMore(t *testing.T) {
	t.Parallel()
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	of := func(state job.State, published, sent int) replay.Status {
		s := replay.Status{State: state, Published: published, Sent: &sent, Dead: new(0), Cancelled: new(0)}
		if state.Final() {
			s.FinishedAt = at(1)
		}
		return s
	}
	uncounted := of(job.StateDone, 5, 0)
	uncounted.Sent, uncounted.Dead = nil, nil
	cancelled := of(job.StateDone, 5, 4)
	cancelled.Cancelled = new(1)
	unfinished := of(job.StateAborted, 5, 5)
	unfinished.FinishedAt = time.Time{}
	for what, c := range map[string]struct {
		seen []replay.Status // one a second
		over bool            // at the last of them, and not before
	}{
		"it runs":                      {[]replay.Status{of(job.StateRunning, 5, 5)}, false},
		"it stands still, but goes on": {slices.Repeat([]replay.Status{of(job.StateRunning, 5, 5)}, 9), false},
		"all have ended":               {[]replay.Status{of(job.StateDone, 5, 5)}, true},
		"one was cancelled":            {[]replay.Status{cancelled}, true},
		"nobody counts":                {[]replay.Status{uncounted}, true},
		"one is on its way":            {slices.Repeat([]replay.Status{of(job.StateDone, 5, 4)}, 3), false},
		"one does not move":            {slices.Repeat([]replay.Status{of(job.StateDone, 5, 4)}, 4), true},
		"they move": {[]replay.Status{
			of(job.StateDone, 5, 1), of(job.StateDone, 5, 1), of(job.StateDone, 5, 2),
			of(job.StateDone, 5, 2), of(job.StateDone, 5, 3), of(job.StateDone, 5, 3),
		}, false},
		"it is paused, and a step is counted": {[]replay.Status{
			of(job.StatePaused, 3, 3), of(job.StatePaused, 3, 3), of(job.StatePaused, 5, 5),
		}, false},
		"it is paused, and nothing comes": {slices.Repeat([]replay.Status{of(job.StatePaused, 3, 3)}, 4), true},
		"it is resumed meanwhile": {[]replay.Status{
			of(job.StatePaused, 3, 3), of(job.StatePaused, 3, 3), of(job.StatePaused, 3, 3),
			of(job.StateRunning, 3, 3),
		}, false},
		"it was aborted, and a step may be open": {[]replay.Status{unfinished}, false},
		"it was aborted, and no worker is there": {slices.Repeat([]replay.Status{unfinished}, 4), true},
	} {
		var p progress
		for i, s := range c.seen {
			last := i == len(c.seen)-1
			require.Equal(t, c.over && last, p.over(s, at(i+1)), "%s, look %d", what, i+1)
		}
	}
}

func TestEveryStateSaysWhatAnOperatorCanDo(t *testing.T) {
	t.Parallel()
	for state, says := range map[job.State]string{
		job.StatePlanned: "kefu dead replays abort k3vq takes the order back",
		job.StateRunning: "kefu dead replays watch k3vq follows it",
		job.StatePaused:  "kefu dead replays resume k3vq lets it go on",
		job.StateHalted:  "kefu dead replays resume k3vq lets it go on, without halting for it again",
		job.StateDone:    "what was left is in the box",
		job.StateAborted: "what was left is in the box",
	} {
		require.Contains(t, advice(replay.Status{Job: "k3vq", State: state, Left: 1}), says)
	}
	require.Empty(t, advice(replay.Status{State: job.StateDone}))
}

func TestTheExitCodeSaysWhetherAnythingWasDiscardedOrImported(t *testing.T) {
	t.Parallel()
	away := errors.New("the box is away")
	for what, c := range map[string]struct {
		done, left int
		err        error
		code       int
		says       string // of both
	}{
		"interrupted before the first": {0, 0, context.Canceled, cli.ExitFailed,
			"kefu: interrupted\n"},
		"interrupted in the middle": {3, 0, context.Canceled, cli.ExitPartly,
			"kefu: interrupted: "},
		"the box went away before the first": {0, 0, away, cli.ExitFailed,
			"kefu: the box is away\n"},
		"the box went away in the middle": {3, 0, away, cli.ExitPartly,
			"kefu: stopped: the box is away; run it again to "},
		"all were left":  {0, 2, nil, cli.ExitFailed, "kefu: nothing was "},
		"some were left": {1, 2, nil, cli.ExitPartly, "kefu: "},
		"all were done":  {3, 0, nil, cli.ExitDone, ""},
	} {
		report := func(of func(*cli.Streams) error) {
			var out, said strings.Builder
			env := cli.New(cli.Process{Out: &out, Err: &said})
			cmd := &cobra.Command{RunE: func(*cobra.Command, []string) error {
				return of(env.Streams)
			}}
			env.Frame(cmd)
			require.Equal(t, c.code, env.Execute(t.Context(), cmd, []string{}), what)
			require.Contains(t, said.String(), c.says, what)
		}
		report(func(s *cli.Streams) error {
			return (&discard{streams: s}).report(
				deadletter.DiscardResult{Discarded: c.done, Left: c.left}, c.err)
		})
		report(func(s *cli.Streams) error {
			return (&importing{streams: s}).report(
				deadletter.ImportResult{Imported: c.done, Refused: c.left}, c.err)
		})
	}
}

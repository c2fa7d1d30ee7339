package dead_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/dead"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/notes"
)

// storeJob stores a replay as it stands.
func storeJob(o *clitest.Operation, j job.Job) {
	o.T.Helper()
	put := func(key string, value any) {
		body, err := json.Marshal(value)
		o.NoError(err)
		o.Publish(broker.PutJob("job."+j.ID+"."+key, body, 0))
	}
	for _, p := range j.Parts {
		p.Job = j.ID
		put("part."+p.AppID, p)
	}
	put("order", j.Order)
}

// storeJobs stores a replay in each state.
func storeJobs(o *clitest.Operation) {
	at := func(minutes int) time.Time { return clitest.Died.Add(time.Duration(minutes) * time.Minute) }
	order := func(id string, minutes int, want job.Want, apps map[string]int) job.Order {
		return job.Order{
			ID: id, Kind: job.KindReplay, By: "ann@desk-1", At: at(minutes), Apps: apps, Want: want,
			Rate: 50, About: "reason=exhausted campaign=双十一",
		}
	}
	one := map[string]int{"wx1": 20_000}
	storeJob(o, job.Job{Order: order("planned1", 5, job.WantRun, one)})
	storeJob(o, job.Job{
		Order: order("running1", 4, job.WantRun, map[string]int{"wx1": 20_000, "wx2": 1234}),
		Parts: []job.Part{{AppID: "wx1", Started: at(4), Published: 4711}},
	})
	storeJob(o, job.Job{
		Order: order("paused11", 3, job.WantPause, one),
		Parts: []job.Part{{AppID: "wx1", Started: at(3), Published: 10}},
	})
	storeJob(o, job.Job{
		Order: order("halted11", 2, job.WantRun, one),
		Parts: []job.Part{{AppID: "wx1", Started: at(2), Published: 100,
			Halted: "the first 100 of wx1 died again"}},
	})
	done := order("done1111", 1, job.WantRun, one)
	done.Ended, done.Options = at(8), "in the bulk lane, 1 change of the packets"
	storeJob(o, job.Job{
		Order: done,
		Parts: []job.Part{{AppID: "wx1", Started: at(1), Ended: at(8), Done: true, Published: 19_990,
			Left: 7, Notes: notes.List{{Count: 7,
				Text: "its deadline has passed: give it a new one with --expires-in",
				IDs:  []string{"order-1", "order-2", "order-3", "order-4", "order-5"}}}}},
	})
	aborted := order("aborted1", 0, job.WantAbort, one)
	aborted.Ended = at(9)
	storeJob(o, job.Job{Order: aborted})
}

func TestReplaysFitTheTerminal(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	storeJobs(o)
	for _, width := range []int{80, 160} {
		list := o.Kefu("dead replays", wide(width))
		o.Equal(cli.ExitDone, list.Code, list.Err)
		printedAs(o, fmt.Sprintf("replays-%d.txt", width), list.Out)
		shown := ""
		for _, id := range []string{
			"planned1", "running1", "paused11", "halted11", "done1111", "aborted1",
		} {
			shown += o.Kefu("dead replays show "+id, wide(width)).Out + "\n"
		}
		printedAs(o, fmt.Sprintf("replays-show-%d.txt", width), shown)
	}
	o.NotContains(o.Kefu("dead replays --app wx2").Out, "paused11")
}

func TestWhatEndedInPartIsCounted(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	storeJobs(o)
	done := o.Kefu("dead replays watch done1111")
	o.Equal(cli.ExitPartly, done.Code)
	o.Regexp(`(?m)^replayed +19,990 letters in 7m$`, done.Out)
	o.Regexp(`(?m)^gone +3 letters taken out by somebody else meanwhile$`, done.Out)
	o.Equal("kefu: 7 letters were left in the box\n", done.Err)
	late := o.Kefu("dead replays pause done1111")
	o.Equal(cli.ExitFailed, late.Code)
	o.Regexp(`^kefu: replay done1111 ended .*: nothing of it can be changed any more\n$`, late.Err)

	storeJob(o, job.Job{
		Order: job.Order{ID: "counting", Kind: job.KindReplay, By: "ann@desk-1", At: time.Now(),
			Apps: map[string]int{"wx1": 9}, Want: job.WantAbort},
		Parts: []job.Part{{AppID: "wx1", Started: time.Now(), Published: 4}},
	})
	o.Equal("kefu: replay counting was aborted: nothing of it can be changed any more\n",
		o.Kefu("dead replays resume counting").Err)
}

func TestTheExamplesOfReplayRun(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	storeJob(o, job.Job{Order: job.Order{ID: "k3vq7a2m", Kind: job.KindReplay, By: "ann@desk-1",
		At: clitest.Died, Apps: map[string]int{"wx1": 1}, Want: job.WantRun}})
	for _, cmd := range commands(dead.New(cli.New(cli.Process{}))) {
		if !strings.Contains(cmd.CommandPath(), "dead replay") {
			continue
		}
		for line := range strings.Lines(cmd.Example) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "kefu ")
			if cmd.Name() == "watch" { // it would wait for a worker
				line += " --help"
			}
			got := o.Kefu(line)
			if strings.HasPrefix(line, "dead replays") && cmd.Name() != "abort" {
				o.Equal(cli.ExitDone, got.Code, "%s: %s", line, got.Err)
				continue
			}
			o.Regexp("no dead letter (matches|has the id)|There is no terminal to ask on", got.Err, line)
		}
	}
}

// commands lists a command and all below it.
func commands(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		all = append(all, commands(child)...)
	}
	return all
}

func TestNoLineOfAListIsWiderThanTheTerminal(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	storeJobs(o)
	long := regexp.MustCompile(`(?m)^.{81}`)
	o.NotRegexp(long, o.Kefu("dead replays", wide(80)).Out)
}

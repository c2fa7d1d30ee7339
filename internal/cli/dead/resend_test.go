package dead_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// buryMany puts so many letters into the box, with ids from order-0 on.
func buryMany(o *clitest.Operation, n int) {
	for i := range n {
		o.Bury(clitest.DeadLetter(fmt.Sprint("order-", i)))
	}
}

// statusOf reads the status that a command has printed, however it ended.
func statusOf(o *clitest.Operation, r clitest.Result) (s replay.Status) {
	o.T.Helper()
	o.NoError(json.Unmarshal([]byte(r.Out), &s), r.Out+r.Err)
	return s
}

func TestDeadReplayAsksFirst(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	o.Bury(clitest.DeadLetter("a"), clitest.DeadLetter("b"))

	refused := o.Kefu("dead replay --all")
	o.Equal(cli.ExitUsage, refused.Code)
	o.Contains(refused.Err,
		"Replay 2 letters of 1 app, at 50 a second, about 40ms? There is no terminal to ask on: add --yes")
	declined := o.Kefu("dead replay --all", clitest.Answering("n"))
	o.Equal(cli.ExitFailed, declined.Code)
	o.Contains(declined.Err, "WHAT WILL PROBABLY HAPPEN")
	o.Contains(declined.Err, "nothing was changed")
	o.Equal(2, o.Boxed())
	o.Empty(o.Audited())
	o.Equal(cli.ExitNothing, o.Kefu("dead replays").Code)

	agreed := o.Kefu("dead replay --all", clitest.Answering("y"))
	o.Equal(cli.ExitDone, agreed.Code, agreed.Err)
	o.Contains(agreed.Out, "replayed  2 letters in ")
	o.NotContains(agreed.Err, "no worker")
	o.Zero(o.Boxed())
	o.Len(o.Queued("wx1"), 2)
	id := clitest.Decode[[]replay.Status](o, o.Kefu("dead replays -o json"))[0].Job
	o.Contains(agreed.Err, "The workers carry it out as job "+id)
	o.Equal([]string{
		"replay all: begins as job " + id + ", 50 a second",
		"replay all: job " + id + " is done: replayed 2, left 0",
	}, o.Audited())
}

func TestDeadReplayDryRun(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Equal(cli.ExitDone, o.Kefu("app pause wx2 --reason 盘点").Code)
	late := func(l *schema.Letter) { l.PublishedAt = clitest.Died.Add(-100 * 24 * time.Hour) }
	o.Bury(
		clitest.DeadLetter("good"),
		clitest.DeadLetter("refused", clitest.DiedOf(schema.ReasonRecipient, 45015, "late")),
		clitest.DeadLetter("late", late),
		clitest.DeadLetter("held", clitest.OfApp("wx2")),
		clitest.DeadLetter("unknown", func(l *schema.Letter) {
			l.Reason, l.PossibleDuplicate = schema.ReasonUnknown, true
		}),
	)
	got := o.Kefu("dead replay --all --dry-run --rate 2")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	for _, says := range []string{
		`(?m)^ +2  will be sent$`, `(?m)^ +1  app held +wx2 is held \(operator\): 盘点 +held$`,
		`(?m)^ +1  same again +45015: .*refused$`,
		`(?m)^ +1  expired +its deadline has passed`,
		`5 letters, died .*: 3 exhausted, 1 recipient, 1 unknown\.`,
		`1 may have been sent already`, `At 2 a second it takes about 2s. Nothing was changed.`,
	} {
		o.Regexp(says, got.Out)
	}
	for _, width := range []int{80, 160} {
		printedAs(o, fmt.Sprintf("plan-%d.txt", width),
			o.Kefu("dead replay --all --dry-run --rate 2", wide(width)).Out)
	}
	o.Equal(5, o.Boxed())

	plan := clitest.Decode[map[string]any](o,
		o.Kefu("dead replay --all --dry-run --rate 2 -o json"))
	o.InDelta(5, plan["total"], 0)
	o.InDelta(2, plan["takes_seconds"], 0)
	o.Equal(map[string]any{"will be sent": 2.0, "app held": 1.0, "same again": 1.0, "expired": 1.0},
		plan["fates"])
}

// wide makes the user one at a terminal of a width.
func wide(width int) func(*clitest.Try) { return func(c *clitest.Try) { c.Width = width } }

func TestDeadReplayExitCodes(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	none := o.Kefu("dead replay a --yes")
	o.Equal(cli.ExitNothing, none.Code)
	o.Contains(none.Err, `no dead letter has the id "a"`)

	late := func(l *schema.Letter) {
		l.Headers["Kefu-Expires-At"] = []string{"2026-01-01T00:00:00Z"}
	}
	o.Bury(clitest.DeadLetter("a"), clitest.DeadLetter("late", late))
	only := o.Kefu("dead replay late --yes")
	o.Equal(cli.ExitFailed, only.Code)
	o.Contains(only.Err, "none of 1 letter can be replayed as it is")
	o.Contains(only.Err, "its deadline has passed: give it a new one with --expires-in")

	partly := o.Kefu("dead replay a late --yes -o json")
	o.Equal(cli.ExitPartly, partly.Code)
	o.Contains(partly.Err, "1 letter was left in the box")
	s := statusOf(o, partly)
	o.Equal([]any{job.StateDone, 2, 1, 1}, []any{s.State, s.Chosen, s.Published, s.Left})
	o.Equal("late", s.Notes[0].IDs[0])
	shown := o.Kefu("dead replays show " + s.Job)
	o.Regexp(`(?m)^1 +its deadline has passed: give it a new one with --expires-in \(late\)$`, shown.Out)
	o.Regexp(`(?m)^you can +what was left is in the box`, shown.Out)

	saved := o.Kefu("dead replay late --expires-in 1d --yes")
	o.Equal(cli.ExitDone, saved.Code, saved.Err)
	o.Zero(o.Boxed())
	env, err := wire.ParseEnvelope(o.Queued("wx1")[1].Header, true)
	o.NoError(err)
	o.WithinDuration(time.Now().Add(24*time.Hour), env.ExpiresAt, time.Minute)
}

func TestAReplayInAnotherLane(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	o.Bury(clitest.DeadLetter("talk"), clitest.DeadLetter("ad", clitest.OfCampaign("c1")))
	got := o.Kefu("dead replay --lane live --to-lane bulk --yes")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	queued := o.Queued("wx1")
	o.Len(queued, 1, "--lane chooses")
	o.Regexp(`^kefu\.again\.wx1\.bulk\.`, queued[0].Subject)
	o.Equal(1, o.Boxed())
}

func TestDeadReplayAsksAboutWhatAKilledOneMayHaveSent(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	o.Bury(clitest.DeadLetter("a"), clitest.DeadLetter("b"), clitest.DeadLetter("c"))
	m := nats.NewMsg(wire.JobKeys + "replay.killed")
	at, err := json.Marshal(time.Now().Add(-73 * time.Hour))
	o.NoError(err)
	m.Data = fmt.Appendf(nil, `{"by":"ann@desk","letters":[{"seq":2,"at":%s}]}`, at)
	o.Publish(m)

	refused := o.Kefu("dead replay --all")
	o.Equal(cli.ExitUsage, refused.Code)
	o.Contains(refused.Err,
		"a replay was killed that may have sent 1 of these, and repeats are recognised for 72h "+
			"only: they may be sent twice")
	o.Contains(refused.Err,
		"Replay 3 letters of 1 app, at 50 a second, about 60ms, 1 of them perhaps for the second time?")
	o.Equal(1, clitest.Decode[replay.Plan](o,
		o.Kefu("dead replay --all --dry-run -o json")).MayDouble)
	longer := o.Kefu("dead replay --all --set worker.ledger.keep=100h")
	o.NotContains(longer.Err, "second time", "a setting, as everywhere")
	agreed := o.Kefu("dead replay --all --yes")
	o.Equal(cli.ExitDone, agreed.Code, agreed.Err)
	o.Contains(agreed.Err, "they may be sent twice", "it is told even to whoever has agreed before")
	o.Len(o.Queued("wx1"), 3)
	o.Zero(o.Boxed())
}

func TestCtrlCOnlyStopsWatching(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	buryMany(o, 30)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// With the first message it is interrupted.
	sub, err := o.Conn.NC.Subscribe("kefu.again.wx1.>", func(*nats.Msg) { cancel() })
	o.NoError(err)
	o.NoError(o.Conn.NC.Flush())
	got := o.Kefu("dead replay --all --yes --rate 10 -o json", func(c *clitest.Try) { c.Ctx = ctx })
	o.NoError(sub.Unsubscribe())
	o.Equal(cli.ExitPartly, got.Code, got.Err)
	s := statusOf(o, got)
	o.Regexp("kefu: interrupted: only the watching has ended, replay "+s.Job+
		" (goes on|is stored); kefu dead replays watch "+s.Job+" comes back to it\n", got.Err)

	back := o.Kefu("dead replays watch " + s.Job)
	o.Equal(cli.ExitDone, back.Code, back.Err)
	o.Contains(back.Out, "replayed  30 letters in ")
	o.Zero(o.Boxed())
	o.Len(o.Queued("wx1"), 30)
}

func TestADetachedReplayWaitsForAWorker(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	buryMany(o, 3)
	got := o.Kefu("dead replay --all --yes --detach")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`^replay \w+ is ordered: kefu dead replays watch \w+ follows it\n$`, got.Out)
	o.Contains(got.Err, "warning: no worker that carries out replays of wx1 is running: replay ")

	listed := clitest.Decode[[]replay.Status](o, o.Kefu("dead replays -o json"))
	o.Len(listed, 1)
	id := listed[0].Job
	o.Equal(job.StatePlanned, listed[0].State)
	o.Contains(o.Kefu("dead replays show "+id).Out, "wait until a worker begins it")
	o.Equal(3, o.Boxed())

	o.Replayer()
	watched := o.Kefu("dead replays watch " + id)
	o.Equal(cli.ExitDone, watched.Code, watched.Err)
	o.NotContains(watched.Err, "no worker")
	o.Zero(o.Boxed())
	o.Len(o.Queued("wx1"), 3)

	buried := clitest.DeadLetter("later")
	o.Bury(buried)
	again := clitest.Decode[replay.Status](o, o.Kefu("dead replay --all --yes --detach -o json"))
	o.NotEqual(id, again.Job)
	o.Equal(1, again.Chosen)
	rows := clitest.Decode[[]replay.Status](o, o.Kefu("dead replays -o json"))
	o.Equal([]string{again.Job, id}, []string{rows[0].Job, rows[1].Job}, "the newest first")
}

func TestAReplayIsGovernedFromAnotherTerminal(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	buryMany(o, 200)
	ended := make(chan clitest.Result, 1)
	go func() { ended <- o.Kefu("dead replay --all --yes --rate 20 -o json") }()
	var id string
	o.Eventually(func() bool {
		var rows []replay.Status
		list := o.Kefu("dead replays -o json")
		o.NoError(json.Unmarshal([]byte(list.Out), &rows))
		if len(rows) == 0 {
			return false
		}
		id = rows[0].Job
		return rows[0].Published > 0
	}, brokertest.Patience, 20*time.Millisecond)

	paused := o.Kefu("dead replays pause " + id)
	o.Equal(cli.ExitDone, paused.Code, paused.Err)
	o.Equal("replay "+id+" is paused: kefu dead replays resume "+id+" lets it go on\n", paused.Out)
	watched := <-ended
	o.Equal(cli.ExitPartly, watched.Code)
	o.Contains(watched.Err, "an operator has paused replay "+id)
	s := statusOf(o, watched)
	o.Equal(job.StatePaused, s.State)
	o.Equal(s.Published, len(o.Queued("wx1")))
	o.Equal(200-s.Published, o.Boxed())
	o.Contains(o.Kefu("dead replays pause "+id).Out, "is paused already: nothing was changed")
	o.Contains(o.Kefu("dead replays show "+id).Out, "lets it go on")

	resumed := o.Kefu("dead replays resume " + id + " -o json")
	o.Equal(cli.ExitDone, resumed.Code, resumed.Err)
	o.Equal(job.StateRunning, statusOf(o, resumed).State)
	o.Contains(o.Kefu("dead replays resume "+id).Out, "is not paused: nothing was changed")

	refused := o.Kefu("dead replays abort " + id)
	o.Equal(cli.ExitUsage, refused.Code)
	o.Regexp(`Abort replay \w+\? \d+ of 200 letters are replayed; the others stay in the box\.`,
		refused.Err)
	o.Equal(cli.ExitFailed, o.Kefu("dead replays abort "+id, clitest.Answering("n")).Code)
	aborted := o.Kefu("dead replays abort " + id + " --yes")
	o.Equal(cli.ExitDone, aborted.Code, aborted.Err)
	o.Contains(aborted.Out, "is aborted: kefu dead replays show "+id)
	after := o.Kefu("dead replays watch " + id + " -o json")
	o.Equal(cli.ExitPartly, after.Code)
	o.Contains(after.Err, "was aborted")
	s = statusOf(o, after)
	o.Equal([]int{200 - s.Published, s.Published}, []int{o.Boxed(), len(o.Queued("wx1"))})
	o.Equal(200, s.Published+s.Left)

	o.Contains(o.Kefu("dead replays abort "+id).Out, "was aborted already: nothing was changed")
	for _, verb := range []string{"pause", "resume"} {
		late := o.Kefu("dead replays " + verb + " " + id)
		o.Equal(cli.ExitFailed, late.Code)
		o.Regexp(`^kefu: replay \w+ was aborted .*: nothing of it can be changed any more\n$`, late.Err)
	}
	o.Contains(o.Audited(), "replay all: job "+id+": pause")
	o.Contains(o.Audited(), "replay all: job "+id+": abort")
}

func TestNoReplayHasTheID(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for _, verb := range []string{"show", "watch", "pause", "resume", "abort"} {
		got := o.Kefu("dead replays " + verb + " nothere")
		o.Equal(clitest.Ended(cli.ExitNothing, "",
			"kefu: no replay has the id \"nothere\": kefu dead replays lists them\n"), got)
	}
	o.Equal(clitest.Ended(cli.ExitNothing, "", "kefu: no replay was ordered in the last 30 days\n"),
		o.Kefu("dead replays"))
	o.Equal("[]\n", o.Kefu("dead replays -o json").Out)
}

func TestTwoOperatorsReplayAtOnce(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	buryMany(o, 60)
	o.Bury(clitest.DeadLetter("ad", clitest.OfCampaign("c1")))
	results := make(chan clitest.Result, 2)
	for _, filter := range []string{"--all", "--lane live"} {
		go func() { results <- o.Kefu("dead replay --yes --rate 0 -o json " + filter) }()
	}
	published, chosen := 0, 0
	for range 2 {
		r := <-results
		if r.Code == cli.ExitNothing { // it came when all was done
			continue
		}
		s := statusOf(o, r)
		o.Equal(job.StateDone, s.State, r.Err)
		o.Equal(s.Chosen, s.Published+s.Left+s.Gone)
		o.Zero(s.Left)
		published, chosen = published+s.Published, max(chosen, s.Chosen)
	}
	o.Equal(61, published)
	o.Len(o.Queued("wx1"), 61)
	o.Zero(o.Boxed())
}

const brokenNews = `{"touser":"` + clitest.Recipient + `","msgtype":"news","news":{"articles":` +
	`[{"title":"新品","description":"d","url":"https://example.com/1","picurl":"htp:/example"}]}}`

func TestAChangedLetterIsSentChangedAndItsOriginalShown(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	o.Bury(clitest.DeadLetter("news-1", func(l *schema.Letter) {
		wire.SetPacket(l, []byte(brokenNews))
	}), clitest.DeadLetter("order-1"))

	for set, says := range map[string]string{
		"/news/articles=[]": "kefu: the change would make news-1 invalid: news.articles",
		"/news/articles/7/title=x": "kefu: the change would make news-1 invalid: " +
			"it has no /news/articles/7/title to change; nothing was replayed\n",
		"/touser=oSomebodyElse": "kefu: the change would make news-1 invalid: touser",
	} {
		bad := o.Kefu("dead replay news-1 --yes --set " + set)
		o.Equal(cli.ExitFailed, bad.Code, set)
		o.Contains(bad.Err, says)
		o.Contains(bad.Err, "; nothing was replayed\n")
		o.NotContains(bad.Err, clitest.Recipient)
	}
	o.Equal(2, o.Boxed())
	o.Empty(o.Audited())
	o.Equal(cli.ExitNothing, o.Kefu("dead replays").Code, "nothing was ordered")

	asked := o.Kefu("dead replay news-1 --set /news/articles/0/picurl=https://example.com/a.png")
	o.Contains(asked.Err, "with 1 change of the packets?")
	good := o.Kefu("dead replay news-1 --yes -o json " +
		`--set [{"op":"test","path":"/msgtype","value":"news"}] ` +
		"--set /news/articles/0/picurl=https://example.com/a.png")
	o.Equal(cli.ExitDone, good.Code, good.Err)
	queued := o.Queued("wx1")
	o.Len(queued, 1)
	o.Contains(string(queued[0].Data), `"picurl":"https://example.com/a.png"`)
	o.Equal(1, o.Boxed())

	id := statusOf(o, good).Job
	shown := o.Kefu("dead show news-1 --reveal")
	o.Equal(cli.ExitDone, shown.Code, shown.Err)
	o.Regexp(`^Replay `+id+` of \S+ has changed and sent this letter .*; it is shown as it was before\.`,
		shown.Out)
	o.Contains(shown.Out, "htp:/example")
	o.Contains(shown.Out, "7 in its queue\n")
	o.Contains(o.Audited(), "reveal dead show id=news-1: recipients shown unmasked")
	o.NotContains(o.Kefu("dead show news-1").Out, clitest.Recipient)
	originals := clitest.Decode[[]letter.Letter](o, o.Kefu("dead show news-1 -o json"))
	o.Len(originals, 1)
	o.Equal(id, originals[0].Changed.Job)
	o.True(originals[0].Masked)
	o.Equal(cli.ExitNothing, o.Kefu("dead show news-2").Code)
	o.Contains(o.Audited()[0], "2 changes of the packets")

	o.Bury(clitest.DeadLetter("news-1", func(l *schema.Letter) { l.Generation = 2 }))
	again := clitest.Decode[[]letter.Letter](o, o.Kefu("dead show news-1 -o json"))
	o.Len(again, 2, "it died again: the original is shown below")
	o.Equal(2, again[0].Generation)
	o.Nil(again[0].Changed)
	o.Equal(originals[0], again[1])
	o.Bury(clitest.DeadLetter("news-1"))
	o.Len(clitest.Decode[[]letter.Letter](o, o.Kefu("dead show news-1 -o json")), 2,
		"an original that lies in the box is shown once")
}

func TestTheJSONOfAReplayIsThatOfTheContract(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Replayer()
	buryMany(o, 2)
	ordered := clitest.Decode[map[string]any](o, o.Kefu("dead replay --all --yes -o json"))
	id, _ := ordered["job"].(string)
	shown := clitest.Decode[map[string]any](o, o.Kefu("dead replays show -o json "+id))
	listed := clitest.Decode[[]map[string]any](o, o.Kefu("dead replays -o json"))
	o.Len(listed, 1)
	for what, got := range map[string]map[string]any{
		"dead replay": ordered, "dead replays show": shown, "dead replays": listed[0],
	} {
		for _, field := range []string{
			"job", "kind", "state", "app", "chosen", "published", "sent", "dead", "left", "rate",
			"by", "started_at", "finished_at",
		} {
			o.Contains(got, field, what)
		}
		o.Equal([]any{"replay", "done", "wx1", 2.0, 2.0, 0.0, 50.0},
			[]any{got["kind"], got["state"], got["app"], got["chosen"], got["published"],
				got["left"], got["rate"]}, what)
	}
}

func TestTheShellCompletesIDsOfReplays(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	buryMany(o, 1)
	s := clitest.Decode[replay.Status](o, o.Kefu("dead replay --all --yes --detach -o json"))
	got := clitest.Run(t, clitest.Try{File: o.File, Environ: []string{"S=x"},
		Args: []string{"__complete", "dead", "replays", "show", ""}})
	o.Contains(got.Out, s.Job+"\tplanned, all\n")
}

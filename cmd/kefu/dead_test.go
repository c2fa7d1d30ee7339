package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestDeadListShowsLettersAndNoRecipients(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.Equal(result{exitNothing, "", "kefu: no dead letter matches\n"}, o.kefu("dead list"))
	o.bury(deadLetter("a", diedOf(schema.ReasonRecipient, 45015, "response out of time limit")), deadLetter("b", ofCampaign("double-11")))

	got := o.kefu("dead list")
	o.Equal(exitDone, got.code, got.err)
	o.Regexp(`(?m)^ID +APP +REASON +ERRCODE +LANE +CAMPAIGN +RECIPIENT +SOURCE +ATTEMPTS +DIED +DETAIL$`, got.out)
	o.Regexp(`(?m)^a +wx1 +recipient +45015 +live +oABC…Z0 +shop +1 +2026-11-20 \d\d:\d0:00 +the API was busy six times$`, got.out)
	o.Regexp(`(?m)^b +wx1 +exhausted +bulk +double-11 `, got.out)
	o.NotContains(got.out, recipient)
	o.Empty(got.err)
	o.Empty(o.audited())

	rows := decode[[]deadRow](o, o.kefu("dead list -o json --errcode 45015,45047"))
	o.Len(rows, 1)
	o.Equal(masked, rows[0].OpenID)
	o.Equal(45015, *rows[0].Errcode)

	lines := strings.Split(strings.TrimSpace(o.kefu("dead list -o ndjson").out), "\n")
	o.Len(lines, 2)
	o.True(json.Valid([]byte(lines[1])))

	revealed := o.kefu("dead list --reveal --id a")
	o.Contains(revealed.out, recipient)
	o.Equal([]string{"reveal dead list id=a: recipients shown unmasked"}, o.audited())

	o.kefu("dead list --reveal --openid " + recipient)
	pool, err := o.conn.Pseudonyms(o.t.Context())
	o.NoError(err)
	o.Equal("reveal dead list openid=#"+pool.Of(recipient)+": recipients shown unmasked", o.audited()[1])
}

func TestDeadListForewarns(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.bury(deadLetter("a"), deadLetter("b"))
	s, err := o.conn.JS.Stream(t.Context(), schema.StreamDead)
	o.NoError(err)
	full := s.CachedInfo().Config
	full.MaxMsgs = 2
	_, err = o.conn.JS.UpdateStream(t.Context(), full)
	o.NoError(err)
	got := o.kefu("dead list -o json")
	o.Equal(exitDone, got.code)
	o.Len(decode[[]deadRow](o, got), 2)
	o.Contains(got.err, "KEFU_DEAD is full to 100 %: when it is full, what dies stays in its queue")
}

func TestTheAuditCountsTheLettersThatWereRevealed(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	for i := range 5 {
		o.bury(deadLetter(fmt.Sprint("order-", i)))
	}
	for line, shown := range map[string]int{
		"":                       5,
		"-o json":                5,
		"-o ndjson":              5,
		"-o ndjson --id order-4": 1,
		"--limit 2":              2,
		"-o json --limit 3":      3,
		"-o ndjson --limit 4":    4,
		"--limit 100":            5,
		"--id nobody":            0,
		"--id nobody -o ndjson":  0,
	} {
		before := len(o.revealed())
		got := o.kefu("dead list --reveal " + line)
		o.Equal(shown, strings.Count(got.out, recipient), line)
		counts := o.revealed()[before:]
		if shown == 0 {
			o.Empty(counts, line)
			continue
		}
		o.Equal([]int{shown}, counts, line)
	}
}

func TestDeadListShowsTheNewest(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	for i := range 7 {
		o.bury(deadLetter(fmt.Sprint("order-", i)))
	}
	got := o.kefu("dead list --limit 3")
	o.Regexp(`(?s)order-4.*order-5.*order-6`, got.out)
	o.NotContains(got.out, "order-3")
	o.Equal("the newest 3 of 7 letters; --limit shows more, 0 all\n", got.err)
	o.Equal(1, strings.Count(o.kefu("dead list -o ndjson --limit 1").out, "\n"))
	o.Len(decode[[]deadRow](o, o.kefu("dead list -o json")), 7)
}

func TestDeadListChooses(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	recent := func(l *schema.Letter) { l.DiedAt = time.Now().UTC() }
	o.bury(
		deadLetter("old"), deadLetter("new", recent), deadLetter("bulk", ofCampaign("c1")), deadLetter("other", ofApp("wx2")),
		deadLetter("again", func(l *schema.Letter) { l.Generation = 2 }), deadLetter("refused", diedOf(schema.ReasonRejected, 40007, "invalid media_id")),
	)
	for line, want := range map[string]string{
		"--since 1h --until 2100-01-01": "new",
		"--lane bulk":                   "bulk",
		"--campaign c1":                 "bulk",
		"--app wx2":                     "other",
		"--generation 2":                "again",
		"--reason rejected,expired":     "refused",
		"--text MEDIA_ID":               "refused",
		"--id old --id nobody":          "old",
	} {
		rows := decode[[]deadRow](o, o.kefu("dead list -o json "+line))
		o.Len(rows, 1, line)
		o.Equal(want, rows[0].ID, line)
	}
	o.Len(decode[[]deadRow](o, o.kefu("dead list -o json --openid "+recipient+" --source shop")), 6)
}

func TestDeadUsage(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	for line, says := range map[string]string{
		"dead":                                  "",
		"dead list --reason late":               `--reason "late" is not one of invalid, expired,`,
		"dead list --lane fast":                 `--lane "fast" is not live or bulk`,
		"dead list --since soon":                `--since "soon" is not a time`,
		"dead list --since 1h --until 2h":       "--since is not before --until",
		"dead list --generation -1":             "--generation counts from 1",
		"dead show":                             "ID is missing",
		"dead replay":                           "which letters? Name ids or flags that choose them, or --all",
		"dead replay --all --lane live":         "--all and something that chooses: which one is meant?",
		"dead replay a --rate -1":               "--rate and --limit cannot be below 0",
		"dead replay a --expires-in tomorrow":   "want a duration such as 90m, 36h or 7d",
		"dead list --app wx9 --reason expired,": "--reason has an empty value: is a variable not set?",
	} {
		got := o.kefu(line)
		if says == "" {
			o.Equal(exitDone, got.code)
			continue
		}
		o.Equal(exitUsage, got.code, line)
		o.Contains(got.err, says, line)
	}
}

func TestDeadShow(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.bury(deadLetter("order-1", diedOf(schema.ReasonRecipient, 45015, "response out of time limit")))
	missing := o.kefu("dead show order-2")
	o.Equal(exitNothing, missing.code)
	o.Contains(missing.err, `no dead letter has the id "order-2": kefu find tells what became of it`)

	got := o.kefu("dead show order-1")
	o.Equal(exitDone, got.code, got.err)
	for _, says := range []string{
		"order-1", "45015 response out of time limit", "rid-1", "kefu.send.wx1.live." + masked, "7 in its queue, 1 in KEFU_DEAD",
		"ATTEMPT", "12ms", "Nats-Msg-Id: order-1", "X-To: for " + masked, "packet (masked; --reveal shows it)",
		`"touser": "` + masked + `"`, `"msgtype": "text"`, `"content": "(7 characters)"`, `"phone": "(a number)"`,
	} {
		o.Contains(got.out, says)
	}
	for _, secret := range []string{recipient, "您好", "13812345678"} {
		o.NotContains(got.out, secret)
		o.NotContains(o.kefu("dead show order-1 -o json").out, secret)
	}
	o.Empty(o.audited())

	revealed := o.kefu("dead show order-1 --reveal")
	for _, says := range []string{recipient, "您好", "13812345678"} {
		o.Contains(revealed.out, says)
	}
	o.Equal([]string{"reveal dead show id=order-1: recipients shown unmasked"}, o.audited())

	letters := decode[[]shownLetter](o, o.kefu("dead show order-1 --reveal -o json"))
	o.Equal(packetFor(recipient), letters[0].Body)
	o.False(letters[0].Masked)
	o.True(decode[[]shownLetter](o, o.kefu("dead show order-1 -o json"))[0].Masked)
}

func TestDeadReplayAsksFirst(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.bury(deadLetter("a"), deadLetter("b"))

	refused := o.kefu("dead replay --all")
	o.Equal(exitUsage, refused.code)
	o.Contains(refused.err, "Replay 2 letters of 1 app, at 50 a second, about 40ms? There is no terminal to ask on: add --yes")
	declined := o.kefu("dead replay --all", answering("n"))
	o.Equal(exitFailed, declined.code)
	o.Contains(declined.err, "WHAT WILL PROBABLY HAPPEN")
	o.Contains(declined.err, "nothing was changed")
	o.Equal(2, o.boxed())
	o.Empty(o.audited())

	agreed := o.kefu("dead replay --all", answering("y"))
	o.Equal(exitDone, agreed.code, agreed.err)
	o.Contains(agreed.out, "replayed  2 letters in ")
	o.Zero(o.boxed())
	o.Len(o.queued("wx1"), 2)
	o.Equal([]string{"replay: begins, 50 a second", "replay: replayed 2, skipped 0, failed 0"}, o.audited())
}

func TestDeadReplayDryRun(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.Equal(exitDone, o.kefu("app pause wx2 --reason inventory").code)
	late := func(l *schema.Letter) { l.PublishedAt = died.Add(-100 * 24 * time.Hour) }
	o.bury(
		deadLetter("good"), deadLetter("refused", diedOf(schema.ReasonRecipient, 45015, "late")), deadLetter("late", late),
		deadLetter("held", ofApp("wx2")), deadLetter("unknown", func(l *schema.Letter) { l.Reason, l.PossibleDuplicate = schema.ReasonUnknown, true }),
	)
	got := o.kefu("dead replay --all --dry-run --rate 2")
	o.Equal(exitDone, got.code, got.err)
	for _, says := range []string{
		`(?m)^ +2  will be sent$`, `(?m)^ +1  app held +wx2 is held \(operator\): inventory +held$`, `(?m)^ +1  same again +45015: .*refused$`,
		`(?m)^ +1  expired +its deadline has passed`, `5 letters, died .*: 3 exhausted, 1 recipient, 1 unknown\.`,
		`1 may have been sent already`, `At 2 a second it takes about 2s. Nothing was changed.`,
	} {
		o.Regexp(says, got.out)
	}
	o.Equal(5, o.boxed())

	plan := decode[map[string]any](o, o.kefu("dead replay --all --dry-run --rate 2 -o json"))
	o.InDelta(5, plan["total"], 0)
	o.InDelta(2, plan["takes_seconds"], 0)
	o.Equal(map[string]any{"will be sent": 2.0, "app held": 1.0, "same again": 1.0, "expired": 1.0}, plan["fates"])
}

func TestDeadReplayExitCodes(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	none := o.kefu("dead replay a --yes")
	o.Equal(exitNothing, none.code)
	o.Contains(none.err, "no dead letter matches")

	late := func(l *schema.Letter) { l.Headers["Kefu-Expires-At"] = []string{"2026-01-01T00:00:00Z"} }
	o.bury(deadLetter("a"), deadLetter("late", late))
	only := o.kefu("dead replay late --yes")
	o.Equal(exitFailed, only.code)
	o.Contains(only.err, "none of 1 letter can be replayed as it is")
	o.Contains(only.err, "its deadline has passed: give it a new one")

	partly := o.kefu("dead replay a late --yes -o json")
	o.Equal(exitPartly, partly.code)
	o.Contains(partly.err, "1 letter was left in the box")
	var r printedResult
	o.NoError(json.Unmarshal([]byte(partly.out), &r))
	o.Equal([]int{1, 1, 0}, []int{r.Replayed, r.Skipped, r.Failed})
	o.Equal("late", r.Notes[0].IDs[0])

	saved := o.kefu("dead replay late --expires-in 1d --yes")
	o.Equal(exitDone, saved.code, saved.err)
	o.Zero(o.boxed())
	env, err := wire.ParseEnvelope(o.queued("wx1")[1].Header, true)
	o.NoError(err)
	o.WithinDuration(time.Now().Add(24*time.Hour), env.ExpiresAt, time.Minute)
}

func TestAReplayThatIsStoppedInTheMiddleIsPartlyDone(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	for i := range 12 {
		o.bury(deadLetter(fmt.Sprint("order-", i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sub, err := o.conn.NC.Subscribe("kefu.again.wx1.>", func(*nats.Msg) { cancel() }) // with the first message
	o.NoError(err)
	o.NoError(o.conn.NC.Flush())
	got := o.kefu("dead replay --all --yes --rate 10 -o json", func(c *try) { c.ctx = ctx })
	o.NoError(sub.Unsubscribe())
	o.Equal(exitPartly, got.code, got.err)
	o.Contains(got.err, "kefu: interrupted: the rest is still in the box; run it again to go on\n")
	var r printedResult
	o.NoError(json.Unmarshal([]byte(got.out), &r))
	o.Positive(r.Replayed)
	o.Equal(12-r.Replayed, o.boxed())
	o.Len(o.queued("wx1"), r.Replayed)
}

func TestTheExitCodeSaysWhetherAnythingWasReplayed(t *testing.T) {
	t.Parallel()
	const refused = "20 letters in a row could not be published: refused"
	away := errors.New("the box is away")
	for what, c := range map[string]struct {
		result deadletter.Result
		err    error
		code   int
		says   string
	}{
		"interrupted before the first":       {deadletter.Result{}, context.Canceled, exitFailed, "kefu: interrupted\n"},
		"the box went away before the first": {deadletter.Result{}, away, exitFailed, "kefu: the box is away\n"},
		"the box went away in the middle": {
			deadletter.Result{Replayed: 3}, away, exitPartly, "kefu: stopped: the box is away; run it again to go on\n",
		},
		"interrupted, and the audit did not answer": {
			deadletter.Result{Replayed: 3}, errors.Join(context.Canceled, errors.New("audit: no answer")), exitPartly,
			"run it again to go on\nkefu: audit: no answer\n",
		},
		"stopped by refusals, nothing was replayed": {
			deadletter.Result{Failed: 20, Stopped: refused}, nil, exitFailed, "kefu: nothing was replayed: " + refused + "\n",
		},
		"stopped by refusals in the middle": {
			deadletter.Result{Replayed: 3, Failed: 20, Stopped: refused}, nil, exitPartly, "kefu: stopped: " + refused + "; run it again to go on\n",
		},
		"all were left in the box": {
			deadletter.Result{Skipped: 2, Failed: 1}, nil, exitFailed, "kefu: nothing was replayed: 3 letters were left in the box\n",
		},
		"some were left in the box": {deadletter.Result{Replayed: 1, Skipped: 1}, nil, exitPartly, "kefu: 1 letter was left in the box\n"},
		"one could not be taken out": {
			deadletter.Result{Replayed: 1, Kept: 1}, nil, exitPartly, "kefu: 1 letter was replayed but could not be taken out of the box: run it again\n",
		},
		"all were replayed": {deadletter.Result{Replayed: 3}, nil, exitDone, ""},
	} {
		var out, said strings.Builder
		cli := newCLI(nil, nil, &out, &said)
		cli.started = true
		d := &deadReplay{cli: cli}
		require.Equal(t, c.code, cli.exit(&cobra.Command{}, d.report(c.result, c.err)), what)
		require.Contains(t, said.String(), c.says, what)
	}
}

func TestDeadReplayAsksAboutWhatAKilledOneMayHaveSent(t *testing.T) {
	t.Parallel()
	o := newOperation(t)
	o.bury(deadLetter("a"), deadLetter("b"), deadLetter("c"))
	m := nats.NewMsg("$KV." + wire.BucketJob + ".replay.killed")
	at, err := json.Marshal(time.Now().Add(-73 * time.Hour))
	o.NoError(err)
	m.Data = fmt.Appendf(nil, `{"by":"ann@desk","letters":[{"seq":2,"at":%s}]}`, at)
	o.publish(m)

	refused := o.kefu("dead replay --all")
	o.Equal(exitUsage, refused.code)
	o.Contains(refused.err, "a replay was killed that may have sent 1 of these, and repeats are recognised for 72h only: they may be sent twice")
	o.Contains(refused.err, "Replay 3 letters of 1 app, at 50 a second, about 60ms, 1 of them perhaps for the second time?")
	o.Equal(1, decode[deadletter.Plan](o, o.kefu("dead replay --all --dry-run -o json")).MayDouble)
	longer := o.kefu("dead replay --all --set worker.ledger.keep=100h")
	o.NotContains(longer.err, "second time")
	agreed := o.kefu("dead replay --all --yes")
	o.Equal(exitDone, agreed.code, agreed.err)
	o.Contains(agreed.err, "they may be sent twice", "it is told even to whoever has agreed before")
	o.Len(o.queued("wx1"), 3)
	o.Zero(o.boxed())
}

func TestMasks(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{recipient: masked, "o12345": "***", "": "", "oABCDEF": "oABC…EF"} {
		require.Equal(t, want, maskOpenID(in))
	}
	m := masker{}
	require.Equal(t, "5 bytes that are no JSON", m.packet([]byte("{bad}")))
	require.Equal(t, "{\n  \"a\": [\n    \"(1 character)\",\n    true,\n    null,\n    {}\n  ]\n}", m.packet([]byte(`{"a":["x",true,null,{}]}`)))
	require.Equal(t, "ordinary", m.within("ordinary", "o"))
	require.Equal(t, "kefu.send.wx1.live.***", m.subject("kefu.send.wx1.live.user1", "user1"))
	require.Equal(t, "kefu.send.wx1.bulk.c1", m.subject("kefu.send.wx1.bulk.c1", "user1"))
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		require.Equal(t, want, grouped(n))
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	zone := time.FixedZone("CST", 8*60*60)
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, zone)
	for in, want := range map[string]time.Time{
		"":                          {},
		"2026-11-24T01:02:03Z":      time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC),
		"2026-11-23":                time.Date(2026, 11, 23, 0, 0, 0, 0, zone),
		"2026-11-23 08:15":          time.Date(2026, 11, 23, 8, 15, 0, 0, zone),
		"90m":                       now.Add(-90 * time.Minute),
		"7d":                        now.AddDate(0, 0, -7),
		"2026-11-24T08:15:00+08:00": now.Add(15 * time.Minute),
	} {
		got, err := parseWhen("since", in, now)
		require.NoError(t, err, in)
		require.True(t, want.Equal(got), "%s: %s", in, got)
	}
	for _, in := range []string{"-1h", "tomorrow", "1e9d", "xd"} {
		_, err := parseWhen("since", in, now)
		require.Error(t, err, in)
	}
	for d, want := range map[time.Duration]string{
		12 * time.Millisecond: "12ms", 90 * time.Second: "1m30s", 2 * time.Minute: "2m", 26 * time.Hour: "26h", 90 * time.Minute: "1h30m", 0: "0s",
	} {
		require.Equal(t, want, about(d))
	}
}

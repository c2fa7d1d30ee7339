package dead_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/schema"
)

func TestDeadListShowsLettersAndNoRecipients(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Equal(clitest.Ended(cli.ExitNothing, "", "kefu: no dead letter matches: the box is empty\n"),
		o.Kefu("dead list"))
	o.Bury(clitest.DeadLetter("a",
		clitest.DiedOf(schema.ReasonRecipient, 45015, "response out of time limit")),
		clitest.DeadLetter("b", clitest.OfCampaign("double-11")))

	got := o.Kefu("dead list")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	o.Regexp(`(?m)^ID +APP +REASON +ERRCODE +LANE +CAMPAIGN +RECIPIENT +SOURCE +ATTEMPTS +`+
		`DIED +DETAIL$`, got.Out)
	o.Regexp(`(?m)^a +wx1 +recipient +45015 +live +oABC…Z0 +shop +1 +`+
		`2026-11-20 \d\d:\d0:00 +response out of time limit$`, got.Out)
	o.Regexp(`(?m)^b +wx1 +exhausted +bulk +double-11 `, got.Out)
	o.NotContains(got.Out, clitest.Recipient)
	o.Empty(got.Err)
	o.Empty(o.Audited())

	rows := clitest.Decode[[]letter.Row](o, o.Kefu("dead list -o json --errcode 45015,45047"))
	o.Len(rows, 1)
	o.Equal(clitest.Masked, rows[0].OpenID)
	o.Equal(45015, *rows[0].Errcode)

	lines := strings.Split(strings.TrimSpace(o.Kefu("dead list -o ndjson").Out), "\n")
	o.Len(lines, 2)
	o.True(json.Valid([]byte(lines[1])))

	revealed := o.Kefu("dead list --reveal --id a")
	o.Contains(revealed.Out, clitest.Recipient)
	o.Equal([]string{"reveal dead list id=a: recipients shown unmasked"}, o.Audited())

	o.Kefu("dead list --reveal --openid " + clitest.Recipient)
	pool, err := o.Conn.Pseudonyms(o.T.Context())
	o.NoError(err)
	o.Equal("reveal dead list openid=#"+pool.Of(clitest.Recipient)+": recipients shown unmasked",
		o.Audited()[1])
}

func TestDeadListForewarns(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("a"), clitest.DeadLetter("b"))
	s, err := o.Conn.JS.Stream(t.Context(), schema.StreamDead)
	o.NoError(err)
	full := s.CachedInfo().Config
	full.MaxMsgs = 2
	_, err = o.Conn.JS.UpdateStream(t.Context(), full)
	o.NoError(err)
	got := o.Kefu("dead list -o json")
	o.Equal(cli.ExitDone, got.Code)
	o.Len(clitest.Decode[[]letter.Row](o, got), 2)
	o.Contains(got.Err, "KEFU_DEAD is full to 100 %: when it is full, what dies stays in its queue")
}

func TestTheAuditCountsTheLettersThatWereRevealed(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for i := range 5 {
		o.Bury(clitest.DeadLetter(fmt.Sprint("order-", i)))
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
		before := len(o.Revealed())
		got := o.Kefu("dead list --reveal " + line)
		o.Equal(shown, strings.Count(got.Out, clitest.Recipient), line)
		counts := o.Revealed()[before:]
		if shown == 0 {
			o.Empty(counts, line)
			continue
		}
		o.Equal([]int{shown}, counts, line)
	}
}

func TestDeadListChooses(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	recent := func(l *schema.Letter) { l.DiedAt = time.Now().UTC() }
	o.Bury(
		clitest.DeadLetter("old"), clitest.DeadLetter("new", recent),
		clitest.DeadLetter("bulk", clitest.OfCampaign("c1")),
		clitest.DeadLetter("other", clitest.OfApp("wx2")),
		clitest.DeadLetter("again", func(l *schema.Letter) { l.Generation = 2 }),
		clitest.DeadLetter("refused",
			clitest.DiedOf(schema.ReasonRejected, 40007, "invalid media_id")),
	)
	for line, want := range map[string]string{
		"--since 1h --until 2100-01-01": "new",
		"--lane bulk":                   "bulk",
		"--campaign c1":                 "bulk",
		"--app wx2":                     "other",
		"--generation 2":                "again",
		"--reason rejected,expired":     "refused",
		"--search MEDIA_ID":             "refused",
		"--id old --id nobody":          "old",
	} {
		rows := clitest.Decode[[]letter.Row](o, o.Kefu("dead list -o json "+line))
		o.Len(rows, 1, line)
		o.Equal(want, rows[0].ID, line)
	}
	o.Len(clitest.Decode[[]letter.Row](o,
		o.Kefu("dead list -o json --openid "+clitest.Recipient+" --source shop")), 6)
}

func TestDeadUsage(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
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
		"dead replay a --halt-after -1":         "--halt-after cannot be below 0",
		"dead replay a --to-lane fast":          `--to-lane "fast" is not live or bulk`,
		"dead replay a --dry-run --detach":      "--dry-run orders nothing",
		"dead replay a --set touser=x":          `--set "touser=x" is no change of a packet: it begins with neither [ nor /`,
		"dead replay a --set /text":             `--set "/text" is no change of a packet: it has no =`,
		"dead replay a --set [1]":               "--set 1 is no operation of a JSON patch",
		"dead replay a --set worker.grace=soon": "worker.grace",
		"dead replays sho":                      `unknown command "sho" for "kefu dead replays", did you mean show?`,
		"dead replays show":                     "ID is missing",
		"dead replay a --expires-in tomorrow":   "is not a duration such as 90m, 36h or 7d",
		"dead list --app wx9 --reason expired,": "--reason has an empty value: is a variable not set?",
	} {
		got := o.Kefu(line)
		if says == "" {
			o.Equal(cli.ExitDone, got.Code)
			continue
		}
		o.Equal(cli.ExitUsage, got.Code, line)
		o.Contains(got.Err, says, line)
	}
}

func TestDeadShow(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	o.Bury(clitest.DeadLetter("order-1",
		clitest.DiedOf(schema.ReasonRecipient, 45015, "response out of time limit")))
	missing := o.Kefu("dead show order-2")
	o.Equal(cli.ExitNothing, missing.Code)
	o.Contains(missing.Err,
		`no dead letter has the id "order-2": kefu find tells what became of it`)

	got := o.Kefu("dead show order-1")
	o.Equal(cli.ExitDone, got.Code, got.Err)
	for _, says := range []string{
		"order-1", "45015 response out of time limit", "rid-1",
		"kefu.send.wx1.live." + clitest.Masked, "7 in its queue, 1 in KEFU_DEAD",
		"attempts\n#  AT ", "12ms", "Nats-Msg-Id: order-1", "X-To: for " + clitest.Masked,
		"packet (masked; --reveal shows it)",
		`"touser": "` + clitest.Masked + `"`, `"msgtype": "text"`, `"content": "(7 characters)"`,
		`"phone": "(a number)"`,
	} {
		o.Contains(got.Out, says)
	}
	for _, secret := range []string{clitest.Recipient, "您好", "13812345678"} {
		o.NotContains(got.Out, secret)
		o.NotContains(o.Kefu("dead show order-1 -o json").Out, secret)
	}
	o.Empty(o.Audited())

	revealed := o.Kefu("dead show order-1 --reveal")
	for _, says := range []string{clitest.Recipient, "您好", "13812345678"} {
		o.Contains(revealed.Out, says)
	}
	o.Equal([]string{"reveal dead show id=order-1: recipients shown unmasked"}, o.Audited())

	letters := clitest.Decode[[]letter.Letter](o, o.Kefu("dead show order-1 --reveal -o json"))
	o.Equal(clitest.PacketFor(clitest.Recipient), letters[0].Body)
	o.False(letters[0].Masked)
	o.True(clitest.Decode[[]letter.Letter](o, o.Kefu("dead show order-1 -o json"))[0].Masked)
}

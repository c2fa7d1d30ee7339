package campaign_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/campaign/campaigntest"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/schema"
)

func TestACampaignIsPausedResumedAndCancelled(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(40))
	s.Equal(cli.ExitDone, s.Kefu(startNovember).Code)

	said := func(line string, code int, says string) {
		t.Helper()
		r := s.Kefu(line)
		s.Equal(code, r.Code, "%s: %s", line, r.Err)
		s.Contains(r.Out+r.Err, says, line)
	}
	said("campaign resume november", cli.ExitDone, "is not paused: nothing was changed")
	said("campaign pause november", cli.ExitDone,
		"campaign november is paused: kefu campaign resume november lets it go on")
	said("campaign pause november", cli.ExitDone, "is paused already: nothing was changed")
	s.Equal(campaign.StatePaused, statusOf(s, "november").State)
	said("campaign watch november", cli.ExitPartly, "an operator has paused campaign november")
	said("campaign resume november", cli.ExitDone, "campaign november goes on")
	said("campaign cancel november", cli.ExitUsage,
		"Cancel campaign november? What has no end yet is never sent: 40 of 40 messages.")
	said("campaign cancel november --yes", cli.ExitDone,
		"campaign november is cancelled: 40 messages were not sent, 0 sent before")
	status := statusOf(s, "november")
	s.Equal([]any{campaign.StateCancelled, 0, 40},
		[]any{status.State, status.Queued, status.Cancelled})
	said("campaign cancel november --yes", cli.ExitDone, "was cancelled already")
	said("campaign pause november", cli.ExitFailed, "nothing of it can be changed any more")
	said("campaign resume november", cli.ExitFailed, "campaign november was cancelled")
	said("campaign watch november", cli.ExitFailed, "nothing was sent")
	said(startNovember, cli.ExitFailed, "was cancelled: give this one another name")
	for _, verb := range []string{"status", "watch", "pause", "resume", "cancel"} {
		said("campaign "+verb+" december", cli.ExitNothing, "no campaign december of wx1")
	}
	var details []string
	for _, e := range s.Audits() {
		s.Equal("campaign", e.Verb)
		details = append(details, e.Detail)
	}
	s.Len(details, 4)
	s.Equal([]string{"pause", "resume", "cancel: was planned"}, details[1:])
}

func TestACampaignThatWasPublishedStraightIsCancelledNotPaused(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	m := nats.NewMsg(schema.BulkSubject("wx1", "spring").String())
	m.Data = []byte(clitest.GoodPacket)
	_, err := s.Conn.Outbox.PublishWait(t.Context(), m)
	s.NoError(err)
	s.Regexp(`spring +published +1 +0 +0 +1`, s.Kefu("campaign list").Out)
	for _, verb := range []string{"pause", "resume"} {
		r := s.Kefu("campaign " + verb + " spring")
		s.Equal(cli.ExitFailed, r.Code)
		s.Contains(r.Err, "campaign spring was published straight to the queue: it can be cancelled "+
			"(kefu campaign cancel spring), not paused")
	}
	s.Contains(s.Kefu("campaign cancel spring").Err,
		"Cancel campaign spring? What has no end yet is never sent: 1 of 1 message.")
}

func TestWatchingEndsAndTheCampaignGoesOn(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(40))
	s.Equal(cli.ExitDone, s.Kefu(startNovember).Code)
	looks, err := s.Conn.NC.SubscribeSync("$JS.API.DIRECT.GET.KV_KEFU_JOB.>")
	s.NoError(err)
	s.NoError(s.Conn.NC.Flush())
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	said := make(chan clitest.Result, 1)
	go func() {
		said <- s.Kefu("campaign watch november", func(c *clitest.Try) { c.Ctx, c.Width = ctx, 80 })
	}()
	for range 8 { // it is at its second look at least
		_, err := looks.NextMsg(brokertest.Patience)
		s.NoError(err)
	}
	interrupt()
	r := <-said
	s.Equal(cli.ExitPartly, r.Code, r.Err)
	s.Contains(r.Err, "only the watching has ended, campaign november is stored")
	s.Contains(r.Err, "november  planned (no worker for wx1)\n[")
	s.Equal(campaign.StatePlanned, statusOf(s, "november").State)
}

func TestTheShellCompletesNamesOfCampaigns(t *testing.T) {
	t.Parallel()
	s := clitest.NewFiles(t)
	s.Write("people.csv", recipientRows(40))
	s.Equal(cli.ExitDone, s.Kefu(startNovember).Code)
	for _, verb := range []string{"status", "watch", "pause", "resume", "cancel"} {
		s.Contains(s.Kefu("__complete campaign "+verb+" n").Out, "november\tplanned, 40 rows", verb)
	}
}

func TestCampaignsOfSeveralAppsAreListedTogether(t *testing.T) {
	t.Parallel()
	o := clitest.NewOperation(t)
	for _, appID := range []string{"wx1", "wx2"} {
		campaigntest.Order(t, o.Conn,
			campaign.Terms{AppID: appID, Campaign: "of-" + appID, By: "ann@desk-1"}, "alice", "bob")
	}
	r := o.Kefu("campaign list")
	o.Equal(cli.ExitDone, r.Code, r.Err)
	o.Regexp(`of-wx1 +planned +2 +0 +0 +2 .* ann@desk-1 +wx1\n`, r.Out)
	o.Regexp(`of-wx2 +planned +2 +0 +0 +2 .* ann@desk-1 +wx2\n`, r.Out)
	only := o.Kefu("campaign list --app wx2")
	o.Equal(cli.ExitDone, only.Code, only.Err)
	o.NotContains(only.Out, "of-wx1")
	list := clitest.Decode[[]campaign.Status](o, o.Kefu("campaign list -o json"))
	o.Len(list, 2)
	o.Equal(cli.ExitUsage, o.Kefu("campaign status of-wx1").Code, "which app is meant?")
	o.Equal(cli.ExitDone, o.Kefu("campaign status of-wx1 --app wx1").Code)
}

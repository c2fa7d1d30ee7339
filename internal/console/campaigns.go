package console

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/schema"
	"golang.org/x/sync/errgroup"
)

// campaignsView is the page of all campaigns.
type campaignsView struct {
	AppID   string
	At      time.Time // when they were read; zero: they are being read
	Rows    []campaignRow
	Command string
}

// campaignRow is a campaign, drawn.
type campaignRow struct {
	campaign.Status
	Bar     page.Stack
	Died    int
	Left    int // have no end yet
	Moves   bool
	AppName string
}

func (c *Console) campaigns(r *request) (answer, error) {
	v := campaignsView{Command: "kefu campaign list"}
	var err error
	if v.AppID, err = r.app("app"); err != nil {
		return answer{}, err
	}
	rows, at, err := c.campaignLists.look(r.Context(), v.AppID,
		func(ctx context.Context) ([]named, error) { return c.listCampaigns(ctx, v.AppID) })
	if err != nil {
		return answer{}, err
	}
	v.At = at
	for _, row := range rows {
		v.Rows = append(v.Rows, drawnCampaign(r, row.Status, row.name))
	}
	v.Command += flag("app", v.AppID)
	return answer{template: "campaigns", title: r.T("Campaigns"), body: v, live: true}, nil
}

// named is a campaign with the name of its app.
type named struct {
	campaign.Status
	name string
}

// listCampaigns reads the campaigns of an app, or of all, several apps at a time.
func (c *Console) listCampaigns(ctx context.Context, appID string) ([]named, error) {
	known, err := apps.Known(ctx, c.conn, c.Config())
	if err != nil {
		return nil, err
	}
	const atOnce = 8
	lists := make([][]named, len(known))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, app := range known {
		if !app.HasQueue || appID != "" && appID != app.AppID {
			continue
		}
		group.Go(func() error {
			list, err := campaign.List(ctx, c.conn, app.AppID)
			for _, s := range list {
				lists[i] = append(lists[i], named{s, app.Name})
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b named) int { return b.StartedAt.Compare(a.StartedAt) })
	return all, nil
}

func drawnCampaign(r *request, s campaign.Status, name string) campaignRow {
	row := campaignRow{Status: s, AppName: name, Left: s.Queued + s.Open}
	for _, n := range s.Dead {
		row.Died += n
	}
	switch s.State {
	case campaign.StatePlanned, campaign.StateFeeding, campaign.StatePublished:
		row.Moves = row.Left > 0
	}
	row.Bar = page.NewStack(
		page.Part{Name: r.T("sent"), Count: s.Sent, Level: "good"},
		page.Part{Name: r.T("died"), Count: row.Died, Level: "bad"},
		page.Part{Name: r.T("cancelled"), Count: s.Cancelled, Level: "warn"},
		page.Part{Name: r.T("in flight or waiting"), Count: s.Open, Level: "busy"},
		page.Part{Name: r.T("queued"), Count: s.Queued, Level: "rest"},
		page.Part{Name: r.T("left out: cannot be sent"), Count: s.Invalid, Level: "warn"},
		page.Part{Name: r.T("left out: repeated"), Count: s.Repeated, Level: "rest"},
	)
	return row
}

// campaignView is the page of one campaign.
type campaignView struct {
	campaignRow
	Deaths    []deathsOf
	CanAct    bool
	CanPause  string // why not; empty: it can be
	CanResume string
	CanCancel string
	Command   string
}

// deathsOf is how many died for a reason.
type deathsOf struct {
	Reason schema.Reason
	Count  int
}

func (c *Console) readCampaign(r *request) (campaign.Status, error) {
	appID, name := r.PathValue("app"), r.PathValue("campaign")
	if schema.CheckToken("appid", appID) != nil || schema.CheckToken("campaign", name) != nil {
		return campaign.Status{}, r.missing("There is no campaign of this name.")
	}
	s, err := campaign.ReadStatus(r.Context(), c.conn, appID, name)
	if errors.Is(err, campaign.ErrUnknown) {
		return s, r.missing("There is no campaign of this name.")
	}
	return s, err
}

func (c *Console) campaign(r *request) (answer, error) {
	s, err := c.readCampaign(r)
	if err != nil {
		return answer{}, err
	}
	app, _ := c.Config().App(s.AppID)
	v := campaignView{campaignRow: drawnCampaign(r, s, app.Name), CanAct: r.canAct,
		Command: "kefu campaign status " + s.Campaign + flag("app", s.AppID)}
	for _, reason := range schema.Reasons() {
		if n := s.Dead[reason]; n > 0 {
			v.Deaths = append(v.Deaths, deathsOf{reason, n})
		}
	}
	v.allow(r)
	return answer{template: "campaign", title: s.Campaign, body: v, live: true}, nil
}

// allow says what can be done to a campaign as it stands.
func (v *campaignView) allow(r *request) {
	switch v.State {
	case campaign.StatePaused, campaign.StateHalted:
		v.CanPause = r.T("it does not go on")
	case campaign.StatePublished, campaign.StateUploading:
		v.CanPause, v.CanResume = r.T("all of it is fed"), r.T("all of it is fed")
	case campaign.StateDone:
		v.CanPause, v.CanResume = r.T("it has ended"), r.T("it has ended")
		if v.Upload != "" {
			v.CanCancel = r.T("it has ended")
		}
	case campaign.StateCancelled:
		ended := r.T("it is cancelled")
		v.CanPause, v.CanResume, v.CanCancel = ended, ended, ended
	default:
		v.CanResume = r.T("it goes on")
	}
	if v.Upload == "" { // nobody feeds it
		v.CanPause, v.CanResume = r.T("it was published straight"), r.T("it was published straight")
	}
	if !r.canAct {
		sign := r.T("sign in to do this")
		v.CanPause, v.CanResume, v.CanCancel = sign, sign, sign
	}
}

func (c *Console) pauseCampaign(r *request) (answer, error)  { return c.tellCampaign(r, job.Pause) }
func (c *Console) resumeCampaign(r *request) (answer, error) { return c.tellCampaign(r, job.Resume) }

func (c *Console) tellCampaign(r *request, command job.Command) (answer, error) {
	s, err := c.readCampaign(r)
	if err != nil {
		return answer{}, err
	}
	err = campaign.Tell(r.Context(), c.conn, s.AppID, s.Campaign, command, r.by)
	notice := map[job.Command]string{
		job.Pause: "campaign-paused", job.Resume: "campaign-resumed",
	}[command]
	switch {
	case errors.Is(err, campaign.ErrNotFed), errors.Is(err, campaign.ErrAllFed),
		errors.Is(err, job.ErrFinal):
		notice = "not-changed"
	case err != nil:
		return answer{}, err
	}
	return c.changedCampaign(s, notice), nil
}

// changedCampaign leads back to a campaign that was changed, and has open pages look at it.
func (c *Console) changedCampaign(s campaign.Status, notice string) answer {
	c.campaignLists.drop()
	c.hub.Changed("")
	return did("/campaigns/"+s.AppID+"/"+s.Campaign, notice)
}

// cancelCampaign asks whether a campaign is to be cancelled, and does so when it is told.
func (c *Console) cancelCampaign(r *request) (answer, error) {
	s, err := c.readCampaign(r)
	if err != nil {
		return answer{}, err
	}
	path := "/campaigns/" + s.AppID + "/" + s.Campaign
	if r.PostFormValue("sure") == "" {
		return answer{template: "sure", title: r.T("Cancel a campaign"), body: sureView{
			Question: r.T("Shall nothing more of campaign %s be sent?", s.Campaign),
			Facts: []fact{
				{r.T("not sent yet"), page.Num(s.Queued + s.Open)},
				{r.T("sent"), page.Num(s.Sent)},
				{r.T("app"), s.AppID},
			},
			Warning: r.T("This is final: what has no end yet is never sent, " +
				"and neither is what is published under this name later."),
			Action: path + "/cancel", Button: r.T("Cancel it for good"), Back: path,
			Command: "kefu campaign cancel " + s.Campaign + flag("app", s.AppID),
		}}, nil
	}
	err = campaign.Cancel(r.Context(), c.conn, s.AppID, s.Campaign, r.by)
	if errors.Is(err, job.ErrFinal) {
		return c.changedCampaign(s, "not-changed"), nil
	}
	if err != nil {
		return answer{}, err
	}
	return c.changedCampaign(s, "campaign-cancelled"), nil
}

// leftFor is how long the rest of a campaign takes.
func leftFor(eta time.Time) time.Duration { return max(time.Until(eta), time.Second) }

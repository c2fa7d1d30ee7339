package intent

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/pause"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

const (
	// campaignLook is between two looks at whether a campaign was cancelled.
	campaignLook = 250 * time.Millisecond

	// cancelGrace is for how long an intent of a campaign that was cancelled may take to end.
	cancelGrace = time.Second
)

// refused says that the intent's campaign was cancelled before: nothing of it is sent any more.
func (o *outcome) refused(ctx context.Context, appID string) error {
	if o.campaign == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cli.AsideWait)
	defer cancel()
	order, ok, err := withdrawal.ReadCampaignOrder(ctx, o.conn, appID, o.campaign)
	if err != nil || !ok {
		return nil //nolint:nilerr // it is looked for again while the end is waited for
	}
	return fmt.Errorf("%s, and nothing of it is sent any more: nothing was published; "+
		"give another --campaign", cancelledBy(o.campaign, order))
}

func cancelledBy(campaign string, order withdrawal.CampaignOrder) string {
	text := fmt.Sprintf("campaign %s was cancelled %s", campaign, cli.Moment(order.At))
	if order.By != "" {
		text += " by " + cli.Clean(order.By)
	}
	return text
}

// endOrCancel waits for the intent's end. That of a campaign which is cancelled meanwhile may never
// be told.
func (o *outcome) endOrCancel(ctx context.Context) (schema.Receipt, error) {
	if o.campaign == "" {
		return o.end(ctx)
	}
	wait, stop := context.WithCancelCause(ctx)
	var looking sync.WaitGroup
	defer looking.Wait()
	defer stop(nil)
	cancelled := make(chan withdrawal.CampaignOrder, 1)
	looking.Go(func() {
		if order, ok := o.untilCancelled(wait); ok {
			cancelled <- order
			stop(nil)
		}
	})
	r, err := o.end(wait)
	if err == nil {
		return r, nil
	}
	select {
	case order := <-cancelled:
		return o.afterCancel(ctx, order)
	default:
		return r, err
	}
}

// untilCancelled waits until the campaign is cancelled, and then a moment for the intent's end;
// false when ctx ends before.
func (o *outcome) untilCancelled(ctx context.Context) (withdrawal.CampaignOrder, bool) {
	for pause.For(ctx, campaignLook) == nil {
		order, ok, err := withdrawal.ReadCampaignOrder(ctx, o.conn, o.accepted.AppID, o.campaign)
		if err != nil || !ok {
			continue
		}
		return order, pause.For(ctx, cancelGrace) == nil
	}
	return withdrawal.CampaignOrder{}, false
}

// afterCancel says what became of the intent of a campaign that was cancelled.
func (o *outcome) afterCancel(
	ctx context.Context, order withdrawal.CampaignOrder,
) (schema.Receipt, error) {
	w, err := o.find(ctx)
	switch {
	case err == nil && w.State.Terminal():
		o.streams.Notef("%s", cancelledBy(o.campaign, order))
		return w.Receipt(), nil
	case err == nil && w.State == schema.StateInFlight:
		return schema.Receipt{}, fmt.Errorf("%s while %s was being sent: kefu find %[2]s tells "+
			"how it ends", cancelledBy(o.campaign, order), o.accepted.ID)
	}
	return schema.Receipt{}, fmt.Errorf("%s will not be sent: %s", o.accepted.ID,
		cancelledBy(o.campaign, order))
}

package withdrawal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// campaignPrefix is what the keys of orders about campaigns begin with:
// cancel-campaign.<appid>.<campaign>. Producers have no right to write them.
const campaignPrefix = "cancel-campaign."

// CampaignOrder is the order to send nothing of a campaign any more, whoever has published it. It
// is final: it covers what is published later as well.
type CampaignOrder struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// campaignKey is the key of a campaign's order.
func campaignKey(appID, campaign string) string { return campaignPrefix + appID + "." + campaign }

// CancelCampaign stores the order and returns the one that stands: where there was one before, that
// stays, and fresh is false. It is kept for keep and then forgotten: what is published after that
// is sent. The error may be a [schema.FieldError] of the app or the campaign.
func CancelCampaign(
	ctx context.Context, conn *broker.Conn, appID, campaign, by string, keep time.Duration,
) (order CampaignOrder, fresh bool, err error) {
	err = errors.Join(schema.CheckToken("appid", appID), schema.CheckToken("campaign", campaign))
	if err != nil {
		return order, false, err
	}
	ours := CampaignOrder{By: by, At: time.Now().UTC()}
	body, err := json.Marshal(ours)
	if err != nil {
		return order, false, err
	}
	for {
		order, last, err := readCampaign(ctx, conn, appID, campaign)
		if err != nil || !order.At.IsZero() {
			return order, order.equal(ours), err
		}
		m := broker.PutState(campaignKey(appID, campaign), body, keep)
		_, err = conn.SaveAfter(ctx, m, last)
		if !errors.Is(err, broker.ErrOvertaken) {
			if err != nil {
				err = fmt.Errorf("cancel campaign %s: %w", campaign, err)
			}
			return ours, err == nil, err
		}
		select { // what is there may be our own, and the node that answers may not have it yet
		case <-time.After(readAgain):
		case <-ctx.Done():
			return ours, false, context.Cause(ctx)
		}
	}
}

// equal says whether both are one order: two by the same person are made at two times.
func (o CampaignOrder) equal(other CampaignOrder) bool {
	return o.By == other.By && o.At.Equal(other.At)
}

// ReadCampaignOrder returns the order about a campaign; ok says whether there is one.
func ReadCampaignOrder(
	ctx context.Context, conn *broker.Conn, appID, campaign string,
) (o CampaignOrder, ok bool, err error) {
	o, _, err = readCampaign(ctx, conn, appID, campaign)
	return o, err == nil && !o.At.IsZero(), err
}

// readCampaign reads the order about a campaign, which is zero when there is none, and the sequence
// that its key has in KEFU_STATE.
func readCampaign(
	ctx context.Context, conn *broker.Conn, appID, campaign string,
) (o CampaignOrder, seq uint64, err error) {
	e, err := conn.LastState(ctx, campaignKey(appID, campaign))
	switch {
	case errors.Is(err, broker.ErrNoMessage):
		return o, 0, nil
	case err != nil:
		return o, 0, fmt.Errorf("withdrawals: %w", err)
	case e.Deleted:
		return o, e.Seq, nil
	}
	return parseCampaign(e), e.Seq, nil
}

// parseCampaign reads an order. One that cannot be read stands all the same: it says enough.
func parseCampaign(e broker.StateEntry) (o CampaignOrder) {
	if json.Unmarshal(e.Value, &o) != nil || o.At.IsZero() {
		o.At = e.Time
	}
	return o
}

// campaignOf names a campaign of an app.
type campaignOf struct{ appID, name string }

// applyCampaign takes in a change of an order about a campaign. The map is never changed: readers
// hold no lock.
func (o *Orders) applyCampaign(e broker.StateEntry) {
	appID, name, ok := strings.Cut(strings.TrimPrefix(e.Key, campaignPrefix), ".")
	if !ok {
		return
	}
	o.mu.Lock()
	cancelled := make(map[campaignOf]bool)
	if before := o.campaigns.Load(); before != nil {
		maps.Copy(cancelled, *before)
	}
	if e.Deleted {
		delete(cancelled, campaignOf{appID, name})
	} else {
		cancelled[campaignOf{appID, name}] = true
	}
	if o.campaigns.Store(&cancelled); len(cancelled) == 0 {
		o.campaigns.Store(nil)
	}
	tell := o.onCampaign
	o.mu.Unlock()
	if !e.Deleted && tell != nil {
		tell(appID, name)
	}
}

// CampaignCancelled reports whether a campaign was cancelled; never for "", which is none. It is
// asked for each intent of the bulk lane: it takes no lock, and hashes only where there is an
// order.
func (o *Orders) CampaignCancelled(appID, campaign string) bool {
	if campaign == "" {
		return false
	}
	cancelled := o.campaigns.Load()
	return cancelled != nil && (*cancelled)[campaignOf{appID, campaign}]
}

// OnCampaign has f called with each campaign that is cancelled from now on, right after
// CampaignCancelled has begun to say so. f must not block.
func (o *Orders) OnCampaign(f func(appID, campaign string)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.onCampaign = f
}

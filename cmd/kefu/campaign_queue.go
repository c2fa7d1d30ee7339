package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/publisher"
)

// campaignQueue is the publisher as a campaign sees it.
type campaignQueue struct{ publisher *publisher.Publisher }

// PublishBulk publishes intents of a campaign.
func (q campaignQueue) PublishBulk(ctx context.Context, appID string, terms campaign.Terms, intents []campaign.Intent) ([]campaign.Accepted, error) {
	common := []publisher.PublishOption{publisher.WithBulk(terms.Campaign)}
	if terms.Source != "" {
		common = append(common, publisher.WithSource(terms.Source))
	}
	if !terms.SendAt.IsZero() {
		common = append(common, publisher.WithSendAt(terms.SendAt))
	}
	if !terms.ExpiresAt.IsZero() {
		common = append(common, publisher.WithExpiresAt(terms.ExpiresAt))
	}
	batch := make([]publisher.Intent, len(intents))
	for i, in := range intents {
		batch[i] = publisher.Intent{Packet: json.RawMessage(in.JSON), Options: append([]publisher.PublishOption{publisher.WithID(in.ID)}, common...)}
	}
	results, err := q.publisher.PublishBatch(ctx, appID, batch)
	if len(results) != len(batch) {
		return nil, err
	}
	accepted := make([]campaign.Accepted, len(results)) // err only sums up what each result says
	for i, r := range results {
		accepted[i] = acceptedAs(r)
	}
	return accepted, nil
}

// acceptedAs is a result as a campaign sees it.
func acceptedAs(r publisher.Result) campaign.Accepted {
	a := campaign.Accepted{Duplicate: r.Duplicate, Err: r.Err}
	switch {
	// These come first: what has no answer because the queue became full meanwhile may be stored nevertheless.
	case errors.Is(r.Err, publisher.ErrNotQueued), errors.Is(r.Err, publisher.ErrOutcomeOpen):
		a.Err = fmt.Errorf("%w: %w", campaign.ErrAway, r.Err)
	case errors.Is(r.Err, publisher.ErrQueueFull):
		a.Err = fmt.Errorf("%w: %w", campaign.ErrQueueFull, r.Err)
	}
	return a
}

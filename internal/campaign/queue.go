package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kefuhq/kefu/publisher"
)

// PublisherQueue is a publisher as a campaign sees it.
type PublisherQueue struct{ Publisher *publisher.Publisher }

// PublishBulk publishes intents of a campaign.
func (q PublisherQueue) PublishBulk(
	ctx context.Context, appID string, terms Terms, intents []Intent,
) ([]Accepted, error) {
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
		batch[i] = publisher.Intent{Packet: json.RawMessage(in.JSON),
			Options: append([]publisher.PublishOption{publisher.WithID(in.ID)}, common...)}
	}
	results, err := q.Publisher.PublishBatch(ctx, appID, batch)
	if len(results) != len(batch) {
		return nil, err
	}
	accepted := make([]Accepted, len(results)) // err only sums up what each result says
	for i, r := range results {
		accepted[i] = acceptedAs(r)
	}
	return accepted, nil
}

// acceptedAs is a result as a campaign sees it.
func acceptedAs(r publisher.Result) Accepted {
	a := Accepted{Duplicate: r.Duplicate, Err: r.Err}
	switch {
	// These come first: what has no answer because the queue became full meanwhile may be stored
	// nevertheless.
	case errors.Is(r.Err, publisher.ErrNotQueued), errors.Is(r.Err, publisher.ErrOutcomeOpen):
		a.Err = fmt.Errorf("%w: %w", ErrAway, r.Err)
	case errors.Is(r.Err, publisher.ErrQueueFull):
		a.Err = fmt.Errorf("%w: %w", ErrQueueFull, r.Err)
	}
	return a
}

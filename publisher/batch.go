package publisher

import (
	"context"

	"github.com/kefuhq/kefu/schema"
)

// Intent is one message of a batch: a packet, in Go or as JSON, and its options.
type Intent struct {
	Packet  *schema.Packet
	JSON    []byte // Instead of Packet: published byte for byte.
	Options []PublishOption
}

// PublishBatch x.
func (p *Publisher) PublishBatch(ctx context.Context, appID string, intents []Intent) error {
	return nil
}

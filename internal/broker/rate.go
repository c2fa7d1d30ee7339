package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/wire"
)

// EnsureRateStream makes the stream of RateStream unless it is there, with as
// many replicas as KEFU_STATE has, and returns the broker's time and when the
// stream was made.
func (c *Conn) EnsureRateStream(ctx context.Context) (now, created time.Time, err error) {
	s, err := c.JS.Stream(ctx, wire.StreamRate)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		var state jetstream.Stream
		if state, err = c.JS.Stream(ctx, wire.StreamState); err == nil {
			s, err = c.JS.CreateStream(ctx, RateStream(state.CachedInfo().Config.Replicas))
		}
		// another worker's, made with other settings
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			s, err = c.JS.Stream(ctx, wire.StreamRate)
		}
	}
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("stream %s: %w", wire.StreamRate, explain(err))
	}
	info := s.CachedInfo()
	return info.TimeStamp, info.Created, nil
}

package broker_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// TestAReadWhoseAnswerIsLostEnds loses the answer with its connection: the client asks nobody again,
// and the caller may have no end of its own.
func TestAReadWhoseAnswerIsLostEnds(t *testing.T) {
	t.Parallel()
	const app = "wx0000000000000001"
	b := brokertest.Start(t, app)
	for name, read := range map[string]func(context.Context, *broker.Conn) error{
		"a count": func(ctx context.Context, c *broker.Conn) error {
			_, err := c.Count(ctx, schema.SendStream(app), ">")
			return err
		},
		"a message": func(ctx context.Context, c *broker.Conn) error {
			_, err := c.Get(ctx, schema.SendStream(app), 1)
			return err
		},
		"the last message of a subject": func(ctx context.Context, c *broker.Conn) error {
			_, err := c.Last(ctx, schema.SendStream(app), schema.BulkSubject(app, "x").String())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := brokertest.NewProxy(t, b)
			conn := p.Connect()
			p.Deafen()
			ended := make(chan error, 1)
			go func() { ended <- read(context.WithoutCancel(t.Context()), conn) }()
			require.ErrorIs(t, brokertest.Await(t, ended, "the read"), context.DeadlineExceeded)
		})
	}
}

package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

func TestWhatMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	with := func(errs ...error) error { return fmt.Errorf("x: %w", errors.Join(errs...)) }
	for name, row := range map[string]struct {
		err  error
		want bool
	}{
		"a full queue": {publisher.ErrQueueFull, true},
		"time that ran out": {
			with(publisher.ErrNotQueued, context.DeadlineExceeded), true},
		"a broker that did not answer":    {publisher.ErrOutcomeOpen, true},
		"a receipt that is not there yet": {publisher.ErrNoReceipt, true},
		"receipts that cannot be read": {with(publisher.ErrUnreadable, nats.ErrDisconnected),
			true},
		"receipts that may not be read": {with(publisher.ErrUnreadable, publisher.ErrForbidden),
			false},
		"receipts that nobody stores": {
			with(publisher.ErrUnreadable, jetstream.ErrStreamNotFound), false},
		"a bad packet": {&schema.FieldError{Field: "touser", Rule: "missing"},
			false},
		"an unknown app":       {publisher.ErrUnknownApp, false},
		"a large packet":       {publisher.ErrTooLarge, false},
		"a missing permission": {publisher.ErrForbidden, false},
		"a closed publisher": {with(publisher.ErrNotQueued, publisher.ErrClosed),
			false},
		"a closed connection": {
			with(publisher.ErrNotQueued, nats.ErrConnectionClosed), false},
		"a connection that is being closed": {
			with(publisher.ErrOutcomeOpen, nats.ErrConnectionDraining), false},
	} {
		require.Equal(t, row.want, (&publisher.Error{Err: row.err}).Retryable(), name)
	}
}

func TestAnErrorNamesItsIntent(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	for name, call := range map[string]func() error{
		"a publish": func() error {
			_, err := p.Publish(t.Context(), app, text("oAlice", ""), publisher.WithID("order-7"))
			return err
		},
		"a wait": func() error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := p.Wait(ctx, publisher.Accepted{AppID: app, ID: "order-7"})
			return err
		},
		"a look": func() error {
			_, err := p.Receipt(t.Context(), app, "order-7")
			return err
		},
	} {
		err := call()
		var e *publisher.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, app, e.AppID, name)
		require.Equal(t, "order-7", e.ID, name)
		require.ErrorContains(t, err, "intent order-7: ", name)
	}

	t.Run("unless its id is none", func(t *testing.T) {
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID("a\nb"))
		require.EqualError(t, err, "Nats-Msg-Id: must be printable ASCII")
	})
	t.Run("also one that was made, by which it can be published again", func(t *testing.T) {
		send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
		_, err := p.Publish(t.Context(), app, text("oAlice", "hi"))
		require.NoError(t, err)
		_, err = p.Publish(t.Context(), app, text("oAlice", "hi"))
		var e *publisher.Error
		require.ErrorAs(t, err, &e)
		require.True(t, e.Retryable())
		send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 2 })
		a, err := p.Publish(t.Context(), app, text("oAlice", "hi"), publisher.WithID(e.ID))
		require.NoError(t, err)
		require.Equal(t, e.ID, a.ID)
	})
}

func TestABatchTellsWhichIntentsFailed(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1500 })
	intents := crowd(2000)
	intents[1200].Packet = text("oUser1200", "")
	results, err := newPublisher(t, conn.JS).PublishBatch(t.Context(), app, intents)
	var batch *publisher.BatchError
	require.ErrorAs(t, err, &batch)
	require.Equal(t, 2000, batch.Total)
	require.Len(t, batch.Errors, 500)
	var again []publisher.Intent
	for _, e := range batch.Errors {
		require.Same(t, results[e.Index].Err, e)
		require.Equal(t, fmt.Sprintf("id-%d", e.Index), e.ID)
		if e.Retryable() {
			again = append(again, intents[e.Index])
		}
	}
	require.Equal(t, intents[1501:], again)
	require.Len(t, batch.Unwrap(), 500)
}

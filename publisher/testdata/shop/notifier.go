package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// queue is what the shop needs of a publisher. Its tests use publishertest's.
type queue interface {
	Publish(
		context.Context, string, json.Marshaler, ...publisher.PublishOption,
	) (publisher.Accepted, error)
	Wait(context.Context, publisher.Accepted) (schema.Receipt, error)
	Cancel(context.Context, string, string, ...publisher.CancelOption) error
}

// notifier tells customers about their orders.
type notifier struct {
	queue queue
	appID string
	pause time.Duration // while the queue is full
}

// shipped tells a customer that an order was shipped, and returns when WeChat has the message.
func (n *notifier) shipped(ctx context.Context, order, openid string) error {
	accepted, err := n.publish(ctx, openid, "您的订单已发货",
		publisher.WithID("order-"+order+"-shipped"), publisher.WithExpiresIn(time.Hour))
	if err != nil {
		return err
	}
	receipt, err := n.queue.Wait(ctx, accepted)
	if err != nil {
		return err
	}
	if receipt.State != schema.StateSent {
		return fmt.Errorf("%s: %s, %s", receipt.ID, receipt.State, receipt.Reason)
	}
	return nil
}

// remind has a customer be reminded of an order at a time, unless it is paid before.
func (n *notifier) remind(ctx context.Context, order, openid string, at time.Time) error {
	_, err := n.publish(ctx, openid, "您的订单尚未付款",
		publisher.WithID("order-"+order+"-unpaid"), publisher.WithSendAt(at))
	return err
}

// paid withdraws the reminder.
func (n *notifier) paid(ctx context.Context, order string) error {
	return n.queue.Cancel(ctx, n.appID, "order-"+order+"-unpaid")
}

// publish waits while the queue is full. The id makes a repeat safe.
func (n *notifier) publish(
	ctx context.Context, openid, text string, opts ...publisher.PublishOption,
) (publisher.Accepted, error) {
	packet := &schema.Packet{ToUser: openid, Body: &schema.Text{Content: text}}
	for {
		accepted, err := n.queue.Publish(ctx, n.appID, packet, opts...)
		if !errors.Is(err, publisher.ErrQueueFull) {
			return accepted, err
		}
		select {
		case <-time.After(n.pause):
		case <-ctx.Done():
			return accepted, err
		}
	}
}

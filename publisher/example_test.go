package publisher_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

const appID = "wx0000000000000001"

func connect() (*nats.Conn, *publisher.Publisher) {
	nc, err := nats.Connect("nats://127.0.0.1:4222", nats.Name("shop"), nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	p, err := publisher.New(js, publisher.WithDefaults(publisher.WithSource("shop")))
	if err != nil {
		log.Fatal(err)
	}
	return nc, p
}

func ExamplePublisher_Publish() {
	nc, p := connect()
	defer nc.Close()

	accepted, err := p.Publish(context.Background(), appID,
		&schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: "您的订单已发货"}},
		publisher.WithID("order-4711-shipped"), publisher.WithExpiresIn(30*time.Minute))

	var field *schema.FieldError
	switch {
	case err == nil:
		fmt.Println("queued as", accepted.ID)
	case errors.As(err, &field):
		fmt.Println("our mistake:", field)
	case errors.Is(err, publisher.ErrOutcomeOpen): // first: the queue may have become full meanwhile
		fmt.Println("again, as", accepted.ID)
	case errors.Is(err, publisher.ErrQueueFull), errors.Is(err, publisher.ErrNotQueued):
		fmt.Println("later:", err)
	default:
		fmt.Println(err)
	}
}

func ExamplePublisher_PublishBatch() {
	nc, p := connect()
	defer nc.Close()

	var intents []publisher.Intent
	for _, openid := range []string{"oAlice", "oBob"} {
		intents = append(intents, publisher.Intent{
			Packet:  &schema.Packet{ToUser: openid, Body: &schema.Text{Content: "明天开始打折"}},
			Options: []publisher.PublishOption{publisher.WithID("spring-sale-" + openid)},
		})
	}
	results, err := p.PublishBatch(context.Background(), appID, intents, publisher.WithBulk("spring-sale"))
	if err != nil {
		for _, r := range results {
			if r.Err != nil {
				fmt.Println(r.ID, r.Err)
			}
		}
	}
}

func ExamplePublisher_Watch() {
	nc, p := connect()
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	w, err := p.Watch(ctx, appID)
	if err != nil {
		log.Fatal(err)
	}
	defer w.Close()
	accepted, err := p.Publish(ctx, appID, &schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: "hi"}})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := w.Wait(ctx, accepted.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.State, receipt.Reason)
}

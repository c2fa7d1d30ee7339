package publisher_test

import (
	"context"
	"encoding/json"
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

// connect is what a program does once.
func connect() *publisher.Publisher {
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
	return p
}

func ExamplePublisher_Publish() {
	p := connect()
	accepted, err := p.Publish(context.Background(), appID,
		&schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: "您的订单已发货"}},
		publisher.WithID("order-4711-shipped"), publisher.WithExpiresIn(30*time.Minute))

	var (
		field  *schema.FieldError
		failed *publisher.Error
	)
	switch {
	case err == nil:
		fmt.Println("queued as", accepted.ID)
	case errors.As(err, &field):
		fmt.Println("our mistake:", field)
	case errors.As(err, &failed) && failed.Retryable():
		fmt.Println("later, as", failed.ID)
	default:
		fmt.Println(err)
	}
}

// A packet that is ready as JSON is published as it is.
func ExamplePublisher_Publish_json() {
	p := connect()
	packet := json.RawMessage(`{"touser":"oAlice","msgtype":"text","text":{"content":"您的订单已发货"}}`)
	if _, err := p.Publish(context.Background(), appID, packet); err != nil {
		fmt.Println(err)
	}
}

// A full queue takes what fits; the rest is tried again.
func ExamplePublisher_PublishBatch() {
	p := connect()
	var intents []publisher.Intent
	for _, openid := range []string{"oAlice", "oBob"} {
		intents = append(intents, publisher.Intent{
			Packet:  &schema.Packet{ToUser: openid, Body: &schema.Text{Content: "明天开始打折"}},
			Options: []publisher.PublishOption{publisher.WithID("spring-sale-" + openid)},
		})
	}
	for len(intents) > 0 {
		_, err := p.PublishBatch(context.Background(), appID, intents, publisher.WithBulk("spring-sale"))
		var batch *publisher.BatchError
		if !errors.As(err, &batch) {
			break
		}
		var again []publisher.Intent
		for _, failed := range batch.Errors {
			if failed.Retryable() {
				again = append(again, intents[failed.Index])
			} else {
				fmt.Println(failed)
			}
		}
		intents = again
		time.Sleep(time.Second)
	}
}

func ExamplePublisher_Wait() {
	p := connect()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	accepted, err := p.Publish(ctx, appID, &schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: "hi"}})
	if err != nil {
		log.Fatal(err)
	}
	receipt, err := p.Wait(ctx, accepted)
	switch {
	case errors.Is(err, publisher.ErrNoReceipt):
		fmt.Println("it has not ended within a minute")
	case err != nil:
		log.Fatal(err)
	case receipt.State == schema.StateSent:
		fmt.Println("sent")
	default:
		fmt.Println(receipt.State, receipt.Reason, receipt.Errmsg)
	}
}

// An intent is checked before there is a broker. Any NATS client may publish the message.
func ExampleIntent_Message() {
	m, err := publisher.Intent{
		Packet:  &schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: "您好"}},
		Options: []publisher.PublishOption{publisher.WithID("order-4711-shipped"), publisher.WithSource("shop")},
	}.Message(appID, schema.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Subject)
	fmt.Println(m.Header.Get(schema.HeaderMsgID), m.Header.Get(schema.HeaderSource))
	fmt.Println(string(m.Data))

	_, err = publisher.Intent{
		Packet: &schema.Packet{ToUser: "oAlice", Body: &schema.Text{}}, Options: []publisher.PublishOption{publisher.WithID("a")},
	}.Message(appID, schema.Limits{})
	fmt.Println(err)
	// Output:
	// kefu.send.wx0000000000000001.live.oAlice
	// order-4711-shipped shop
	// {"touser":"oAlice","msgtype":"text","text":{"content":"您好"}}
	// intent a: text.content: missing
}

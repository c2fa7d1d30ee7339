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
	nc, err := nats.Connect(natsURL(), nats.Name("shop"), nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	examples.atEnd(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	p, err := publisher.New(js, publisher.WithDefaults(publisher.WithSource("shop")))
	if err != nil {
		log.Fatal(err)
	}
	examples.atEnd(func() { _ = p.Close() })
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
	// Output:
	// queued as order-4711-shipped
}

// A packet that is ready as JSON is published as it is.
func ExamplePublisher_Publish_json() {
	p := connect()
	packet := json.RawMessage(`{"touser":"oAlice","msgtype":"text","text":{"content":"您好"}}`)
	accepted, err := p.Publish(context.Background(), appID, packet)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("queued in", accepted.Stream)
	// Output:
	// queued in KEFU_SEND_wx0000000000000001
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
	for {
		_, err := p.PublishBatch(context.Background(), appID, intents,
			publisher.WithBulk("spring-sale"))
		var batch *publisher.BatchError
		if !errors.As(err, &batch) {
			break // All were accepted.
		}
		var again []publisher.Intent
		for _, failed := range batch.Errors {
			if failed.Retryable() {
				again = append(again, intents[failed.Index])
			} else {
				fmt.Println(failed)
			}
		}
		if len(again) == 0 {
			break
		}
		intents = again
		time.Sleep(time.Second)
	}
	fmt.Println("all that can be is queued")
	// Output:
	// all that can be is queued
}

// The recipients come from wherever the program has them, a row of its database each. Run again, the
// campaign goes on.
func ExamplePublisher_PublishCampaign() {
	p := connect()
	type customer struct{ openid, name string }
	rows := []customer{{"oAlice", "小艾"}, {"oBob", "老鲍"}, {"oCarol", ""}, {"oAlice", "小艾"}}
	recipients := func(yield func(json.Marshaler, error) bool) {
		for _, c := range rows {
			text := &schema.Text{}
			if c.name != "" {
				text.Content = c.name + "，明天开始打折"
			}
			if !yield(&schema.Packet{ToUser: c.openid, Body: text}, nil) {
				return
			}
		}
	}
	spring := publisher.Campaign{Name: "spring-sale-1", Invalid: leftOut}
	done, err := p.PublishCampaign(context.Background(), appID, spring, recipients,
		publisher.WithExpiresIn(48*time.Hour))
	if err != nil {
		log.Fatal(err) // To be run again: it goes on behind done.Next.
	}
	fmt.Println(done.Published, "queued,", done.Repeated, "repeated,", done.Invalid, "left out")
	// Output:
	// recipient 2, counted from 0: text.content: missing
	// 2 queued, 1 repeated, 1 left out
}

// leftOut tells of a recipient whose packet breaks a rule, and goes on.
func leftOut(_ json.Marshaler, err *publisher.Error) error {
	fmt.Printf("recipient %d, counted from 0: %v\n", err.Index, err)
	return nil
}

func ExamplePublisher_Wait() {
	p := connect()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	packet := &schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: "您好"}}
	accepted, err := p.Publish(ctx, appID, packet)
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
	// Output:
	// sent
}

// Whether receipts can be read is known before anything is published. The id is of no intent: there
// will be no receipt of it.
func ExamplePublisher_Wait_whenTheProgramStarts() {
	p := connect()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := p.Wait(ctx, publisher.Accepted{AppID: appID, ID: "shop-starts"})
	if errors.Is(err, publisher.ErrUnreadable) {
		log.Fatal(err) // A permission is missing, say.
	}
	fmt.Println("receipts can be read:", errors.Is(err, publisher.ErrNoReceipt))
	// Output:
	// receipts can be read: true
}

// A reminder is withdrawn before its time.
func ExamplePublisher_Cancel() {
	p := connect()
	ctx := context.Background()
	accepted, err := p.Publish(ctx, appID,
		&schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: "您的订单尚未付款"}},
		publisher.WithID("order-4712-unpaid"), publisher.WithSendAt(time.Now().Add(24*time.Hour)))
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Cancel(ctx, appID, accepted.ID); err != nil {
		log.Fatal(err)
	}
	fmt.Println(accepted.ID, "will not be sent")
	// Output:
	// order-4712-unpaid will not be sent
}

// A program that must miss no receipt goes on from where it was when it runs again.
func ExamplePublisher_Receipts() {
	p := connect()
	ctx := context.Background()
	packet := &schema.Packet{ToUser: "oBob", Body: &schema.Text{Content: "您的快递已到"}}
	_, err := p.Publish(ctx, appID, packet,
		publisher.WithID("parcel-1"), publisher.WithSource("courier"))
	if err != nil {
		log.Fatal(err)
	}

	var stored publisher.Position // Where the program was; none at first.
	from := publisher.ReceiptsOptions{
		Source: "courier", After: stored, Since: time.Now().Add(-time.Hour),
	}
	for settled, err := range p.Receipts(ctx, appID, from) {
		if err != nil {
			log.Fatal(err)
		}
		if gap := settled.Missed; gap != nil { // It was away for longer than receipts are kept.
			fmt.Println("receipts may be missing from", gap.After, "to", gap.Before)
		}
		fmt.Println(settled.ID, settled.State)
		stored = settled.Position // To be stored with what was made of the receipt.
		break
	}
	fmt.Println("there is a place to go on from:", !stored.IsZero())
	// Output:
	// parcel-1 sent
	// there is a place to go on from: true
}

// An intent is checked before there is a broker. Any NATS client may publish the message.
func ExampleIntent_Message() {
	shop := publisher.WithSource("shop")
	m, err := publisher.Intent{
		Packet:  &schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: "您好"}},
		Options: []publisher.PublishOption{publisher.WithID("order-4711-shipped"), shop},
	}.Message(appID, schema.Limits{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Subject)
	fmt.Println(m.Header.Get(schema.HeaderMsgID), m.Header.Get(schema.HeaderSource))
	fmt.Println(string(m.Data))

	_, err = publisher.Intent{
		Packet:  &schema.Packet{ToUser: "oAlice", Body: &schema.Text{}},
		Options: []publisher.PublishOption{publisher.WithID("a")},
	}.Message(appID, schema.Limits{})
	fmt.Println(err)
	// Output:
	// kefu.send.wx0000000000000001.live.oAlice
	// order-4711-shipped shop
	// {"touser":"oAlice","msgtype":"text","text":{"content":"您好"}}
	// intent a: text.content: missing
}

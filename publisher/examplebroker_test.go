package publisher_test

import (
	"context"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/schema"
)

// examples is the broker of all examples, with a worker that sends every intent. It starts with the
// first of them: an example has no [testing.TB] to end a broker of its own.
var examples exampleBroker

type exampleBroker struct {
	start sync.Once
	url   string
	ends  []func() // To be called from the last to the first.
}

// atEnd has f called when the examples are over.
func (b *exampleBroker) atEnd(f func()) { b.ends = append(b.ends, f) }

func (b *exampleBroker) end() {
	for len(b.ends) > 0 {
		last := len(b.ends) - 1
		b.ends[last]()
		b.ends = b.ends[:last]
	}
}

// natsURL is where the broker of the examples listens.
func natsURL() string {
	examples.start.Do(func() {
		if err := examples.run(); err != nil {
			panic(err)
		}
	})
	return examples.url
}

func (b *exampleBroker) run() error {
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	if err != nil {
		return err
	}
	b.atEnd(e.Close)
	ctx := context.Background()
	conn, err := broker.Connect(ctx, broker.Options{
		URL: e.URL(), Name: "examples", FirstWait: brokertest.Patience,
	})
	if err != nil {
		return err
	}
	b.atEnd(conn.Close)
	plan, err := broker.NewPlan(ctx, conn.JS, brokertest.Spec(appID))
	if err != nil {
		return err
	}
	if _, err := plan.Apply(ctx, conn.JS, false); err != nil {
		return err
	}
	b.url = e.URL()
	return b.work(ctx, conn)
}

// work sends every intent that is not to wait for its time.
func (b *exampleBroker) work(ctx context.Context, conn *broker.Conn) error {
	c, err := conn.JS.CreateConsumer(ctx, schema.SendStream(appID),
		jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return err
	}
	run, err := c.Consume(func(m jetstream.Msg) {
		if m.Headers().Get(schema.HeaderSendAt) != "" {
			return
		}
		r := sent(m.Headers().Get(schema.HeaderMsgID))
		r.AppID, r.Source = appID, m.Headers().Get(schema.HeaderSource)
		if err := storeReceipt(conn.JS, r); err == nil {
			_ = m.Ack()
		}
	})
	if err != nil {
		return err
	}
	b.atEnd(func() {
		run.Stop()
		<-run.Closed()
	})
	return nil
}

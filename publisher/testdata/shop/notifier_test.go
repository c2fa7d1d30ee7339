package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/publisher/publishertest"
	"github.com/kefuhq/kefu/schema"
)

const app = "wx0000000000000001"

func TestShippedReturnsWhenTheMessageWasSent(t *testing.T) {
	fake := publishertest.New(app)
	fake.AutoSend = true
	shop := &notifier{queue: fake, appID: app}
	if err := shop.shipped(t.Context(), "4711", "oAlice"); err != nil {
		t.Fatal(err)
	}
	intents := fake.Intents(app)
	if len(intents) != 1 || intents[0].ID != "order-4711-shipped" ||
		intents[0].Packet.ToUser != "oAlice" {
		t.Errorf("published %+v", intents)
	}
}

func TestShippedTellsWhyItWasNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := publishertest.New(app)
		shop := &notifier{queue: fake, appID: app}
		done := make(chan error)
		go func() { done <- shop.shipped(t.Context(), "4711", "oAlice") }()
		synctest.Wait() // it waits for the receipt
		if err := fake.Bury(app, "order-4711-shipped", schema.ReasonRecipient); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err == nil || !strings.Contains(err.Error(), "dead, recipient") {
			t.Errorf("told %v", err)
		}
	})
}

func TestAPaidOrderIsNotReminded(t *testing.T) {
	fake := publishertest.New(app)
	shop := &notifier{queue: fake, appID: app}
	if err := shop.remind(t.Context(), "4712", "oAlice", time.Now().Add(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := shop.paid(t.Context(), "4712"); err != nil {
		t.Fatal(err)
	}
	if state := fake.Intents(app)[0].State; state != schema.StateCancelled {
		t.Errorf("the reminder is %s", state)
	}
}

func TestAFullQueueIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := publishertest.New(app)
		fake.AutoSend = true
		fake.SetFull(app, true)
		shop := &notifier{queue: fake, appID: app, pause: time.Second}
		time.AfterFunc(time.Minute, func() { fake.SetFull(app, false) })
		if err := shop.shipped(t.Context(), "4711", "oAlice"); err != nil {
			t.Fatal(err)
		}

		fake.SetFull(app, true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := shop.remind(ctx, "4712", "oAlice", time.Now().Add(24*time.Hour))
		if failed, ok := err.(*publisher.Error); !ok || !failed.Retryable() {
			t.Errorf("told %v", err)
		}
	})
}

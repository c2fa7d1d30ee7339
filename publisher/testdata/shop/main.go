// The shop is a program of another module. It was written from the documentation of package
// publisher alone.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/publisher"
)

func main() {
	nc, err := nats.Connect(os.Args[1], nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	p, err := publisher.New(js, publisher.WithDefaults(publisher.WithSource("shop")))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	shop := &notifier{queue: p, appID: os.Args[2], pause: 100 * time.Millisecond}
	if err := shop.shipped(ctx, "4711", "oAlice"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("4711 shipped")
	if err := shop.remind(ctx, "4712", "oAlice", time.Now().Add(24*time.Hour)); err != nil {
		log.Fatal(err)
	}
	if err := shop.paid(ctx, "4712"); err != nil {
		log.Fatal(err)
	}
	fmt.Println("4712 paid")
}

// Package publisher is the producers' door to kefu: it puts send-intents into an app's queue and tells what became of them.
//
// # The model
//
// An intent is one WeChat customer-service message to one user: a packet, exactly as the API's own page shows it, under an id. It is
// accepted when the broker has stored it; from then on kefu sends it exactly as often as the contract says, and nothing is silently
// dropped. The queue has two lanes: live (the default) for conversations, in order for each recipient, and bulk (see [WithBulk]) for
// campaigns, which yields to live.
//
// # The id
//
// The id is what makes repeating safe. One is made when none is given, before the first try, so that a leader change or a lost
// connection neither loses nor doubles the message. But a producer that may itself die between deciding and publishing should
// give one with [WithID] that follows from what the message is about ("order-4711-shipped"), and simply publish again: a repeat of an id
// is sent once.
//
//	nc, err := nats.Connect(url)
//	…
//	js, err := jetstream.New(nc)
//	…
//	p, err := publisher.New(js, publisher.WithDefaultSource("orders"))
//	…
//	packet := &schema.Packet{ToUser: openid, Body: &schema.Text{Content: "您的订单已发货"}}
//	_, err = p.Publish(ctx, "wx0000000000000001", packet, publisher.WithID("order-4711-shipped"))
//
// # Errors
//
// A bad packet, id or option is a [*schema.FieldError] and never leaves the process. [ErrUnknownApp], [ErrTooLarge] and [ErrQueueFull] are
// refusals: nothing is stored, and only the last one passes by itself (slow down, publish again with the same id). What passes
// within seconds is waited out, until ctx ends, or for 15 seconds when ctx has no deadline. Then [ErrUnavailable] says that nothing was
// stored, and [ErrOutcomeOpen] that nobody knows: publish the same id again. No error holds a recipient or a text.
//
// # Volume
//
// [Publisher.PublishBatch] stores up to a thousand intents with one commit. It answers for each intent.
//
// # What became of it
//
// A [Watcher] follows an app's receipts; [Publisher.PublishAndWait] is publish and wait in one; [Publisher.Receipt] looks for a stored one.
// Receipts are kept for 3 days, and come only for what the operators have them written (all, failures or off).
//
// # Permissions
//
// Publishing needs kefu.send.<appid>.> and a reply inbox. To tell an unknown app from an election, it asks for the stream's info when nobody
// answers; without that permission it guesses after a second. Receipts need the consumer API of the stream KEFU_RECEIPT.
package publisher

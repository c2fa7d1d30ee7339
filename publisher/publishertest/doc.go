// Package publishertest is a publisher without a broker, for the tests of programs that use package
// publisher.
//
// A program under test takes what it needs of a publisher as an interface of its own, which
// [*publisher.Publisher] and [*Publisher] both have:
//
//	type queue interface {
//		Publish(
//			context.Context, string, json.Marshaler, ...publisher.PublishOption,
//		) (publisher.Accepted, error)
//		Wait(context.Context, publisher.Accepted) (schema.Receipt, error)
//	}
//
// The fake checks packets and options, knows a repeat of an id, and fails with the errors of the
// real one. What becomes of an intent is the test's to say: [Publisher.Send], [Publisher.Bury],
// [Publisher.Settle], or AutoSend. The test also says when a queue is full ([Publisher.SetFull])
// and what else goes wrong (Refuse, [Publisher.ExpireReceipts]).
//
// It starts no goroutine and knows no time but that of package time: it may be used in a bubble of
// testing/synctest.
package publishertest

// Package schema is what travels through kefu: the packets that producers publish, the subjects and
// headers they go under, and the letters and receipts that come back. Everything else in kefu, and
// every producer written in Go, speaks through these types; the package needs nothing but the
// standard library.
//
// # The model
//
// An intent is one message to be delivered to one user. On the wire it is three things:
//
//   - A [Subject] says whose it is and who waits for it: the app, the [Lane], and the openid or
//     the campaign.
//   - An [Envelope], the headers, says how to treat it: its id, when it may and must be sent, what
//     to do when nobody knows whether it was.
//   - A [Packet], the payload, is the JSON of WeChat's customer-service API itself. Its [Body] is a
//     message of one msgtype.
//
// An intent ends in one terminal [State]. A [Receipt] says which; a dead one leaves a [Letter] with
// its [Reason] and every [Attempt].
//
// # Reading and writing packets
//
// [Decode] is the gate: a packet that passes can be sent, and means to every JSON parser what it
// means to this one. It is strict where a lenient reader would let a mangled message through to a
// user, and keeps what it does not know: fields that WeChat invents tomorrow are forwarded digit
// for digit. [Packet.Append] writes what goes to the API: raw UTF-8, because \u escapes have
// reached users as such. Whatever the producer wrote, what arrives means the same JSON, but for
// three things: a card gets its msgtype, music its hqmusicurl, and a null where nothing need stand
// is left out.
//
//	p, err := schema.Decode(msg.Data(), schema.Limits{})
//	if err != nil {
//		return err // Such as "news.articles: 11 articles, at most 10".
//	}
//	body := schema.Encode(p)
//
// encoding/json reads and writes a packet, and each object in it, in the same form and as strictly.
//
// Producers in Go build packets instead:
//
//	p := &schema.Packet{ToUser: openid, Body: &schema.Text{Content: "您好"}}
//
// # Errors
//
// All errors are a [*FieldError]: the field or header and the rule it breaks, in words for the
// producer. They never hold a value, so that texts and openids stay out of logs.
//
// # How it is made
//
// Each JSON object of the API is one form in types.go: its fields, where they live, and the rule
// each obeys. Reading, checking and writing all walk the same forms. Rules are in check.go, the
// JSON scanner in scan.go.
package schema

package wechat

import "context"

// SendPath and TypingPath are the places of the two calls about messages, as the quota calls name
// them.
const (
	SendPath   = "/cgi-bin/message/custom/send"
	TypingPath = "/cgi-bin/message/custom/typing"
)

// Send delivers one packet of the customer-service API, JSON as the API document shows it, and
// returns nil when WeChat has accepted it (errcode 0), else an *Error:
//
//	answered       the errcode's fault, or by HTTP status: 3xx and 412 config,
//	               429 minute quota, 503 busy
//	no token       Call is CallToken; config, quota or upstream: the packet was certainly not sent
//	not sent       FaultUpstream, or FaultConfig for a bad certificate: see Error.NotSent
//	unknown        FaultUnknown: the request may have left and no usable answer came
//
// A stale token (40001, 40014, 41001, 42001) is replaced and the packet sent once more within the
// call. When ctx ends, errors.Is finds its error in the result, and the fault still tells whether
// the packet had left.
//
// API: /doc/service/api/customer/message/api_sendcustommessage on developers.weixin.qq.com.
func (c *Client) Send(ctx context.Context, packet []byte) error {
	return c.Deliver(ctx, Message{Packet: packet})
}

// Message is a packet with what goes with it.
type Message struct {
	Packet      []byte
	Traceparent string // the header of W3C's trace context; "" for none

	// Before is asked each time before the packet leaves, when the token is at hand: to get one may
	// take many seconds. Its error ends the call and is returned as it is; then the packet was
	// certainly not sent. May be nil.
	Before func() error
}

// Deliver is Send for a message.
func (c *Client) Deliver(ctx context.Context, m Message) error {
	_, err := c.deliver(ctx, c.send, &m)
	return err
}

package deadletter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/plainjson"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Message is the letter as it is published: on the subject of its app and
// reason, under a message id of its own, so that burying the same intent twice
// (a crash between letter and ack) leaves one letter. Whoever stores it stores
// [IndexMessage] next.
//
// An error means that the letter names no place to go to: an appid or a reason
// that is none, or an id that is not the intent's.
func Message(l *schema.Letter) (*nats.Msg, error) {
	subject := schema.DeadSubject(l.AppID, l.Reason)
	if subject == "" {
		return nil, fmt.Errorf("dead letter: appid or reason %q is not valid", l.Reason)
	}
	if err := schema.CheckID(l.ID); err != nil {
		return nil, fmt.Errorf("dead letter: %w", err)
	}
	body, err := encode(l, 1024+len(l.Body)+2*len(l.BodyBase64))
	if err != nil {
		return nil, fmt.Errorf("dead letter: %w", err)
	}
	return &nats.Msg{
		Subject: subject,
		Header: nats.Header{
			schema.HeaderMsgID: {wire.LetterMsgID(l.AppID, l.ID, l.Generation, l.Sequence)},
		},
		Data: body,
	}, nil
}

// encode returns v as JSON, of about size bytes. It leaves < > & as they are: people
// read letters with any NATS tool. The needles of a filter are encoded by it as well,
// or they would not be found in the letters.
func encode(v any, size int) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(size)
	if err := plainjson.NewEncoder(&b).Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// itemOf reads a stored letter. What is no letter becomes an item that says
// so: one message that somebody published by hand must not hide all others.
func itemOf(s broker.Stored) Item {
	item := Item{Seq: s.Seq, Stored: s.Time, raw: s.Data}
	if err := json.Unmarshal(s.Data, &item.Letter); err == nil && item.Letter.ID != "" {
		return item
	}
	item.Broken = true
	item.Letter = schema.Letter{Detail: "not a letter of kefu's: published to " +
		schema.StreamDead + " by hand?", DiedAt: s.Time}
	if token := strings.Split(s.Subject, "."); len(token) == 4 {
		item.Letter.AppID, item.Letter.Reason = token[2], schema.Reason(token[3])
	}
	wire.SetPacket(&item.Letter, s.Data)
	return item
}

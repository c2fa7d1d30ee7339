package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// PublishAndWait publishes an intent and returns when it has ended: sent, dead
// or cancelled. The error is that of [Publisher.Publish], or says that ctx ended
// first; the receipt then holds the id and no state. ctx should have an end: an
// intent may wait for hours, and workers may be set to publish no receipts.
//
// Each call makes a consumer of its own at the broker. More than a few at once
// share a [Watcher].
func (p *Publisher) PublishAndWait(ctx context.Context, appID string, packet *schema.Packet, opts ...PublishOption) (schema.Receipt, error) {
	w, err := p.Watch(ctx, appID) // before publishing, or the receipt may be there first
	if err != nil {
		return schema.Receipt{AppID: appID}, err
	}
	defer w.Close()
	accepted, err := p.Publish(ctx, appID, packet, opts...)
	if err != nil {
		return schema.Receipt{ID: accepted.ID, AppID: appID}, err
	}
	if accepted.Duplicate { // it may have ended before we looked
		r, err := p.Receipt(ctx, appID, accepted.ID)
		if !errors.Is(err, ErrNoReceipt) {
			return r, err
		}
	}
	return w.Wait(ctx, accepted.ID)
}

// ages are how far back Receipt looks at first, then, and last. The newest
// receipts are the ones that are asked for, and three days of a busy app are
// millions.
var ages = [...]time.Duration{10 * time.Minute, 3 * time.Hour, 0}

// Receipt looks for the stored receipt of an intent, the newest when the id had
// several generations. There is none ([ErrNoReceipt]) before the intent has
// ended, after 3 days, and when workers are set to publish none. It reads the
// app's receipts from the newest on, about a hundred thousand in a second; who
// awaits one uses [Publisher.Watch].
func (p *Publisher) Receipt(ctx context.Context, appID, id string) (schema.Receipt, error) {
	last := uint64(0) // the last sequence to read; 0: to the end
	for _, age := range ages {
		from := from{all: true}
		if age > 0 {
			from.all, from.time = false, time.Now().Add(-age)
		}
		r, first, err := p.find(ctx, appID, id, from, last)
		if err != nil {
			return schema.Receipt{ID: id, AppID: appID}, fmt.Errorf("look for the receipt of intent %s: %w", id, err)
		}
		if r != nil {
			return *r, nil
		}
		if last = first - 1; first <= 1 {
			break
		}
	}
	return schema.Receipt{ID: id, AppID: appID}, &refusal{
		is: ErrNoReceipt, text: fmt.Sprintf("no receipt of intent %s of app %s is stored", id, appID),
	}
}

// find reads receipts up to the sequence last and returns the newest of id, nil
// for none, and the sequence at which it began to read.
func (p *Publisher) find(ctx context.Context, appID, id string, from from, last uint64) (*schema.Receipt, uint64, error) {
	s, err := p.open(ctx, appID, from)
	if err != nil {
		return nil, 0, err
	}
	defer s.close()
	var newest *schema.Receipt
	quoted, _ := json.Marshal(id) // as it stands in the JSON; a string cannot fail
	for left := s.pending; left > 0; {
		m, err := s.next(ctx)
		if err != nil {
			return nil, 0, err
		}
		if left = m.pending; last > 0 && m.seq > last {
			break
		}
		if !bytes.Contains(m.data, quoted) {
			continue
		}
		if r, ok := readReceipt(m.data); ok && r.ID == id {
			newest = &r
		}
	}
	return newest, s.start, nil
}

func readReceipt(data []byte) (schema.Receipt, bool) {
	var r schema.Receipt
	err := json.Unmarshal(data, &r)
	return r, err == nil && r.State.Terminal()
}

// from is where to begin to read.
type from struct {
	seq  uint64    // here
	time time.Time // or then
	all  bool      // or at the beginning; otherwise at what is new
}

// source reads the receipts of an app in order. It is an ephemeral consumer
// without acks, like nats.go's ordered one, which waits up to 20 s in its Stop
// while the broker is away. Any doubt that something is missing ends it; who
// needs to go on opens another behind the last sequence.
type source struct {
	p       *Publisher
	name    string
	it      jetstream.MessagesContext
	ctx     context.Context //nolint:containedctx // ends with the source, or the connection's interruption
	cancel  context.CancelFunc
	start   uint64 // sequence of the first that it may read
	pending uint64 // how many there were when it was opened
	read    uint64
}

// stored receipt, or other message
type receiptMsg struct {
	data    []byte
	seq     uint64
	pending uint64 // how many are behind it
}

var errGap = errors.New("receipts went missing on the way")

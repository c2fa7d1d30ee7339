package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

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
	return p.publishAndWait(ctx, appID, Intent{Packet: packet, Options: opts})
}

// PublishJSONAndWait is PublishAndWait for a packet that is ready as JSON, see
// [Publisher.PublishJSON].
func (p *Publisher) PublishJSONAndWait(ctx context.Context, appID string, raw []byte, opts ...PublishOption) (schema.Receipt, error) {
	return p.publishAndWait(ctx, appID, Intent{JSON: raw, Options: opts})
}

func (p *Publisher) publishAndWait(ctx context.Context, appID string, in Intent) (schema.Receipt, error) {
	w, err := p.Watch(ctx, appID) // before publishing, or the receipt may be there first
	if err != nil {
		return schema.Receipt{AppID: appID}, err
	}
	defer w.Close()
	accepted, err := p.publish(ctx, appID, in)
	if err != nil {
		return schema.Receipt{ID: accepted.ID, AppID: appID}, err
	}
	return w.WaitFor(ctx, accepted)
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
	return p.receipt(ctx, appID, id, ages[:])
}

func (p *Publisher) receipt(ctx context.Context, appID, id string, ages []time.Duration) (schema.Receipt, error) {
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
		m, err := s.next()
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

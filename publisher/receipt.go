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
// or cancelled. The error is that of [Publisher.Publish], or that of
// [Watcher.WaitFor] after it was published; the receipt then holds the id and no
// state. ctx should have an end: an intent may wait for hours, and workers may be
// set to publish no receipts.
//
// Thousands may wait at once: all calls for an app share one consumer at the
// broker, and a few more while what ended before is looked up. It is closed a
// minute after the last of them, or by [Publisher.Close].
func (p *Publisher) PublishAndWait(ctx context.Context, appID string, packet *schema.Packet, opts ...PublishOption) (schema.Receipt, error) {
	return p.publishAndWait(ctx, appID, Intent{Packet: packet, Options: opts})
}

// PublishJSONAndWait is PublishAndWait for a packet that is ready as JSON, see
// [Publisher.PublishJSON].
func (p *Publisher) PublishJSONAndWait(ctx context.Context, appID string, raw []byte, opts ...PublishOption) (schema.Receipt, error) {
	return p.publishAndWait(ctx, appID, Intent{JSON: raw, Options: opts})
}

func (p *Publisher) publishAndWait(ctx context.Context, appID string, in Intent) (schema.Receipt, error) {
	pub := p.composeFor(ctx, appID, in)
	none := schema.Receipt{ID: pub.result.ID, AppID: appID}
	if pub.settled {
		return none, pub.result.Err
	}
	w, err := p.Watch(ctx, appID) // before publishing, or the receipt may be there first
	if err != nil {
		return none, fmt.Errorf("intent %s was not published: %w", none.ID, err)
	}
	defer w.Close()
	accepted, err := p.send(ctx, pub)
	if err != nil {
		return none, err
	}
	return w.WaitFor(ctx, accepted)
}

// Receipt looks for the stored receipt of an intent, the newest when the id had
// several generations. There is none ([ErrNoReceipt]) before the intent has
// ended, after 3 days, and when workers are set to publish none. It reads the
// app's receipts from the newest on, about a hundred thousand in a second; who
// awaits one uses [Publisher.Watch].
func (p *Publisher) Receipt(ctx context.Context, appID, id string) (schema.Receipt, error) {
	none := schema.Receipt{ID: id, AppID: appID}
	if err := p.usable(ctx); err != nil {
		return none, err
	}
	last := uint64(0) // the last sequence to read; 0: to the end
	for _, age := range append(ages[:], 0) {
		from := from{all: age == 0}
		if age > 0 {
			from.time = time.Now().Add(-age)
		}
		r, first, err := p.find(ctx, appID, id, from, last)
		if err != nil {
			return none, fmt.Errorf("look for the receipt of intent %s: %w", id, err)
		}
		if r != nil {
			return *r, nil
		}
		if last = first - 1; first <= 1 {
			break
		}
	}
	return none, &refusal{is: ErrNoReceipt, text: fmt.Sprintf("no receipt of intent %s of app %s is stored", id, appID)}
}

// find reads receipts up to the sequence last and returns the newest of id, nil
// for none, and the sequence at which it began to read.
func (p *Publisher) find(ctx context.Context, appID, id string, from from, last uint64) (newest *schema.Receipt, first uint64, err error) {
	quoted, _ := json.Marshal(id) // as it stands in the JSON; a string cannot fail
	first, err = p.scan(ctx, appID, from, last, func(m storedReceipt) {
		if !bytes.Contains(m.data, quoted) {
			return
		}
		if r, ok := readReceipt(m.data); ok && r.ID == id {
			newest = &r
		}
	})
	return newest, first, err
}

func readReceipt(data []byte) (schema.Receipt, bool) {
	var r schema.Receipt
	err := json.Unmarshal(data, &r)
	return r, err == nil && r.State.Terminal()
}

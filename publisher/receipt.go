package publisher

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Receipt looks for the stored receipt of an intent, the newest when the id had several
// generations, and does not wait for one. There is none ([ErrNoReceipt]) before the intent has
// ended, after 3 days, when workers are set to publish none, and when the intent was cancelled with
// its campaign. It reads the app's receipts from
// the newest on, about a hundred thousand in a second.
func (p *Publisher) Receipt(ctx context.Context, appID, id string) (schema.Receipt, error) {
	r, err := p.stored(ctx, appID, id)
	if err != nil {
		return schema.Receipt{ID: id, AppID: appID}, &Error{AppID: appID, ID: id, Err: err}
	}
	return r, nil
}

func (p *Publisher) stored(ctx context.Context, appID, id string) (schema.Receipt, error) {
	var none schema.Receipt
	if err := p.usable(ctx); err != nil {
		return none, err
	}
	if err := schema.CheckToken("appid", appID); err != nil {
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
			return none, unreadable(appID, err)
		}
		if r != nil {
			return *r, nil
		}
		if last = first - 1; first <= 1 {
			break
		}
	}
	text := fmt.Sprintf("no receipt of it is stored for app %s", appID)
	return none, &refusal{is: ErrNoReceipt, text: text}
}

// find reads receipts up to the sequence last and returns the newest of id, nil for none, and the
// sequence at which it began to read.
func (p *Publisher) find(
	ctx context.Context, appID, id string, from from, last uint64,
) (newest *schema.Receipt, first uint64, err error) {
	quoted, _ := json.Marshal(id) // as it stands in the JSON; a string cannot fail
	first, err = p.scan(ctx, receiptsOf(appID, ""), from, last, func(m storedReceipt) {
		if !bytes.Contains(m.data, quoted) {
			return
		}
		if r, ok := readIntents(m.data); ok && r.ID == id {
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

// readIntents reads the receipt of one intent. That of a campaign is none: its ID is a name, which
// an intent may have as well.
func readIntents(data []byte) (schema.Receipt, bool) {
	r, ok := readReceipt(data)
	return r, ok && r.Count == 0
}

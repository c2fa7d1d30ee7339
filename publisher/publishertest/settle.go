package publishertest

import (
	"fmt"
	"time"

	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// Intents returns what the app's queue has accepted, in order, whatever became of it.
func (p *Publisher) Intents(appID string) []Intent {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.apps[appID]
	if a == nil {
		return nil
	}
	out := make([]Intent, len(a.intents))
	for i, in := range a.intents {
		out[i] = *in
	}
	return out
}

// SetFull says whether the app's queue is full.
func (p *Publisher) SetFull(appID string, full bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.apps[appID]; a != nil {
		a.full = full
	}
}

// EndDuplicateWindow has the app's queue forget the ids that it has accepted, as it does after 10
// minutes: a repeat is no Duplicate any more. Of an intent that waits or was sent nothing comes of
// it all the same; one that died or was cancelled lives again.
func (p *Publisher) EndDuplicateWindow(appID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.apps[appID]; a != nil {
		a.window = len(a.intents)
	}
}

// ExpireReceipts removes the app's receipts that are stored, as the broker does after 3 days: whoever
// goes on from before them is told ([publisher.Settled.Missed]).
func (p *Publisher) ExpireReceipts(appID string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.apps[appID]; a != nil {
		a.expired = len(a.receipts)
	}
}

// Send has a queued intent be sent, with a receipt.
func (p *Publisher) Send(appID, id string) error {
	return p.Settle(schema.Receipt{
		AppID: appID, ID: id, State: schema.StateSent, Errcode: new(int),
	})
}

// Bury has a queued intent die, with a receipt.
func (p *Publisher) Bury(appID, id string, reason schema.Reason) error {
	return p.Settle(schema.Receipt{AppID: appID, ID: id, State: schema.StateDead, Reason: reason})
}

// Settle ends a queued intent with a receipt, which needs the app, the id and a terminal state.
// What else is not given is filled in. The error says that there is no such intent, or that it has
// ended already.
func (p *Publisher) Settle(r schema.Receipt) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.apps[r.AppID]
	if a == nil {
		return fmt.Errorf("publishertest: no app %s", r.AppID)
	}
	in := a.last(r.ID)
	switch {
	case in == nil:
		return fmt.Errorf("publishertest: app %s has no intent %s", r.AppID, r.ID)
	case in.State.Terminal():
		return fmt.Errorf("publishertest: intent %s has ended: %s", r.ID, in.State)
	case !r.State.Terminal():
		return fmt.Errorf("publishertest: an intent cannot end as %q", r.State)
	}
	a.settle(in, r)
	return nil
}

// settle stores a receipt.
func (a *app) settle(in *Intent, r schema.Receipt) {
	r.Generation, r.Lane, r.Source = in.Generation, in.Subject.Lane, in.Envelope.Source
	if r.Lane == schema.LaneBulk {
		r.Campaign = in.Subject.Key
	}
	if r.Attempts == 0 && r.State == schema.StateSent {
		r.Attempts = 1
	}
	if r.PublishedAt.IsZero() {
		r.PublishedAt = in.At.UTC()
	}
	if r.SettledAt.IsZero() {
		r.SettledAt = time.Now().UTC()
	}
	in.State = r.State
	seq := uint64(len(a.receipts) + 1)
	a.receipts = append(a.receipts, publisher.Settled{
		Receipt: r, Position: publisher.Position{Seq: seq, Time: r.SettledAt},
	})
	close(a.changed)
	a.changed = make(chan struct{})
}

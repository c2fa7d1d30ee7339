package withdrawal

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// forgetPrefix is what the keys of forgettings begin with: forget.<appid>.<person>. The person is a
// hash with the pool's key, or the order itself would be what remembers the openid. Producers have
// no right to write them.
const forgetPrefix = "forget."

// Forgetting is the order to send a person nothing any more of what was published before it. What
// is published later is sent: whoever writes to the account again gets an answer.
type Forgetting struct {
	By string `json:"by"`

	// Campaigns are those of the app that had begun and were not published to their end: what they
	// publish later is meant as well.
	Campaigns []string `json:"campaigns,omitempty"`

	// At is when the broker stored the order. What was published is compared with it by the same
	// clock.
	At time.Time `json:"-"`
}

// Covers reports whether the order is about an intent of the person that was published then.
// campaign is "" for a live one.
func (f Forgetting) Covers(campaign string, published time.Time) bool {
	return !published.After(f.At) || campaign != "" && slices.Contains(f.Campaigns, campaign)
}

// forgetKey is the key of a person's order.
func forgetKey(p broker.Pseudonyms, appID, openID string) string {
	sum := p.Sum("forget\x00" + appID + "\x00" + openID)
	return forgetPrefix + appID + "." + hex.EncodeToString(sum[:16])
}

// Forget stores an order in the place of an earlier one about the same person, and returns it as
// the broker has it. It is kept for keep, the time for which what it is about can wait.
func Forget(
	ctx context.Context, conn *broker.Conn, p broker.Pseudonyms, appID, openID string,
	f Forgetting, keep time.Duration,
) (Forgetting, error) {
	body, err := json.Marshal(f)
	if err != nil {
		return f, err
	}
	key := forgetKey(p, appID, openID)
	ack, err := conn.Outbox.PublishWait(ctx, broker.PutState(key, body, keep))
	if err != nil {
		return f, fmt.Errorf("withdrawals: write %s: %w", key, err)
	}
	for {
		e, err := conn.LastState(ctx, key)
		switch {
		case err != nil && !errors.Is(err, broker.ErrNoMessage):
			return f, fmt.Errorf("withdrawals: %w", err)
		case err == nil && e.Seq >= ack.Seq:
			f.At = e.Time
			return f, nil
		}
		select { // the node that answers has not heard of it yet
		case <-time.After(readAgain):
		case <-ctx.Done():
			return f, context.Cause(ctx)
		}
	}
}

// readAgain is how long a node of the broker is given to hear of what another has stored.
const readAgain = 50 * time.Millisecond

// ReadForgetting returns the order about a person; ok says whether there is one.
func ReadForgetting(
	ctx context.Context, conn *broker.Conn, p broker.Pseudonyms, appID, openID string,
) (f Forgetting, ok bool, err error) {
	e, err := conn.LastState(ctx, forgetKey(p, appID, openID))
	if err != nil && !errors.Is(err, broker.ErrNoMessage) {
		return Forgetting{}, false, fmt.Errorf("withdrawals: %w", err)
	}
	if err != nil || e.Deleted {
		return Forgetting{}, false, nil
	}
	if err := json.Unmarshal(e.Value, &f); err != nil {
		return Forgetting{}, false, fmt.Errorf("withdrawals: %s: %w", e.Key, err)
	}
	f.At = e.Time
	return f, true, nil
}

// forgettings are the orders about an app's persons.
type forgettings struct {
	byKey map[string]Forgetting
	any   Forgetting // covers whatever one of them does, or did: it saves hashes
}

func (f *forgettings) set(key string, order Forgetting) {
	f.byKey[key] = order
	if order.At.After(f.any.At) {
		f.any.At = order.At
	}
	for _, name := range order.Campaigns {
		if !slices.Contains(f.any.Campaigns, name) {
			f.any.Campaigns = append(f.any.Campaigns, name)
		}
	}
}

// applyForgetting takes in a change of an order about a person.
func (o *Orders) applyForgetting(e broker.StateEntry) {
	appID, _, ok := strings.Cut(strings.TrimPrefix(e.Key, forgetPrefix), ".")
	if !ok {
		return
	}
	f := Forgetting{At: e.Time}
	stands := !e.Deleted && json.Unmarshal(e.Value, &f) == nil
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.persons[appID]
	switch {
	case stands && all == nil:
		all = &forgettings{byKey: make(map[string]Forgetting)}
		o.persons[appID] = all
		fallthrough
	case stands:
		all.set(e.Key, f)
	case all != nil:
		if delete(all.byKey, e.Key); len(all.byKey) == 0 {
			delete(o.persons, appID)
		}
	}
}

// Forgotten reports whether the recipient of an intent, published then, is to be forgotten.
// campaign is "" for a live one. recipient is asked only if there is an order that may be about the
// intent: what is published after the last order, the usual case, costs no hash.
func (o *Orders) Forgotten(
	appID, campaign string, published time.Time, recipient func() string,
) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	all := o.persons[appID]
	if all == nil || !all.any.Covers(campaign, published) {
		return false
	}
	order, ok := all.byKey[forgetKey(o.pseudonyms, appID, recipient())]
	return ok && order.Covers(campaign, published)
}

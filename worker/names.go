package worker

import (
	"context"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
)

const (
	// namesMost is how many campaigns a worker has in mind, and namesWaiting how many
	// of them may wait to be written down. A producer may mistake a campaign for an id.
	namesMost    = 10_000
	namesWaiting = 1000
	// namesAtOnce is how many are written down in one look.
	namesAtOnce = 32
	// namesFor is for how long a worker relies on what it has written.
	namesFor = 24 * time.Hour
)

// names has the campaigns that this worker meets written down by their names, once
// each. The zero value is ready.
type names struct {
	mu      sync.Mutex
	known   map[ledger.Campaign]struct{}
	since   time.Time // of the first of known
	waiting []metCampaign
}

// metCampaign is a campaign that is to be written down.
type metCampaign struct {
	appID, name string
	at          time.Time
}

// meet notes the campaign of an intent. It asks nobody.
func (n *names) meet(d *delivery) {
	if d.campaign == ledger.NoCampaign {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.known[d.campaign]; ok || len(n.waiting) >= namesWaiting {
		return
	}
	now := time.Now()
	if n.known == nil || len(n.known) >= namesMost {
		n.known, n.since = make(map[ledger.Campaign]struct{}), now
	}
	n.known[d.campaign] = struct{}{}
	n.waiting = append(n.waiting, metCampaign{d.subject.AppID, d.campaignName(), now})
}

// save writes down what waits for it. What cannot be written waits on.
func (n *names) save(ctx context.Context, conn *broker.Conn) error {
	for _, c := range n.next(time.Now()) {
		if err := ledger.SaveName(ctx, conn, c.appID, c.name, c.at); err != nil {
			return err
		}
		n.mu.Lock()
		n.waiting = n.waiting[1:]
		n.mu.Unlock()
	}
	return nil
}

// next are the first that wait.
func (n *names) next(now time.Time) []metCampaign {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.since) >= namesFor {
		n.known = nil
	}
	return n.waiting[:min(len(n.waiting), namesAtOnce)]
}

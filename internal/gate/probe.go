package gate

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// Probing is a trial of a held app that somebody asks for and waits for.
type Probing struct {
	conn  *broker.Conn
	appID string
	asked Hold

	news  chan broker.StateEntry
	watch interface{ Stop() }
}

// NewProbing watches an app's holds from before the trial is asked for: the answer may come at
// once. The caller stops it.
func NewProbing(ctx context.Context, conn *broker.Conn, appID string) (*Probing, error) {
	p := &Probing{conn: conn, appID: appID, news: make(chan broker.StateEntry, 64)}
	watch, err := conn.WatchState(ctx, "app."+appID+".", broker.FollowOptions{},
		func(e broker.StateEntry) {
			select {
			case p.news <- e:
			case <-ctx.Done():
			}
		})
	if err != nil {
		return nil, err
	}
	p.watch = watch
	for len(p.news) > 0 { // what stood before
		<-p.news
	}
	return p, nil
}

// Stop ends the watch.
func (p *Probing) Stop() { p.watch.Stop() }

// Ask has the workers try the app now; see Probe.
func (p *Probing) Ask(ctx context.Context) (asked Hold, err error) {
	p.asked, err = Probe(ctx, p.conn, p.appID)
	return p.asked, err
}

// Await waits for the hold to be lifted, or to be put off once more, which is held. It is not
// settled when neither happens within wait.
func (p *Probing) Await(ctx context.Context, wait time.Duration) (held *Hold, settled bool) {
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		select {
		case e := <-p.news:
			if e.Key != AppKey(p.appID, p.asked.Kind) {
				continue
			}
			if e.Deleted {
				return nil, true
			}
			h, err := ParseHold(e.Value)
			if err == nil && !h.Trying && h.Until.After(p.asked.Until) {
				return &h, true
			}
		case <-over.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

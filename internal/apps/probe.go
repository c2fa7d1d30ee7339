package apps

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
)

// Probed is what came of trying a held app.
type Probed struct {
	Hold   gate.Hold  // that was tried; without a kind: the app was not held
	After  *gate.Hold // that is in force now, when the trial is over; nil: the app is open
	Over   bool       // the trial is over
	Queued uint64     // intents that the app can be tried with
}

// Probe has the workers try a held app now, writes that down and waits for what comes of it. An
// operator's hold is not tried, nor is an app that is not held; neither is written down.
func Probe(
	ctx context.Context, conn *broker.Conn, appID, by string, wait time.Duration,
) (Probed, error) {
	probing, err := gate.NewProbing(ctx, conn, appID)
	if err != nil {
		return Probed{}, err
	}
	defer probing.Stop()
	held, err := probing.Ask(ctx)
	if err != nil || held.Kind == "" || held.Kind == gate.Operator {
		return Probed{Hold: held}, err
	}
	entry := broker.AuditEntry{Verb: "probe", AppID: appID, Count: 1, Actor: by}
	if err := conn.Audit(ctx, entry); err != nil {
		return Probed{}, err
	}
	p := Probed{Hold: held}
	p.After, p.Over = probing.Await(ctx, wait)
	queued, err := conn.Lags(ctx, appID)
	p.Queued = queued.Live().Queued + queued.Bulk.Queued
	return p, err
}

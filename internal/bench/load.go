package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
)

// Load is what a contender has to take, and the workers, slots and budget that it has for it.
type Load struct {
	// Apps that intents are published to. The first SlowApps of them have an API that takes 2 s,
	// the next FailingApps one that is always busy, and the next HeldApps are held by an operator;
	// the others are the healthy ones.
	Apps        int `json:"apps"`
	SlowApps    int `json:"slow_apps,omitempty"`
	FailingApps int `json:"failing_apps,omitempty"`
	HeldApps    int `json:"held_apps,omitempty"`
	// IdleApps are configured besides, and nothing is published to them.
	IdleApps   int `json:"idle_apps,omitempty"`
	Recipients int `json:"recipients"` // of each app

	// Backlog and LiveBacklog are the intents that wait when the contender starts, spread over the
	// healthy apps.
	Backlog     int `json:"backlog"`
	LiveBacklog int `json:"live_backlog,omitempty"`

	// Rate is how many intents a second are published while it works, over all apps, for Duration;
	// LiveShare of them are live.
	Rate      float64       `json:"rate,omitempty"`
	Duration  time.Duration `json:"-"`
	LiveShare float64       `json:"live_share,omitempty"`

	Latency sandbox.Latency `json:"-"`                // of the API
	Faults  float64         `json:"faults,omitempty"` // share of the API's answers with errcode -1

	Workers        int     `json:"workers"`
	Concurrency    int     `json:"concurrency"`     // calls in flight of each worker
	AppConcurrency int     `json:"app_concurrency"` // of them for one app; 0: all
	PerSecond      float64 `json:"per_second"`      // budget of each app
	Burst          int     `json:"burst"`
	Shards         int     `json:"live_shards"`

	SyncAlways bool   `json:"sync_always"`
	Receipts   string `json:"receipts"`
	Ledger     string `json:"ledger"`
	LogLevel   string `json:"log_level"`

	// Idle is for how long to watch, before the load, what it costs to wait for one. There can be
	// no backlog then.
	Idle time.Duration `json:"-"`
}

// slowLatency is what the API of a slow app takes.
const slowLatency = 2 * time.Second

// Check says what makes a load impossible.
func (l *Load) Check() error {
	troubled := l.SlowApps + l.FailingApps + l.HeldApps
	switch {
	case l.Apps < 1:
		return errors.New("at least one app is needed")
	case l.SlowApps < 0 || l.FailingApps < 0 || l.HeldApps < 0 || l.IdleApps < 0 || l.Backlog < 0 ||
		l.LiveBacklog < 0 || l.Rate < 0:
		return errors.New("a number of apps, intents or intents a second is below zero")
	case troubled >= l.Apps:
		return fmt.Errorf("%d of %d apps are slow, failing or held: at least one must be "+
			"healthy, or nothing could be measured", troubled, l.Apps)
	case l.waiting() == 0 && l.Rate == 0:
		return errors.New("there is nothing to send: neither a backlog nor a rate")
	case l.Rate > 0 && l.Duration <= 0:
		return errors.New("a rate needs a duration above zero")
	case l.LiveShare < 0 || l.LiveShare > 1 || l.Faults < 0 || l.Faults > 0.9:
		return errors.New("the share of live intents must be within 0..1, that of faults within " +
			"0..0.9")
	case l.Recipients < 1 || l.Workers < 1 || l.Concurrency < 1 ||
		l.AppConcurrency < 0 || l.Shards < 1:
		return errors.New("at least one recipient, worker, call in flight and live shard " +
			"are needed")
	case l.PerSecond <= 0 || l.Burst < 1:
		return errors.New("the budget of an app must be above zero, with a burst of at least 1")
	case l.Idle > 0 && l.waiting() > 0:
		return errors.New("a worker that has a backlog is not idle: leave out the one or the other")
	}
	return nil
}

// app returns the appid of the n-th app, idle ones last.
func (l *Load) app(n int) string { return fmt.Sprintf("wxbench%011d", n+1) }

func (l *Load) appIDs() []string {
	ids := make([]string, l.Apps+l.IdleApps)
	for i := range ids {
		ids[i] = l.app(i)
	}
	return ids
}

// waiting returns how many intents wait at the start.
func (l *Load) waiting() int { return l.Backlog + l.LiveBacklog }

func (l *Load) troubled() int { return l.SlowApps + l.FailingApps + l.HeldApps }

// rules returns the sandbox's rules for the load.
func (l *Load) rules() []sandbox.Rule {
	var rules []sandbox.Rule
	for i := range l.SlowApps {
		rules = append(rules,
			sandbox.Rule{Call: sandbox.CallSend, AppID: l.app(i), Delay: slowLatency})
	}
	for i := range l.FailingApps {
		rules = append(rules,
			sandbox.Rule{Call: sandbox.CallSend, AppID: l.app(l.SlowApps + i), Errcode: -1})
	}
	if l.Faults > 0 {
		rules = append(rules, sandbox.Rule{Call: sandbox.CallSend, Errcode: -1, Share: l.Faults})
	}
	return rules
}

// ceiling returns how many calls a second the slots allow when each takes as long as the API does;
// 0 when that takes no time.
func (l *Load) ceiling() float64 {
	took := l.Latency.Min
	if l.Latency.Max > l.Latency.Min {
		took = (l.Latency.Min + l.Latency.Max) / 2
	}
	if took <= 0 {
		return 0
	}
	return float64(l.Workers*l.Concurrency) / took.Seconds()
}

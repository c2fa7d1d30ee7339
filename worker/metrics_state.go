package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/gate"
)

// state is what is read at each scrape: how things stand now.
type state struct {
	*services
	apps     func() []*app
	letters  *letters
	watchdog *watchdog
	all      func() []string // troubles
}

var (
	connectedDesc = prometheus.NewDesc("kefu_broker_connected",
		"1 when the broker is there.", nil, nil)
	troublesDesc = prometheus.NewDesc("kefu_troubles",
		"What keeps the worker from its work, counted; /readyz says it in sentences.", nil, nil)
	waitDesc = prometheus.NewDesc("kefu_oldest_unanswered_seconds",
		"How long the oldest permission, start (a mark of the ledger), publish or read "+
			"(of a stream that is followed) has had no answer; 0 when none waits or the broker "+
			"is away.", []string{"kind"}, nil)
	overdueDesc = prometheus.NewDesc("kefu_unanswered_overdue",
		"1 while that is longer than can be explained; /readyz says what waits.",
		[]string{"kind"}, nil)
	outboxDesc = prometheus.NewDesc("kefu_outbox_pending",
		"Messages published and not yet answered by the broker.", nil, nil)
	handDesc = prometheus.NewDesc("kefu_intents_in_hand",
		"Intents handed to this worker and not yet ended or given back.", []string{"app"}, nil)
	laterFullDesc = prometheus.NewDesc("kefu_app_later_full",
		"1 while an app has as many intents waiting for their time as it may have.",
		[]string{"app"}, nil)
	deadDesc     = prometheus.NewDesc("kefu_dead_letters", "Dead letters of all apps.", nil, nil)
	deadFullDesc = prometheus.NewDesc("kefu_dead_full_ratio",
		"How full the stream of the dead letters is, 0 to 1; 0 while it has no maximum.", nil, nil)
	deadLeftDesc = prometheus.NewDesc("kefu_dead_oldest_left_seconds",
		"Until the oldest dead letter is deleted for its age; no series while none will be.",
		nil, nil)
	heldDesc = prometheus.NewDesc("kefu_app_held", "1 while an app is held, by kind.",
		[]string{"app", "kind"}, nil)
)

func (s state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		connectedDesc, troublesDesc, waitDesc, overdueDesc, outboxDesc, handDesc, laterFullDesc,
		deadDesc, deadFullDesc, deadLeftDesc, heldDesc,
	} {
		ch <- d
	}
}

func (s state) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(connectedDesc, truth(s.conn.Connected()))
	gauge(troublesDesc, float64(len(s.all())))
	waits := aged(s.watchdog.waits(), s.conn.Since(), time.Now())
	for _, kind := range waitKinds {
		age, late := oldestOf(waits, kind)
		gauge(waitDesc, age.Seconds(), string(kind))
		gauge(overdueDesc, truth(late), string(kind))
	}
	gauge(outboxDesc, float64(s.conn.Outbox.Pending()))
	if box, known := s.letters.last(); known {
		gauge(deadDesc, float64(box.Letters))
		gauge(deadFullDesc, box.Full())
		if ends := box.Ends(); !ends.IsZero() {
			gauge(deadLeftDesc, time.Until(ends).Seconds())
		}
	}
	for _, a := range s.apps() {
		gauge(handDesc, float64(a.holding()), a.cfg().ID)
		gauge(laterFullDesc, truth(a.laterShare.isFull()), a.cfg().ID)
		h, held := a.gate.Held()
		for _, kind := range []gate.Kind{gate.Quota, gate.Config, gate.Upstream, gate.Operator} {
			gauge(heldDesc, truth(held && h.Kind == kind), a.cfg().ID, string(kind))
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

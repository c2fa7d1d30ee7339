package worker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// metrics are the worker's series. Labels come from closed sets, apps from the
// configuration; every series exists from the start, so that a dashboard shows
// zero instead of nothing.
type metrics struct {
	intents      *prometheus.CounterVec   // app, lane, state, reason
	sources      *prometheus.CounterVec   // source, state
	latency      *prometheus.HistogramVec // app, lane
	calls        *prometheus.CounterVec   // app, outcome
	callSeconds  *prometheus.HistogramVec // app
	duplicates   *prometheus.CounterVec   // app
	retries      *prometheus.CounterVec   // app
	repeats      *prometheus.CounterVec   // app
	panics       prometheus.Counter
	receiptsLost prometheus.Counter

	mu    sync.Mutex
	named map[string]bool // the sources that have a series
}

// maxSources bounds the series that producers can make; the others share one.
const maxSources = 50

func newMetrics(reg prometheus.Registerer, apps []App) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kefu", Name: name, Help: help}, labels)
	}
	m := &metrics{
		intents: counter("intents_total", "Intents that ended, by state and reason.", "app", "lane", "state", "reason"),
		sources: counter("source_intents_total", "Intents that ended, by Kefu-Source and state; beyond fifty sources \"other\".", "source", "state"),
		named:   make(map[string]bool),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "kefu", Name: "intent_seconds", Help: "Time to the end of an intent from its publication or, if that is later, the time it was to be sent at; replayed ones are left out.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200},
		}, []string{"app", "lane"}),
		calls: counter("api_calls_total", "Calls of the API, by what came of them.", "app", "outcome"),
		callSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "kefu", Name: "api_call_seconds", Help: "Duration of calls of the API.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"app"}),
		duplicates:   counter("possible_duplicates_total", "Intents that ended after an attempt of unknown outcome.", "app"),
		retries:      counter("retries_total", "Attempts that were put off for another one.", "app"),
		repeats:      counter("repeats_total", "Messages acknowledged because their intent was dealt with before.", "app"),
		panics:       prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kefu", Name: "panics_total", Help: "Panics while handling an intent."}),
		receiptsLost: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kefu", Name: "receipts_lost_total", Help: "Receipts that the broker refused."}),
	}
	for _, a := range apps {
		m.initialise(a.ID)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.intents, m.sources, m.latency, m.calls, m.callSeconds, m.duplicates, m.retries, m.repeats, m.panics, m.receiptsLost} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) initialise(app string) {
	for _, lane := range []schema.Lane{schema.LaneLive, schema.LaneBulk} {
		m.intents.WithLabelValues(app, string(lane), string(schema.StateSent), "")
		m.intents.WithLabelValues(app, string(lane), string(schema.StateCancelled), "")
		for _, r := range schema.Reasons() {
			m.intents.WithLabelValues(app, string(lane), string(schema.StateDead), string(r))
		}
		m.latency.WithLabelValues(app, string(lane))
	}
	for _, f := range wechat.Faults() {
		m.calls.WithLabelValues(app, f.String())
	}
	m.callSeconds.WithLabelValues(app)
	m.duplicates.WithLabelValues(app)
	m.retries.WithLabelValues(app)
	m.repeats.WithLabelValues(app)
}

func (m *metrics) called(app string, f wechat.Fault, took time.Duration) {
	m.calls.WithLabelValues(app, f.String()).Inc()
	m.callSeconds.WithLabelValues(app).Observe(took.Seconds())
}

// ofSource counts an intent's end for the service that published it.
func (m *metrics) ofSource(source string, state schema.State) {
	if source == "" {
		return
	}
	m.mu.Lock()
	if !m.named[source] {
		if len(m.named) < maxSources {
			m.named[source] = true
		} else {
			source = "other"
		}
	}
	m.mu.Unlock()
	m.sources.WithLabelValues(source, string(state)).Inc()
}

func (m *metrics) settled(app string, lane schema.Lane, state schema.State, reason schema.Reason, duplicate bool) {
	m.intents.WithLabelValues(app, string(lane), string(state), string(reason)).Inc()
	if duplicate {
		m.duplicates.WithLabelValues(app).Inc()
	}
}

// took observes how long an intent took from when it might be sent.
func (m *metrics) took(app string, lane schema.Lane, d time.Duration) {
	m.latency.WithLabelValues(app, string(lane)).Observe(d.Seconds())
}

// state is what is read at each scrape: how things stand now.
type state struct{ w *Worker }

var (
	connectedDesc = prometheus.NewDesc("kefu_broker_connected", "1 when the broker is there.", nil, nil)
	troublesDesc  = prometheus.NewDesc("kefu_troubles", "What keeps the worker from its work, counted; /readyz says it in sentences.", nil, nil)
	waitDesc      = prometheus.NewDesc("kefu_oldest_unanswered_seconds", "How long the oldest permission, start (a mark of the ledger), publish or read (of a stream that is followed) has had no answer; 0 when none waits or the broker is away.", []string{"kind"}, nil)
	overdueDesc   = prometheus.NewDesc("kefu_unanswered_overdue", "1 while that is longer than can be explained; /readyz says what waits.", []string{"kind"}, nil)
	outboxDesc    = prometheus.NewDesc("kefu_outbox_pending", "Messages published and not yet answered by the broker.", nil, nil)
	handDesc      = prometheus.NewDesc("kefu_intents_in_hand", "Intents handed to this worker and not yet ended or given back.", []string{"app"}, nil)
	laterFullDesc = prometheus.NewDesc("kefu_app_later_full", "1 while an app has as many intents waiting for their time as it may have.", []string{"app"}, nil)
	deadDesc      = prometheus.NewDesc("kefu_dead_letters", "Dead letters of all apps.", nil, nil)
	deadFullDesc  = prometheus.NewDesc("kefu_dead_full_ratio", "How full the stream of the dead letters is, 0 to 1; 0 while it has no maximum.", nil, nil)
	deadLeftDesc  = prometheus.NewDesc("kefu_dead_oldest_left_seconds", "Until the oldest dead letter is deleted for its age; no series while none will be.", nil, nil)
	heldDesc      = prometheus.NewDesc("kefu_app_held", "1 while an app is held, by kind.", []string{"app", "kind"}, nil)
)

func (s state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectedDesc, troublesDesc, waitDesc, overdueDesc, outboxDesc, handDesc, laterFullDesc, deadDesc, deadFullDesc, deadLeftDesc, heldDesc} {
		ch <- d
	}
}

func (s state) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(connectedDesc, truth(s.w.conn.Connected()))
	gauge(troublesDesc, float64(len(s.w.Troubles())))
	waits := aged(s.w.waits(), s.w.conn.Since(), time.Now())
	for _, kind := range waitKinds {
		age, late := oldestOf(waits, kind)
		gauge(waitDesc, age.Seconds(), string(kind))
		gauge(overdueDesc, truth(late), string(kind))
	}
	gauge(outboxDesc, float64(s.w.conn.Outbox.Pending()))
	if box, known := s.w.letters.last(); known {
		gauge(deadDesc, float64(box.Letters))
		gauge(deadFullDesc, box.Full())
		if ends := box.Ends(); !ends.IsZero() {
			gauge(deadLeftDesc, time.Until(ends).Seconds())
		}
	}
	for _, a := range s.w.current() {
		gauge(handDesc, float64(a.holding()), a.cfg().ID)
		gauge(laterFullDesc, truth(a.later.isFull()), a.cfg().ID)
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

package worker

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		intents: counter("kefu_intents_total",
			"Intents that ended, by state and reason.", "app", "lane", "state", "reason"),
		sources: counter("kefu_source_intents_total",
			"Intents that ended, by Kefu-Source and state; beyond fifty sources \"other\".",
			"source", "state"),
		named: make(map[string]bool),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kefu_intent_seconds",
			Help: "Time to the end of an intent from its publication or, if that is later, " +
				"the time it was to be sent at; replayed ones are left out.",
			Buckets: []float64{
				.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 43200,
			},
		}, []string{"app", "lane"}),
		calls: counter("kefu_api_calls_total",
			"Calls of the API, by what came of them.", "app", "outcome"),
		callSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "kefu_api_call_seconds", Help: "Duration of calls of the API.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"app"}),
		duplicates: counter("kefu_possible_duplicates_total",
			"Intents that ended after an attempt of unknown outcome.", "app"),
		retries: counter("kefu_retries_total",
			"Attempts that were put off for another one.", "app"),
		repeats: counter("kefu_repeats_total",
			"Messages acknowledged because their intent was dealt with before.", "app"),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kefu_panics_total", Help: "Panics while handling an intent.",
		}),
		receiptsLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "kefu_receipts_lost_total",
			Help: "Receipts that the broker refused.",
		}),
	}
	for _, a := range apps {
		m.initialise(a.ID)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.intents, m.sources, m.latency, m.calls, m.callSeconds, m.duplicates, m.retries,
		m.repeats, m.panics, m.receiptsLost,
	} {
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

func (m *metrics) settled(app string, lane schema.Lane, state schema.State,
	reason schema.Reason, duplicate bool) {
	m.intents.WithLabelValues(app, string(lane), string(state), string(reason)).Inc()
	if duplicate {
		m.duplicates.WithLabelValues(app).Inc()
	}
}

// took observes how long an intent took from when it might be sent.
func (m *metrics) took(app string, lane schema.Lane, d time.Duration) {
	m.latency.WithLabelValues(app, string(lane)).Observe(d.Seconds())
}

package bench

import (
	"runtime"
	"slices"
)

// Report is what all runs together say.
type Report struct {
	CPUs       int          `json:"cpus"`
	Platform   string       `json:"platform"`
	Contenders []Standing   `json:"contenders"`
	Ratios     []Comparison `json:"ratios,omitempty"` // of the first contender to the second
	Runs       []Run        `json:"runs"`
}

// Standing is a contender with the medians of its runs, by Measure.Key.
type Standing struct {
	Name    string             `json:"name"`
	Load    Load               `json:"load"`
	Medians map[string]float64 `json:"medians"`
}

// Comparison sets two contenders against each other by one measure, round by round.
type Comparison struct {
	Key    string  `json:"key"` // a Measure's
	Median float64 `json:"median"`
	Low    float64 `json:"low"` // of any round
	High   float64 `json:"high"`
}

// Measure is one figure of a run.
type Measure struct {
	Key    string
	Name   string // for people, with its unit
	Digits int    // after the point
	of     func(*Run) (float64, bool)
}

// Measures are the figures that runs are compared by, in the order in which people look at them.
var Measures = []Measure{
	{"per_second", "messages/s", 0, func(r *Run) (float64, bool) {
		return r.PerSecond, r.PerSecond > 0
	}},
	{"of_ceiling", "of the ceiling", 2, func(r *Run) (float64, bool) {
		return r.PerSecond / max(r.Ceiling, 1), r.Ceiling > 0
	}},
	{"live_p50_ms", "live p50, ms", 2, optional(liveOf, func(l *Latency) float64 { return l.P50 })},
	{"live_p90_ms", "live p90, ms", 2, optional(liveOf, func(l *Latency) float64 { return l.P90 })},
	{"live_p99_ms", "live p99, ms", 2, optional(liveOf, func(l *Latency) float64 { return l.P99 })},
	{"live_max_ms", "live max, ms", 2, optional(liveOf, func(l *Latency) float64 { return l.Max })},
	{"bulk_p50_ms", "bulk p50, ms", 2, optional(bulkOf, func(l *Latency) float64 { return l.P50 })},
	{"bulk_p90_ms", "bulk p90, ms", 2, optional(bulkOf, func(l *Latency) float64 { return l.P90 })},
	{"bulk_p99_ms", "bulk p99, ms", 2, optional(bulkOf, func(l *Latency) float64 { return l.P99 })},
	{"bulk_max_ms", "bulk max, ms", 2, optional(bulkOf, func(l *Latency) float64 { return l.Max })},
	{"healthy_meanwhile", "healthy apps: delivered while offered, of offered", 3,
		func(r *Run) (float64, bool) {
			h := r.Intents.Healthy
			return float64(h.Delivered) / max(float64(h.Offered), 1), h.Offered > 0
		}},
	{"worker_cpu_us", "worker CPU, µs/message", 1, optional(workerOf, func(c *Cost) float64 {
		return c.CPUMicros
	})},
	{"worker_peak_mb",
		"worker peak memory, MB", 1, optional(workerOf, func(c *Cost) float64 { return c.PeakMB })},
	{"broker_cpu_us", "broker CPU, µs/message", 1, optional(brokerOf, func(c *Cost) float64 {
		return c.CPUMicros
	})},
	{"broker_peak_mb",
		"broker peak memory, MB", 1, optional(brokerOf, func(c *Cost) float64 { return c.PeakMB })},
	{"sandbox_cpu_us", "sandbox and load CPU, µs/message", 1,
		optional(sandboxOf, func(c *Cost) float64 { return c.CPUMicros })},
	{"idle_worker_cpu", "idle: worker CPU, % of a core", 2, optional(idleOf, func(i *Idle) float64 {
		return i.WorkerCPU
	})},
	{"idle_worker_mb", "idle: worker memory, MB", 1, optional(idleOf, func(i *Idle) float64 {
		return i.WorkerMB
	})},
	{"idle_broker_cpu", "idle: broker CPU, % of a core", 2, optional(idleOf, func(i *Idle) float64 {
		return i.BrokerCPU
	})},
	{"idle_broker_mb", "idle: broker memory, MB", 1, optional(idleOf, func(i *Idle) float64 {
		return i.BrokerMB
	})},
	{"budget_most", "budget: busiest second, of limit and burst", 3, func(r *Run) (float64, bool) {
		return float64(r.Budget.Most) / max(r.Budget.Allowed, 1), r.Budget.Allowed > 0
	}},
	{"budget_mean", "budget: mean, of the limit", 3, func(r *Run) (float64, bool) {
		return r.Budget.Mean / max(r.Budget.Limit, 1e-9), r.Budget.Limit > 0
	}},
	{"posts_per_intent", "posts per intent", 4, func(r *Run) (float64, bool) {
		return r.Intents.PostsPerIntent, true
	}},
	{"delivered", "intents delivered", 0, func(r *Run) (float64, bool) {
		return float64(r.Intents.Delivered), true
	}},
	{"lost", "intents lost", 0, func(r *Run) (float64, bool) {
		return float64(r.Intents.Lost), true
	}},
}

func liveOf(r *Run) *Latency { return r.Live }
func bulkOf(r *Run) *Latency { return r.Bulk }

func workerOf(r *Run) *Cost  { return r.Worker }
func brokerOf(r *Run) *Cost  { return r.Broker }
func sandboxOf(r *Run) *Cost { return r.Sandbox }
func idleOf(r *Run) *Idle    { return r.Idle }

// optional is a figure of something that not every run has.
func optional[T any](which func(*Run) *T, pick func(*T) float64) func(*Run) (float64, bool) {
	return func(r *Run) (float64, bool) {
		if v := which(r); v != nil {
			return pick(v), true
		}
		return 0, false
	}
}

func newReport(contenders []Contender, runs []Run) *Report {
	report := &Report{CPUs: runtime.NumCPU(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH + " " + runtime.Version(), Runs: runs}
	for _, c := range contenders {
		s := Standing{Name: c.Name, Load: c.Load, Medians: make(map[string]float64)}
		for _, m := range Measures {
			if values := m.values(runs, c.Name); len(values) > 0 {
				s.Medians[m.Key] = round(median(values), 4)
			}
		}
		report.Contenders = append(report.Contenders, s)
	}
	if len(contenders) < 2 {
		return report
	}
	for _, m := range Measures {
		if ratios := m.ratios(runs, contenders[0].Name, contenders[1].Name); len(ratios) > 0 {
			report.Ratios = append(report.Ratios, Comparison{
				Key: m.Key, Median: round(median(ratios), 3), Low: round(slices.Min(ratios), 3),
				High: round(slices.Max(ratios), 3),
			})
		}
	}
	return report
}

func (m *Measure) values(runs []Run, contender string) []float64 {
	var values []float64
	for i := range runs {
		if runs[i].Contender != contender {
			continue
		}
		if v, ok := m.of(&runs[i]); ok {
			values = append(values, v)
		}
	}
	return values
}

// ratios returns a's figures divided by b's, round by round.
func (m *Measure) ratios(runs []Run, a, b string) []float64 {
	of := make(map[string]map[int]float64)
	for i := range runs {
		r := &runs[i]
		if v, ok := m.of(r); ok {
			if of[r.Contender] == nil {
				of[r.Contender] = make(map[int]float64)
			}
			of[r.Contender][r.Round] = v
		}
	}
	var ratios []float64
	for round, v := range of[a] {
		if w := of[b][round]; w != 0 {
			ratios = append(ratios, v/w)
		}
	}
	return ratios
}

// median of values that it sorts; of an even number the mean of the middle two.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Complete reports whether kefu delivered what it had to in every run, lost nothing and delivered
// nothing twice.
func (r *Report) Complete() bool {
	return !slices.ContainsFunc(r.Runs, func(run Run) bool {
		return !run.Bare && (!run.Finished || run.Intents.Lost > 0 || run.Intents.Repeated > 0)
	})
}

package daemon

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// newRegistry returns a metrics registry with the metrics of the process. dropped returns how many
// lines of the log found no reader; it is nil when none can be dropped.
func newRegistry(version string, dropped func() int64) *prometheus.Registry {
	reg := prometheus.NewRegistry()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "kefu_build_info", Help: "1; its labels say which kefu this is.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	info.Set(1)
	reg.MustRegister(info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if dropped != nil {
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "kefu_log_lines_dropped_total",
			Help: "Lines of the log that found no reader.",
		}, func() float64 { return float64(dropped()) }))
	}
	return reg
}

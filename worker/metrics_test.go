package worker

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

func TestSourcesHaveASeriesEachUpToABound(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg, nil)
	require.NoError(t, err)
	m.ofSource("", schema.StateSent)
	for range 2 {
		for i := range maxSources + 10 {
			m.ofSource(fmt.Sprint("service", i), schema.StateSent)
		}
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	got := make(map[string]float64)
	for _, f := range families {
		if f.GetName() == "kefu_source_intents_total" {
			for _, series := range f.GetMetric() {
				got[series.GetLabel()[0].GetValue()] = series.GetCounter().GetValue()
			}
		}
	}
	require.Len(t, got, maxSources+1)
	require.InDelta(t, 2, got["service0"], 0)
	require.InDelta(t, 20, got["other"], 0)
}

// alerts are the rules that are delivered for Prometheus.
func alerts(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../deploy/alerts.yaml")
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	out := make(map[string]string)
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			out[r.Alert] = r.Expr
		}
	}
	return out
}

func TestAlertsUseExistingSeries(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	reg := prometheus.NewRegistry()
	w, err := New(Config{Process: pool.Worker{Name: "w"}, Concurrency: 1, Grace: b.grace,
		Metrics: reg, Apps: []App{b.app}}, b.way)
	b.NoError(err)
	_, err = b.conn.JS.Publish(t.Context(), "kefu.dead."+appID+".rejected", []byte(`{}`))
	b.NoError(err)
	w.letters.look(t.Context(), w.conn, w.log, time.Now())
	stop := b.run(w)
	b.await(func() bool { return len(w.Troubles()) == 0 })
	families, err := reg.Gather()
	b.NoError(err)
	labels := make(map[string]map[string]bool) // by series, what its labels can be
	for _, f := range families {
		values := make(map[string]bool)
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				values[l.GetName()] = true
				values[l.GetName()+"="+l.GetValue()] = true
			}
		}
		labels[f.GetName()] = values
	}
	series := regexp.MustCompile(`(kefu_[a-z_]+?)(_bucket)?(?:\{(.*?)\})?(?:\[|\)| )`)
	matcher := regexp.MustCompile(`([a-z]+)(=|!=|=~|!~)"([^"]*)"`)
	grouping := regexp.MustCompile(`by \(([^)]*)\)`)
	rules := alerts(t)
	b.NotEmpty(rules)
	for name, expr := range rules {
		found := series.FindAllStringSubmatch(expr+" ", -1)
		b.NotEmpty(found, name)
		for _, s := range found {
			have, there := labels[s[1]]
			b.True(there, "%s asks for %s", name, s[1])
			for _, m := range matcher.FindAllStringSubmatch(s[3], -1) {
				for value := range strings.SplitSeq(m[3], "|") {
					b.True(have[m[1]+"="+value], "%s asks for %s with %s=%s",
						name, s[1], m[1], value)
				}
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(expr, -1) {
			for label := range strings.SplitSeq(by[1], ", ") {
				b.True(label == "le" || labels[found[0][1]][label], "%s groups %s by %s",
					name, found[0][1], label)
			}
		}
	}
	b.NoError(stop())
}

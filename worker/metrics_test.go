package worker

import (
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestSourcesHaveASeriesEachUpToABound(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m, err := newMetrics(reg, nil)
	require.NoError(t, err)
	m.ofSource("", schema.Sent)
	for range 2 {
		for i := range maxSources + 10 {
			m.ofSource(fmt.Sprint("service", i), schema.Sent)
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

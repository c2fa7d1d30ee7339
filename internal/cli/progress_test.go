package cli

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProgressCountsThisRunsShareAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		total     int
		goesOn    bool
		steps     []int
		of, done  int64
		describes string
	}{
		{"a first run", 10_000, true, []int{0, 250, 500}, 10_000, 500, "spring"},
		{"a run that goes on", 10_000, true, []int{6000, 6250, 6500}, 4000, 500,
			"spring, behind the 6,000 done before"},
		{"a run of which all is done", 10_000, true, []int{10_000}, 10_000, 10_000, "spring"},
		{"a run without an earlier one", 10_000, false, []int{1, 2, 3}, 10_000, 3, "spring"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			s := New(Process{Err: &out}).Streams
			s.Terminal.Err = true
			b := s.Progress(c.total, "spring", "rows")
			if c.goesOn {
				b.Continue(c.steps[0])
			}
			for _, done := range c.steps {
				b.Show(done, "")
			}
			state := b.bar.State()
			require.Equal(t, c.of, state.Max)
			require.Equal(t, c.done, state.CurrentNum)
			require.Equal(t, c.describes, state.Description)
			b.Show(c.steps[len(c.steps)-1], "the queue is full")
			require.Equal(t, c.describes+" (the queue is full)", b.bar.State().Description)
			b.End()
		})
	}
}

func TestProgressIsForTerminals(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	b := New(Process{Err: &out}).Streams.Progress(100, "spring", "rows")
	b.Show(50, "")
	b.End()
	require.Empty(t, out.String())
}

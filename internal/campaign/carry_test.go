package campaign

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/schema"
)

// TestAStoppedStepFeedsNothingMore has a campaign told something else than to run before a step of it
// is carried out.
func TestAStoppedStepFeedsNothingMore(t *testing.T) {
	t.Parallel()
	const rows = 5
	for name, c := range map[string]struct {
		want  job.Want
		again bool // the step may have been begun before
		fed   int
	}{
		"a paused campaign feeds nothing":                {job.WantPause, false, 0},
		"a cancelled one feeds nothing":                  {job.WantAbort, false, 0},
		"a step that was cut off is fed, though paused":  {job.WantPause, true, rows},
		"a cancelled one does not end what was cut off":  {job.WantAbort, true, 0},
		"a worker that stops feeds what another has cut": {job.WantRun, true, rows},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, app)
			u, err := NewUpload(conn, app, "spring")
			require.NoError(t, err)
			for i := range rows {
				packet := fmt.Appendf(nil, `{"touser":"u%d","msgtype":"text"}`, i)
				require.NoError(t, u.Add(t.Context(), i+2, fmt.Sprint("u", i), packet))
			}
			require.NoError(t, u.End(t.Context()))
			spec, err := encodeSpec(spec{Campaign: "spring", Upload: u.ID})
			require.NoError(t, err)
			body, err := json.Marshal(step{Rows: rows, At: time.Now()})
			require.NoError(t, err)
			work := NewWork(conn, nil, func(string) App { return App{Remembered: time.Hour} })
			stopped, stop := context.WithCancel(t.Context())
			stop()

			result, err := work.Carry(t.Context(), stopped, job.Task{
				Order: job.Order{ID: u.ID, Spec: spec, Want: c.want},
				Part:  job.Part{Job: u.ID, AppID: app}, Step: job.Step{N: 1, Body: body},
				Again: c.again, Pace: rate.NewLimiter(rate.Inf, 0),
			})
			require.NoError(t, err)
			require.Equal(t, c.fed, result.Published)
			stream, err := conn.JS.Stream(t.Context(), schema.SendStream(app))
			require.NoError(t, err)
			require.EqualValues(t, c.fed, stream.CachedInfo().State.Msgs)
		})
	}
}

package job

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/pause"
)

// Tidier is a kind of job that leaves something behind which somebody has to remove in time.
type Tidier interface {
	// Tidy removes what is due. Every worker calls it when it starts, and now and then.
	Tidy(ctx context.Context) error
}

// tidyEvery is between two calls of a Tidier.
const tidyEvery = time.Hour

// tidy has what is due removed, until ctx ends.
func (r *Runner) tidy(ctx context.Context) {
	for {
		for kind, work := range r.works {
			t, ok := work.(Tidier)
			if !ok {
				continue
			}
			if err := t.Tidy(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("what jobs have left behind is not removed yet", "kind", kind,
					"error", err)
			}
		}
		if pause.For(ctx, tidyEvery) != nil {
			return
		}
	}
}

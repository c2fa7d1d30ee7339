package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/pool"
)

const (
	// carriersEvery is between two looks at who could carry out a job.
	carriersEvery = 2 * time.Second

	// LookWait is for how long one look at the broker may take before the next is tried.
	LookWait = 5 * time.Second
)

// Carriers looks whether workers are alive that carry out a job, and warns when there are none.
type Carriers struct {
	Streams *Streams
	Conn    *broker.Conn
	Kind    string // of the job, in the plural: "replays"
	Job     string // as people call it: "replay k3vq7a2m"

	missing []string // apps without one, as was told last
	looked  time.Time
}

// Look looks at the workers of the apps of the job, every now and then however often it is called.
func (c *Carriers) Look(ctx context.Context, appIDs []string) {
	if time.Since(c.looked) < carriersEvery {
		return
	}
	c.looked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, LookWait)
	defer cancel()
	workers, err := pool.Workers(ctx, c.Conn)
	if err != nil {
		return // who is there says nothing about how far the job is
	}
	missing := uncarried(appIDs, workers)
	if len(missing) > 0 && !slices.Equal(missing, c.missing) {
		c.Streams.Warn(fmt.Sprintf("no worker that carries out %s of %s is running: "+
			"%s is stored and goes on when one starts", c.Kind, strings.Join(missing, ", "), c.Job))
	}
	c.missing = missing
}

// Missing are the apps without such a worker, as of the last look.
func (c *Carriers) Missing() []string { return c.missing }

// uncarried are the apps whose jobs none of the workers carries out.
func uncarried(appIDs []string, workers []pool.Worker) (missing []string) {
	for _, appID := range appIDs {
		if !slices.ContainsFunc(workers, func(w pool.Worker) bool {
			return w.Jobs && !w.Leaving && slices.Contains(w.Apps, appID)
		}) {
			missing = append(missing, appID)
		}
	}
	return missing
}

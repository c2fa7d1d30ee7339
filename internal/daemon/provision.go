package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wiring"
)

// provision brings the JetStream objects in line with the configuration, as
// far as nothing is lost by it, and says what differs otherwise.
func provision(ctx context.Context, conn *broker.Conn, cfg *config.Config, log *slog.Logger) error {
	plan, err := broker.NewPlan(ctx, conn.JS, wiring.BrokerSpec(cfg))
	if err != nil {
		return err
	}
	if !cfg.Worker.Provision {
		for _, c := range plan.Changes {
			if c.Kind == broker.Create {
				return fmt.Errorf("%s is missing: run kefu setup, or set worker.provision",
					c.Stream)
			}
			log.Warn("the broker differs from the configuration", attributes(c)...)
		}
		return nil
	}
	left, err := plan.Apply(ctx, conn.JS, false)
	if err != nil {
		return err
	}
	for _, c := range left {
		log.Warn("left as it is, because messages would be lost or stranded; kefu setup tells more",
			attributes(c)...)
	}
	return nil
}

// attributes are a difference for the log.
func attributes(c broker.Change) []any {
	attrs := []any{"change", c.String()}
	if c.Why != "" {
		attrs = append(attrs, "why", c.Why)
	}
	return attrs
}

// clusterPatience is how long a worker waits at its start for a broker that is there and does not
// answer: a cluster that is just starting has no leader yet.
const clusterPatience = 2 * time.Minute

func (d *Daemon) provisionPatiently(ctx context.Context, conn *broker.Conn) error {
	wait := backoff.NewExponentialBackOff(backoff.WithInitialInterval(500*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(clusterPatience))
	said := false
	return backoff.Retry(func() error {
		err := provision(ctx, conn, d.Config, d.Log)
		if err == nil || ctx.Err() != nil || !passes(err) {
			return backoff.Permanent(err) // nil stays nil
		}
		if !said {
			said = true
			d.Log.Warn("waiting for the broker", "error", err)
		}
		return err
	}, backoff.WithContext(wait, ctx))
}

// passes tells whether the broker will answer otherwise in a while: there is no leader, or there
// are not enough nodes yet.
func passes(err error) bool {
	var refused *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &refused) && refused.Code >= 500 && !errors.Is(err, broker.ErrNoRoom)
}

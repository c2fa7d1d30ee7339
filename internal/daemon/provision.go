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

// provision creates and updates the JetStream objects as the configuration says, as far as no
// message is lost, and logs the differences that stay. With worker.provision false it changes
// nothing, and fails when an object is missing.
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
			log.Warn("the broker differs from the configuration", logAttrs(c)...)
		}
		return nil
	}
	left, err := plan.Apply(ctx, conn.JS, false)
	if err != nil {
		return err
	}
	for _, c := range left {
		log.Warn("left as it is, because messages would be lost or stranded; kefu setup tells more",
			logAttrs(c)...)
	}
	return nil
}

// logAttrs returns the attributes of a difference for the log.
func logAttrs(c broker.Change) []any {
	attrs := []any{"change", c.String()}
	if c.Why != "" {
		attrs = append(attrs, "why", c.Why)
	}
	return attrs
}

// provisionTimeout is how long a worker waits at its start for a broker that is connected and
// cannot answer yet: a cluster that is just starting has no leader.
const provisionTimeout = 2 * time.Minute

// provisionWithRetry provisions and tries again while the broker cannot answer.
func (d *Daemon) provisionWithRetry(ctx context.Context, conn *broker.Conn) error {
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(500*time.Millisecond),
		backoff.WithMaxInterval(5*time.Second), backoff.WithMaxElapsedTime(provisionTimeout))
	warned := false
	return backoff.Retry(func() error {
		err := provision(ctx, conn, d.Config, d.Log)
		if err == nil || ctx.Err() != nil || !isTemporary(err) {
			return backoff.Permanent(err) // nil stays nil
		}
		if !warned {
			warned = true
			d.Log.Warn("waiting for the broker", "error", err)
		}
		return err
	}, backoff.WithContext(wait, ctx))
}

// isTemporary reports whether the broker may answer differently soon: the cluster has no leader
// yet, or not enough nodes.
func isTemporary(err error) bool {
	var refused *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &refused) && refused.Code >= 500 && !errors.Is(err, broker.ErrNoRoom)
}

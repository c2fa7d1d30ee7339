package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
)

func newAppProbeCmd(c *cli) *cobra.Command {
	p := &appProbe{cli: c}
	cmd := &cobra.Command{
		Use:   "probe [APPID]",
		Short: "Try at once whether a held app can send again",
		Long: `Has the workers try a held app now instead of at the next try they had planned: an access token is fetched, then one queued
message is sent; when that goes well the app is open again and the rest follows. Waits for what comes of it.

An operator's hold is not tried but lifted, with kefu app resume. Exit code 0: open again; 1: still held; 3: it was not held.`,
		Example: `  kefu app probe wx0000000000000001
  kefu app probe wx0000000000000001 --wait 1m`,
		Args: arguments(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd.Context(), args) },
	}
	cmd.Flags().DurationVar(&p.wait, "wait", 20*time.Second, "how `long` to wait for what comes of it")
	return cmd
}

type appProbe struct {
	cli  *cli
	wait time.Duration
}

func (p *appProbe) run(ctx context.Context, args []string) error {
	c := p.cli
	conn, err := c.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	app, err := c.oneApp(ctx, conn, first(args))
	if err != nil {
		return err
	}
	// Watched from before it is asked for: the answer may come at once.
	news := make(chan broker.StateEntry, 64)
	watch, err := conn.WatchState(ctx, "app."+app.AppID+".", broker.FollowOptions{}, func(e broker.StateEntry) {
		select {
		case news <- e:
		case <-ctx.Done():
		}
	})
	if err != nil {
		return err
	}
	defer watch.Stop()
	for len(news) > 0 { // what stood before
		<-news
	}
	asked, err := gate.Probe(ctx, conn, app.AppID)
	switch {
	case err != nil:
		return err
	case asked.Kind == "":
		return nothingf("%s is not held: there is nothing to probe", app.AppID)
	case asked.Kind == gate.Operator:
		return fmt.Errorf("%s was paused by %s: lift that with kefu app resume %[1]s", app.AppID, asked.By)
	}
	if err := c.audit(ctx, conn, broker.AuditEntry{Verb: "probe", AppID: app.AppID, Count: 1}); err != nil {
		return err
	}
	held, settled := p.await(ctx, news, app.AppID, asked)
	queued, err := lagsOf(ctx, conn, app.AppID)
	if err != nil {
		return err
	}
	switch {
	case settled && held == nil:
		if c.format != formatTable {
			return c.value(changedApp{app.AppID, true, []gate.Hold{}})
		}
		return c.printf("%s is open again\n", app.AppID)
	case settled:
		return fmt.Errorf("%s is still held: %s\nnext try in %s; you can: %s", app.AppID, held.Reason,
			about(time.Until(held.Until)), whatToDo([]gate.Hold{*held}))
	case queued.live().Queued+queued.bulk.Queued == 0:
		return fmt.Errorf("%s has nothing queued to try it with: its next message will", app.AppID)
	default:
		return fmt.Errorf("%s was not tried within %s: is a worker running for it? kefu app status tells", app.AppID, p.wait)
	}
}

// await waits for the hold to be lifted, or to be put off once more.
func (p *appProbe) await(ctx context.Context, news <-chan broker.StateEntry, appID string, asked gate.Hold) (held *gate.Hold, settled bool) {
	over := time.NewTimer(p.wait)
	defer over.Stop()
	for {
		select {
		case e := <-news:
			if e.Key != gate.AppKey(appID, asked.Kind) {
				continue
			}
			if e.Deleted {
				return nil, true
			}
			if h, err := gate.ParseHold(e.Value); err == nil && !h.Trying && h.Until.After(asked.Until) {
				return &h, true
			}
		case <-over.C:
			return nil, false
		case <-ctx.Done():
			return nil, false
		}
	}
}

package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/gate"
)

// status is `kefu app status`.
type status struct {
	streams *cli.Streams
	broker  *cli.Broker
}

func newStatus(env *cli.Env) *cobra.Command {
	s := &status{env.Streams, env.Broker}
	return &cobra.Command{
		Use:   "status [APPID]",
		Short: "Tell how one app stands: queued, waiting, dead, held and why",
		Long: `Tells all about one app: what is queued and since when, what waits for its time or
its retry, what is dead, and, when it is held, the reason in WeChat's own words (for 40164 with the
address that it saw), since when, when the next try is, and what you can do about it.`,
		Example: `  kefu app status wx0000000000000001
  kefu app status -o json`,
		Args: cli.Args(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), cli.First(args))
		},
	}
}

func (s *status) run(ctx context.Context, appID string) error {
	conn, app, err := s.broker.ConnectApp(ctx, appID)
	if err != nil {
		return err
	}
	defer conn.Close()
	found, err := apps.StatusOf(ctx, conn, app)
	if err != nil {
		return err
	}
	return cli.Record(s.streams, found, statusFields(found, time.Now()))
}

func statusFields(s apps.Status, now time.Time) []cli.Field {
	number := func(n uint64) string { return cli.Grouped(int64(n)) }
	state := cli.Field{Name: "state", Value: s.State, Style: cli.Green}
	if s.State != apps.Open {
		state.Style = cli.Yellow
	}
	sending := fmt.Sprintf("%s in flight, %.1f/s sent lately", cli.Counted(s.InFlight, "call"),
		s.PerSecond)
	fields := []cli.Field{
		{Name: "app", Value: s.AppID},
		{Name: "name", Value: s.Name},
		state,
		{Name: "live", Value: backlog(s.Live, now)},
		{Name: "bulk", Value: backlog(s.Bulk, now)},
		{Name: "sending", Value: sending},
		{Name: "last hour", Value: lastHour(s.LastHour)},
	}
	fields = append(fields, readerFields(s.Readers)...)
	fields = append(fields,
		cli.Field{Name: "waiting", Value: number(s.Waiting) + " for their time or their retry"},
		cli.Field{Name: "dead", Value: cli.Counted(int(s.Dead), "letter")},
		cli.Field{Name: "workers", Value: cli.Grouped(int64(s.Workers)) + " alive"})
	for _, h := range s.Holds {
		fields = append(fields, holdFields(h, now)...)
	}
	return append(fields, cli.Field{Name: "you can", Value: s.Do})
}

// lastHour returns what became of the messages of the last hour; "" when nothing did.
func lastHour(h apps.LastHour) string {
	if h.SentLastHour+h.DeadLastHour == 0 {
		return ""
	}
	half := cli.About(time.Duration(h.P50 * float64(time.Second)))
	most := cli.About(time.Duration(h.P99 * float64(time.Second)))
	return fmt.Sprintf("%s sent, %s dead; half of them within %s, 99 %% within %s",
		cli.Grouped(int64(h.SentLastHour)), cli.Grouped(int64(h.DeadLastHour)), half, most)
}

// readerFields returns the lines about who reads which live shards.
func readerFields(readers []apps.Reader) (fields []cli.Field) {
	name := "shards" // before the first line only
	for _, r := range readers {
		who, colour := "read by "+r.Worker, cli.Style("")
		if r.Worker == "" {
			who, colour = "read by nobody", cli.Yellow
		}
		shards := strings.Trim(fmt.Sprint(r.Shards), "[]")
		queued := cli.Queued(broker.Lag{Queued: r.Queued})
		fields = append(fields, cli.Field{
			Name: name, Value: fmt.Sprintf("%s %s, %s queued", shards, who, queued), Style: colour,
		})
		name = ""
	}
	return fields
}

// holdFields returns the lines about one hold.
func holdFields(h gate.Hold, now time.Time) []cli.Field {
	holds := []gate.Hold{h}
	tried := ""
	if h.Tries > 0 {
		tried = cli.Counted(h.Tries, "time") + " in vain"
	}
	return []cli.Field{
		{Name: "held", Value: heldFor(holds, now), Style: cli.Yellow},
		{Name: "why", Value: apps.Why(holds)},
		{Name: "since", Value: cli.Moment(h.Since) + ", noticed by " + h.By},
		{Name: "drawn by", Value: drawnBy(h.Refusals)},
		{Name: "tried", Value: tried},
	}
}

// backlog returns what is queued and for how long.
func backlog(l broker.Lag, now time.Time) string {
	if l.Oldest == nil {
		return cli.Queued(l) + " queued"
	}
	return cli.Queued(l) + " queued, the oldest for " + cli.Age(l, now)
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func newAppStatusCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "status [APPID]",
		Short: "Tell how one app stands: queued, waiting, dead, held and why",
		Long: `Tells all about one app: what is queued and since when, what waits for its time or its retry, what is dead, and, when it is
held, the reason in WeChat's own words (for 40164 with the address that it saw), since when, when the next try is, and what
you can do about it.`,
		Example: `  kefu app status wx0000000000000001
  kefu app status -o json`,
		Args: arguments(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.appStatus(cmd.Context(), args) },
	}
}

// reader is a worker that reads live shards of an app.
type reader struct {
	Worker string `json:"worker"`
	Shards []int  `json:"shards"`
	Queued uint64 `json:"queued"`
}

// appStatus is one app as `kefu app status` tells of it.
type appStatus struct {
	AppID      string   `json:"appid"`
	Name       string   `json:"name,omitempty"`
	Configured bool     `json:"configured"`
	State      string   `json:"state"` // open, held, no queue
	Live       lag      `json:"live"`
	Bulk       lag      `json:"bulk"`
	Waiting    uint64   `json:"waiting"` // for their time or their retry
	Dead       uint64   `json:"dead"`
	Workers    int      `json:"workers"` // that are alive, of all apps
	Readers    []reader `json:"readers"` // of its live shards; one without a name for those that nobody reads
	pool.Activity
	Holds []gate.Hold `json:"holds"`
	Do    string      `json:"do,omitempty"`
}

func (c *cli) appStatus(ctx context.Context, args []string) error {
	conn, err := c.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	app, err := c.oneApp(ctx, conn, first(args))
	if err != nil {
		return err
	}
	s := appStatus{AppID: app.AppID, Name: app.Name, Configured: app.configured, State: "no queue", Holds: []gate.Hold{}}
	workers, claims, err := pool.Read(ctx, conn)
	if err != nil {
		return err
	}
	s.Workers = len(workers)
	for _, w := range workers {
		s.Add(w.Status.Apps[app.AppID])
	}
	if app.queue {
		if err := s.count(ctx, conn, claims); err != nil {
			return err
		}
	}
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return err
	}
	if held := holds[app.AppID]; len(held) > 0 {
		s.State, s.Holds, s.Do = "held", held, whatToDo(held)
	}
	return record(c, s, s.fields(time.Now()))
}

// count fills in what the broker holds of the app.
func (s *appStatus) count(ctx context.Context, conn *broker.Conn, claims []pool.Held) error {
	s.State = "open"
	queued, err := lagsOf(ctx, conn, s.AppID)
	if err != nil {
		return err
	}
	s.Live, s.Bulk, s.Readers = queued.live(), queued.bulk, readersOf(s.AppID, queued.shards, claims)
	if s.Waiting, err = conn.Count(ctx, wire.StreamLater, wire.LaterWaitSubject(s.AppID, "*")); err != nil {
		return err
	}
	s.Dead, err = conn.Count(ctx, schema.StreamDead, "kefu.dead."+s.AppID+".*")
	return err
}

// readersOf says who reads which of an app's live shards.
func readersOf(appID string, shards []lag, claims []pool.Held) []reader {
	readers := []reader{}
	for n, shard := range shards {
		name := pool.Reader(claims, appID, n)
		i := slices.IndexFunc(readers, func(r reader) bool { return r.Worker == name })
		if i < 0 {
			i = len(readers)
			readers = append(readers, reader{Worker: name})
		}
		readers[i].Shards = append(readers[i].Shards, n)
		readers[i].Queued += shard.Queued
	}
	return readers
}

func (s *appStatus) fields(now time.Time) []field {
	number := func(n uint64) string { return grouped(int64(n)) } //nolint:gosec // a stream's length
	state := field{"state", s.State, green}
	if s.State != "open" {
		state.style = yellow
	}
	fields := []field{
		{"app", s.AppID, ""}, {"name", s.Name, ""}, state,
		{"live", s.Live.sentence(now), ""}, {"bulk", s.Bulk.sentence(now), ""},
		{"sending", fmt.Sprintf("%s in flight, %.1f/s sent lately", counted(s.InFlight, "call"), s.PerSecond), ""},
	}
	for i, r := range s.Readers {
		name, colour := "", style("")
		if i == 0 {
			name = "shards"
		}
		who := "read by " + r.Worker
		if r.Worker == "" {
			who, colour = "read by nobody", yellow
		}
		fields = append(fields, field{name, fmt.Sprintf("%s %s, %s queued", strings.Trim(fmt.Sprint(r.Shards), "[]"), who, number(r.Queued)), colour})
	}
	fields = append(fields,
		field{"waiting", number(s.Waiting) + " for their time or their retry", ""},
		field{"dead", number(s.Dead) + " letters", ""},
		field{"workers", number(uint64(s.Workers)) + " alive", ""}) //nolint:gosec // a length
	for _, h := range s.Holds {
		fields = append(fields,
			field{"held", heldFor([]gate.Hold{h}, now), yellow},
			field{"why", whyHeld([]gate.Hold{h}), ""},
			field{"since", moment(h.Since) + ", noticed by " + h.By, ""})
		if len(h.Drawn) > 0 {
			fields = append(fields, field{"drawn by", drawnBy(h.Drawn), ""})
		}
		if h.Tries > 0 {
			fields = append(fields, field{"tried", counted(h.Tries, "time") + " in vain", ""})
		}
	}
	return append(fields, field{"you can", s.Do, ""})
}

// drawnBy names the intents whose answers drew a hold, the newest first.
func drawnBy(draws []gate.Draw) string {
	const most = 5
	var names []string
	for _, d := range slices.Backward(draws[max(len(draws)-most, 0):]) {
		if d.What != "" {
			d.ID += " (" + d.What + ")"
		}
		names = append(names, d.ID)
	}
	if more := len(draws) - most; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// first is the first of some arguments, or "".
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

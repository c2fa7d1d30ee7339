package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
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

// appStatus is one app as `kefu app status` tells of it.
type appStatus struct {
	AppID      string      `json:"appid"`
	Name       string      `json:"name,omitempty"`
	Configured bool        `json:"configured"`
	State      string      `json:"state"` // open, held, no queue
	Live       uint64      `json:"live"`  // queued
	Bulk       uint64      `json:"bulk"`
	Oldest     *time.Time  `json:"oldest,omitempty"` // when the oldest of them was published
	Waiting    uint64      `json:"waiting"`          // for their time or their retry
	Dead       uint64      `json:"dead"`
	Workers    int         `json:"workers"` // that are alive, of all apps
	Holds      []gate.Hold `json:"holds"`
	Do         string      `json:"do,omitempty"`
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
	if app.queue {
		if err := s.count(ctx, conn); err != nil {
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
	workers, err := pool.Workers(ctx, conn)
	if err != nil {
		return err
	}
	s.Workers = len(workers)
	return record(c, s, s.fields(time.Now()))
}

// count fills in what the broker holds of the app.
func (s *appStatus) count(ctx context.Context, conn *broker.Conn) (err error) {
	s.State = "open"
	if s.Live, s.Bulk, err = backlog(ctx, conn, s.AppID); err != nil {
		return err
	}
	stream, err := conn.JS.Stream(ctx, schema.SendStream(s.AppID))
	if err != nil {
		return fmt.Errorf("the queue of %s: %w", s.AppID, err)
	}
	if state := stream.CachedInfo().State; state.Msgs > 0 {
		s.Oldest = &state.FirstTime
	}
	if s.Waiting, err = conn.Count(ctx, schema.StreamLater, schema.LaterWaitSubject(s.AppID, "*")); err != nil {
		return err
	}
	s.Dead, err = conn.Count(ctx, schema.StreamDead, "kefu.dead."+s.AppID+".*")
	return err
}

func (s *appStatus) fields(now time.Time) []field {
	number := func(n uint64) string { return grouped(int64(n)) } //nolint:gosec // a stream's length
	state := field{"state", s.State, green}
	if s.State != "open" {
		state.style = yellow
	}
	fields := []field{
		{"app", s.AppID, ""}, {"name", s.Name, ""}, state,
		{"live", number(s.Live) + " queued", ""}, {"bulk", number(s.Bulk) + " queued", ""},
	}
	if s.Oldest != nil {
		fields = append(fields, field{"oldest", "queued for " + about(now.Sub(*s.Oldest)), ""})
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
		if h.Tries > 0 {
			fields = append(fields, field{"tried", counted(h.Tries, "time") + " in vain", ""})
		}
	}
	return append(fields, field{"you can", s.Do, ""})
}

// first is the first of some arguments, or "".
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

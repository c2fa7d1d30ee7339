package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
)

func newAppCmd(c *cli) *cobra.Command {
	return newGroupCmd(&cobra.Command{
		Use:     "app",
		Short:   "See which apps are held and why, pause and resume them",
		GroupID: groupApp,
		Long: `An app is one Official Account. It is held when nothing of it can be sent for a reason that is not a message's: its quota is
used up, its configuration is wrong, nothing reaches WeChat, or an operator paused it. What is queued then stays queued.`,
		Example: `  kefu app list
  kefu app status wx0000000000000001
  kefu app pause wx0000000000000001 --reason 'wrong text in the campaign'
  kefu app resume wx0000000000000001
  kefu app quota wx0000000000000001`,
	}, newAppListCmd(c), newAppStatusCmd(c), newAppPauseCmd(c), newAppResumeCmd(c), newAppProbeCmd(c), newAppQuotaCmd(c))
}

// appRow is one app as `kefu app list` shows it.
type appRow struct {
	AppID      string      `json:"appid"`
	Name       string      `json:"name,omitempty"`
	Configured bool        `json:"configured"`
	Live       lag         `json:"live"`
	Bulk       lag         `json:"bulk"`
	Held       bool        `json:"held"`
	Holds      []gate.Hold `json:"holds,omitempty"`
	Do         string      `json:"do,omitempty"` // what an operator can do
}

func newAppListCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the apps: what is queued, what is held and why",
		Example: `  kefu app list
  kefu app list -o json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.appList(cmd.Context()) },
	}
}

func (c *cli) appList(ctx context.Context) error {
	conn, err := c.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	apps, err := c.knownApps(ctx, conn)
	if err != nil {
		return err
	}
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return err
	}
	rows := make([]appRow, 0, len(apps))
	for _, app := range apps {
		row := appRow{AppID: app.AppID, Name: app.Name, Configured: app.configured, Holds: holds[app.AppID]}
		row.Held, row.Do = len(row.Holds) > 0, whatToDo(row.Holds)
		if app.queue {
			lags, err := lagsOf(ctx, conn, app.AppID)
			if err != nil {
				return err
			}
			row.Live, row.Bulk = lags.live(), lags.bulk
		}
		rows = append(rows, row)
	}
	now := time.Now()
	return list(c, rows, []column[appRow]{
		{title: "APP", cell: func(r appRow) string { return r.AppID }},
		{title: "NAME", cell: func(r appRow) string { return r.Name }},
		{title: "LIVE", cell: func(r appRow) string { return r.Live.number() }, right: true},
		{title: "OLDEST", cell: func(r appRow) string { return r.Live.age(now) }, right: true},
		{title: "BULK", cell: func(r appRow) string { return r.Bulk.number() }, right: true},
		{title: "OLDEST", cell: func(r appRow) string { return r.Bulk.age(now) }, right: true},
		{title: "HELD", cell: func(r appRow) string { return heldFor(r.Holds, now) }, style: func(r appRow) style {
			if r.Held {
				return yellow
			}
			return green
		}},
		{title: "WHY", cell: func(r appRow) string { return whyHeld(r.Holds) }, wraps: true},
		{title: "WHAT TO DO", cell: func(r appRow) string { return r.Do }, wraps: true},
	})
}

func heldFor(holds []gate.Hold, now time.Time) string {
	if len(holds) == 0 {
		return "no"
	}
	parts := make([]string, len(holds))
	for i, h := range holds {
		parts[i] = fmt.Sprintf("%s for %s", h.Kind, about(now.Sub(h.Since)))
		if h.Trying {
			parts[i] += ", being tried now"
		} else if next := nextTry(h, now); next.After(now) {
			parts[i] += ", next try in " + about(next.Sub(now))
		}
	}
	return strings.Join(parts, "; ")
}

// nextTry is when a held app is tried again with the messages that are queued for
// it: one of another kind than those that drew the hold is tried as soon as it
// comes.
func nextTry(h gate.Hold, now time.Time) time.Time {
	for _, at := range []time.Time{h.Until, h.AnotherAt} {
		if at.After(now) {
			return at
		}
	}
	return h.SameAt
}

func whyHeld(holds []gate.Hold) string {
	parts := make([]string, len(holds))
	for i, h := range holds {
		parts[i] = h.Reason
		if h.Kind == gate.Operator {
			parts[i] += " (" + h.By + ")"
		}
	}
	return strings.Join(parts, "; ")
}

// whatToDo is an operator's way out of a hold.
func whatToDo(holds []gate.Hold) string {
	var parts []string
	for _, h := range holds {
		switch {
		case h.Kind == gate.Operator:
			parts = append(parts, "kefu app resume, when the time has come")
		case h.PerDay > 0:
			parts = append(parts, "raise rate.per_day, if WeChat allows the app more; it goes on by itself at Beijing's midnight")
		case len(h.Drawn) == 1 && h.Kind == gate.Config && h.Errcode != 0:
			parts = append(parts, wechat.Explain(wechat.Call(h.Call), h.Errcode).DoEn+
				" Only "+h.Drawn[0].ID+" drew it so far: the next message to somebody else tells whether it is about that one.")
		case h.Errcode != 0:
			parts = append(parts, wechat.Explain(wechat.Call(h.Call), h.Errcode).DoEn)
		case h.Kind == gate.Upstream:
			parts = append(parts, "look at this machine's way to the API: DNS, routes, proxies; it goes on by itself")
		default:
			parts = append(parts, "mend what it says; it is tried again by itself, or at once with kefu app probe")
		}
	}
	return strings.Join(parts, "; ")
}

func newAppPauseCmd(c *cli) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "pause [APPID]",
		Short: "Hold an app: nothing of it is sent until it is resumed",
		Long: `Holds an app until an operator resumes it. What is queued stays queued and spends no attempt, though its deadline goes on;
what is being sent just now ends.`,
		Example: `  kefu app pause wx0000000000000001 --reason 'wrong text in the campaign'`,
		Args:    arguments(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeApp(cmd.Context(), args, appChange{
				verb: "pause", detail: reason,
				says: "%s is paused: nothing more of it is sent until kefu app resume %[1]s",
				do: func(ctx context.Context, conn *broker.Conn, appID string) error {
					return gate.Pause(ctx, conn, appID, reason, c.actor())
				},
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "paused by an operator", "`why`, for those who find it held")
	return cmd
}

func newAppResumeCmd(c *cli) *cobra.Command {
	return &cobra.Command{
		Use:   "resume [APPID]",
		Short: "Lift every hold of an app",
		Long: `Lifts every hold of an app: an operator's at once; after one that WeChat, the configuration or the network drew, a single
message is tried first, and the rest follow when it went well. An app that is not held is left as it is.`,
		Example: `  kefu app resume wx0000000000000001`,
		Args:    arguments(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeApp(cmd.Context(), args, appChange{
				verb: "resume", says: "%s is resumed", unlessHeld: "%s was not held: there is nothing to resume", do: gate.Resume,
			})
		},
	}
}

// appChange is what an operator does to one app.
type appChange struct {
	verb       string
	detail     string
	says       string // afterwards, about the appid
	unlessHeld string // says that there is nothing to do for an app that is not held; "": there is
	do         func(ctx context.Context, conn *broker.Conn, appID string) error
}

// changedApp is the answer as JSON.
type changedApp struct {
	AppID   string      `json:"appid"`
	Changed bool        `json:"changed"`
	Holds   []gate.Hold `json:"holds"` // those in force afterwards
}

// changeApp does something to one app and writes it down.
func (c *cli) changeApp(ctx context.Context, args []string, change appChange) error {
	conn, err := c.broker(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	app, err := c.oneApp(ctx, conn, first(args))
	if err != nil {
		return err
	}
	holds, err := gate.Holds(ctx, conn)
	if err != nil {
		return err
	}
	says, changes := change.says, change.unlessHeld == "" || len(holds[app.AppID]) > 0
	if !changes {
		says = change.unlessHeld
	} else {
		if err := c.audit(ctx, conn, broker.AuditEntry{Verb: change.verb, AppID: app.AppID, Count: 1, Detail: change.detail}); err != nil {
			return err
		}
		if err := change.do(ctx, conn, app.AppID); err != nil {
			return err
		}
	}
	if c.format == formatTable {
		return c.printf(says+"\n", app.AppID)
	}
	if holds, err = gate.Holds(ctx, conn); err != nil {
		return err
	}
	return c.value(changedApp{app.AppID, changes, append([]gate.Hold{}, holds[app.AppID]...)})
}

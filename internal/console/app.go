package console

import (
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/overview"
	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/internal/pulse"
)

// appView is the page of one app.
type appView struct {
	apps.Status
	Row      overview.App
	Holds    []holdView
	Problems []overview.Problem
	Groups   []overview.Group
	Gauge    page.Gauge
	DayGauge page.Gauge
	Line     page.Line
	Tens     []tenMinutes
	Settings *config.Settings // nil: it is not configured
	CanAct   bool
	ByPeople bool // an operator holds it
	Command  string
}

// holdView is a hold, explained.
type holdView struct {
	gate.Hold
	apps.HoldAdvice
	Next time.Time
}

// tenMinutes is a row of the table that says what the chart shows.
type tenMinutes struct {
	From                  time.Time
	Sent, Dead, Cancelled int
	P99                   float64
}

func (c *Console) knownApp(r *request) (apps.App, error) {
	appID := r.PathValue("app")
	known, err := apps.Known(r.Context(), c.conn, c.Config())
	if err != nil {
		return apps.App{}, err
	}
	at := slices.IndexFunc(known, func(a apps.App) bool { return a.AppID == appID })
	if at < 0 {
		return apps.App{}, r.missing(
			"There is no app %s: none is configured, and none has a queue of that name.",
			page.Clean(appID))
	}
	return known[at], nil
}

func (c *Console) app(r *request) (answer, error) {
	app, err := c.knownApp(r)
	if err != nil {
		return answer{}, err
	}
	v := appView{CanAct: r.canAct, Command: "kefu app status " + app.AppID}
	if v.Status, err = apps.StatusOf(r.Context(), c.conn, app); err != nil {
		return answer{}, err
	}
	all, err := c.keeper.Look(r.Context())
	if err != nil {
		return answer{}, err
	}
	if of := all.Of(app.AppID); len(of.Apps) > 0 {
		v.Row, v.Problems, v.Groups = of.Apps[0], of.Problems, of.Dead.Groups
	}
	for _, h := range v.Status.Holds {
		v.Holds = append(v.Holds,
			holdView{h, apps.AdviceOn(app.AppID, h), apps.NextTry(h, time.Now())})
		v.ByPeople = v.ByPeople || h.Kind == gate.Operator
	}
	v.Gauge = page.Gauge{Share: v.Row.Use}
	v.Gauge.Text = r.T("%s of %s a second", page.Rate(v.Row.PerSecond), page.Rate(v.Row.Budget))
	if day := v.Row.Day; day != nil && day.Budget > 0 {
		v.DayGauge = page.Gauge{Share: day.Use,
			Text: r.T("%s of %s today", page.Num(day.Used), page.Num(day.Budget))}
	}
	v.Line = hourLine(r, v.Row.Points, 720, 90)
	v.Tens = tens(v.Row.Points)
	if app.Configured {
		v.Settings = &app.Settings
	}
	return answer{template: "app", title: label(app), body: v, live: true}, nil
}

// label is the name of an app, or its appid when it has none.
func label(app apps.App) string {
	if app.Name != "" {
		return app.Name
	}
	return app.AppID
}

// tens adds up minutes by ten.
func tens(points []pulse.Point) (rows []tenMinutes) {
	for chunk := range slices.Chunk(points, 10) {
		row := tenMinutes{From: chunk[0].At}
		for _, p := range chunk {
			row.Sent, row.Dead = row.Sent+p.Sent, row.Dead+p.Dead
			row.Cancelled += p.Cancelled
			row.P99 = max(row.P99, p.P99)
		}
		rows = append(rows, row)
	}
	return rows
}

func (c *Console) hold(r *request) (answer, error) {
	app, err := c.knownApp(r)
	if err != nil {
		return answer{}, err
	}
	reason, err := r.text("reason")
	if err != nil {
		return answer{}, err
	}
	reason = strings.Join(strings.Fields(reason), " ")
	if reason == "" {
		return answer{}, r.bad("Say why, for those who find the app held.")
	}
	if _, err := apps.Pause(r.Context(), c.conn, app.AppID, reason, r.by); err != nil {
		return answer{}, err
	}
	return c.changedApp(app.AppID, "paused"), nil
}

func (c *Console) resume(r *request) (answer, error) {
	app, err := c.knownApp(r)
	if err != nil {
		return answer{}, err
	}
	changed, err := apps.Resume(r.Context(), c.conn, app.AppID, r.by)
	if err != nil {
		return answer{}, err
	}
	if !changed.Changed {
		return c.changedApp(app.AppID, "not-held"), nil
	}
	return c.changedApp(app.AppID, "resumed"), nil
}

// probe has the workers try the app now. The page shows what comes of it.
func (c *Console) probe(r *request) (answer, error) {
	app, err := c.knownApp(r)
	if err != nil {
		return answer{}, err
	}
	probed, err := apps.Probe(r.Context(), c.conn, app.AppID, r.by, 0)
	if err != nil {
		return answer{}, err
	}
	if probed.Hold.Kind == "" {
		return c.changedApp(app.AppID, "not-held"), nil
	}
	return c.changedApp(app.AppID, "probing"), nil
}

// changedApp leads back to an app that was changed, and has open pages look at it.
func (c *Console) changedApp(appID, notice string) answer {
	c.hub.Changed("")
	return did("/app/"+appID, notice)
}

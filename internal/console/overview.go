package console

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/overview"
	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/internal/pulse"
)

// appsShown is how many apps the first screen shows until all are asked for.
const appsShown = 50

// overviewView is the first screen.
type overviewView struct {
	overview.Overview
	Sending sentence
	Rows    []appRow
	Text    string // that a row must have
	State   string // of the rows
	Hidden  int    // rows
	Total   int    // rows that match
	Command string
}

// sentence is what is said at the top.
type sentence struct{ Level, Text string }

// appRow is an app, drawn.
type appRow struct {
	overview.App
	Gauge page.Gauge
	Line  page.Line
}

func (c *Console) overview(r *request) (answer, error) {
	v := overviewView{Command: "kefu overview"}
	var err error
	if v.Text, err = r.text("app"); err != nil {
		return answer{}, err
	}
	if v.State, err = r.text("state"); err != nil {
		return answer{}, err
	}
	if v.Overview, err = c.keeper.Look(r.Context()); err != nil {
		return answer{}, err
	}
	v.Sending = sending(r, v.Overview)
	rows := chosenApps(v.Apps, v.Text, v.State)
	v.Total = len(rows)
	if r.URL.Query().Get("all") == "" && len(rows) > appsShown {
		v.Hidden, rows = len(rows)-appsShown, rows[:appsShown]
	}
	for _, a := range rows {
		v.Rows = append(v.Rows, drawn(r, a))
	}
	return answer{template: "overview", title: r.T("Overview"), body: v, live: true}, nil
}

// chosenApps are those whose name or appid has a text and that are in a state, those first that
// need somebody.
func chosenApps(all []overview.App, text, state string) []overview.App {
	var out []overview.App
	text = strings.ToLower(text)
	for _, a := range all {
		if strings.Contains(strings.ToLower(a.Name+" "+a.AppID), text) &&
			(state == "" || state == a.State || state == "late" && a.Late) {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b overview.App) int { return cmp.Compare(need(b), need(a)) })
	return out
}

// need is how much an app needs somebody.
func need(a overview.App) int {
	switch {
	case a.State == apps.Held:
		return 3
	case a.Late:
		return 2
	case a.Queued > 0 || a.SentLastHour > 0 || a.DeadLastHour > 0:
		return 1
	}
	return 0
}

// sending says in one sentence whether messages are sent.
func sending(r *request, o overview.Overview) sentence {
	t := o.Totals
	switch {
	case t.Workers == 0:
		return sentence{"bad", r.T("Nothing is sent: no worker is alive.")}
	case t.Held > 0 && t.Held == t.Apps:
		return sentence{"bad", r.T("Nothing is sent: every app is held.")}
	case t.PerSecond > 0 && t.Held > 0:
		return sentence{"warn", r.T("Sending %s messages a second; %d of %d apps are held.",
			page.Rate(t.PerSecond), t.Held, t.Apps)}
	case t.PerSecond > 0:
		return sentence{"good", r.T("Sending %s messages a second.", page.Rate(t.PerSecond))}
	case t.Held > 0:
		return sentence{"warn",
			r.T("Nothing is being sent; %d of %d apps are held.", t.Held, t.Apps)}
	case t.Queued > 0:
		return sentence{"warn",
			r.T("Nothing is being sent, and %s messages are queued.", page.Num(t.Queued))}
	case t.InFlight > 0:
		return sentence{"good", r.T("%d messages are in flight.", t.InFlight)}
	case t.Waiting > 0:
		return sentence{"good", r.T("Nothing is queued; %s messages wait for their time or a retry.",
			page.Num(t.Waiting))}
	}
	return sentence{"good", r.T("Nothing is queued: all that came is settled.")}
}

func drawn(r *request, a overview.App) appRow {
	row := appRow{App: a}
	row.Gauge = page.Gauge{Share: a.Use,
		Text: r.T("%s of %s a second", page.Rate(a.PerSecond), page.Rate(a.Budget))}
	row.Line = hourLine(r, a.Points, 120, 26)
	return row
}

// hourLine draws what was sent in each minute of the last hour.
func hourLine(r *request, points []pulse.Point, width, height int) page.Line {
	values := make([]float64, len(points))
	total := 0
	for i, p := range points {
		values[i] = float64(p.Sent)
		total += p.Sent
	}
	return page.NewLine(values, width, height, r.T("%s sent in the last hour", page.Num(total)))
}

// summary is the bar on every page. It does not wait: a page is shown without it while the broker
// does not answer.
func (c *Console) summary(r *request) []page.Number {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	o, err := c.keeper.Look(ctx)
	if err != nil {
		return nil
	}
	t := o.Totals
	level := func(bad bool, level string) string {
		if bad {
			return level
		}
		return ""
	}
	count := func(n *int) string {
		if n == nil {
			return "…"
		}
		return page.Num(*n)
	}
	died := t.DeadLastDay != nil && *t.DeadLastDay > 0
	unknown := t.Unknown != nil && *t.Unknown > 0
	return []page.Number{
		{Text: r.T("a second"), Value: page.Rate(t.PerSecond)},
		{Text: r.T("sent, last hour"), Value: page.Num(t.SentLastHour)},
		{Text: r.T("queued"), Value: page.Num(t.Queued)},
		{Text: r.T("waiting"), Value: page.Num(t.Waiting)},
		{Text: r.T("in flight"), Value: page.Num(t.InFlight)},
		{Text: r.T("died, 24 h"), Value: count(t.DeadLastDay), Href: "/dead?since=24h",
			Level: level(died, "bad")},
		{Text: r.T("unknown"), Value: count(t.Unknown), Href: "/dead?reason=unknown&since=24h",
			Level: level(unknown, "warn")},
		{Text: r.T("held"), Value: r.T("%d of %d apps", t.Held, t.Apps), Href: "/?state=held",
			Level: level(t.Held > 0, "bad")},
		{Text: r.T("workers"), Value: page.Num(t.Workers), Href: "/workers",
			Level: level(t.Workers == 0, "bad")},
	}
}

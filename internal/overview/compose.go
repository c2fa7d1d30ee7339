package overview

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/pulse"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/schema"
)

// snapshot is what was read.
type snapshot struct {
	stand reading[stand]
	hours reading[pulse.Hours]
	waits reading[waits]
	died  reading[died]
	work  reading[work]
}

// compose makes the screen of it.
func (s snapshot) compose(cfg *config.Config, now time.Time) Overview {
	o := Overview{At: s.stand.at.UTC(), Apps: []App{}, Workers: []Worker{}}
	for _, w := range s.stand.value.workers {
		o.Workers = append(o.Workers, workerOf(w, s.stand.value.claims))
	}
	activity := activities(s.stand.value.workers)
	for _, known := range s.stand.value.apps {
		o.Apps = append(o.Apps, s.app(known, activity[known.AppID], now))
	}
	names := make(map[string]string)
	for _, a := range cfg.Apps {
		names[a.AppID] = a.Name
	}
	s.died.value.groups = s.groups()
	o.Dead = s.deaths(names)
	o.Jobs = Jobs{At: utc(s.work.at), Rows: s.work.value.replays, Error: said(s.work.err)}
	o.Campaigns = Campaigns{At: utc(s.work.at), Rows: s.work.value.campaigns,
		More: s.work.value.more, Error: said(s.work.err)}
	if o.Jobs.Rows == nil {
		o.Jobs.Rows = []replay.Status{}
	}
	if o.Campaigns.Rows == nil {
		o.Campaigns.Rows = []campaign.Status{}
	}
	o.Totals = s.totals(o)
	o.Problems = s.problems(o, now)
	return o
}

func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func workerOf(w pool.Worker, claims []pool.Held) Worker {
	out := Worker{
		Name: w.Name, Host: w.Host, Version: w.Version, Started: w.Started, Seen: w.Seen,
		Leaving: w.Leaving, InFlight: w.Status.InFlight, PerSecond: w.Status.PerSecond,
		Apps: len(w.Apps),
	}
	for _, c := range claims {
		if c.Worker == w.Name {
			out.Shards++
		}
	}
	return out
}

// doing is what all workers do for an app.
type doing struct {
	pool.Activity
	served bool // by a worker that stays
}

func activities(workers []pool.Worker) map[string]doing {
	out := make(map[string]doing)
	for _, w := range workers {
		for appID, a := range w.Status.Apps {
			d := out[appID]
			d.Add(a)
			out[appID] = d
		}
		for _, appID := range w.Apps {
			d := out[appID]
			d.served = d.served || !w.Leaving
			out[appID] = d
		}
	}
	return out
}

func (s snapshot) app(known apps.App, does doing, now time.Time) App {
	appID := known.AppID
	lags := s.stand.value.lags[appID]
	row := App{
		AppID: appID, Name: known.Name, Configured: known.Configured, State: apps.Open,
		PerSecond: does.PerSecond, InFlight: does.InFlight, Budget: known.Rate.PerSecond,
		Served: does.served, Live: backlogOf(lags.Live()), Bulk: backlogOf(lags.Bulk),
		Waiting: s.waits.value.waiting[appID], Dead: s.stand.value.dead[appID],
		Points: []pulse.Point{}, Expiring: s.waits.value.expiring[appID],
	}
	all := s.stand.value.queued(appID)
	row.Queued, row.Oldest = all.Queued, all.Oldest
	if row.Queued == 0 {
		row.Expiring = nil
	}
	if row.Budget > 0 {
		row.Use = min(row.PerSecond/row.Budget, 1)
	}
	switch holds := s.stand.value.holds[appID]; {
	case !known.HasQueue:
		row.State = apps.NoQueue
	case len(holds) > 0:
		row.held(holds, now)
	}
	row.Late = row.State == apps.Open && row.Live.Oldest != nil &&
		now.Sub(*row.Live.Oldest) > liveLate
	hour, beat := s.hours.value.Apps[appID]
	if beat {
		last := apps.LastHourOf(hour)
		row.SentLastHour, row.DeadLastHour = last.SentLastHour, last.DeadLastHour
		row.P50, row.P99, row.Points = last.P50, last.P99, hour.Points
	}
	row.Day = dayOf(s.stand.value.days, known, row, hour, now)
	return row
}

func backlogOf(l broker.Lag) Backlog { return Backlog(l) }

// held says why the app is held: an operator's hold counts before any other.
func (a *App) held(holds []gate.Hold, now time.Time) {
	h := holds[0]
	if i := slices.IndexFunc(holds, func(h gate.Hold) bool {
		return h.Kind == gate.Operator
	}); i >= 0 {
		h = holds[i]
	}
	advice := apps.AdviceOn(a.AppID, h)
	a.State, a.Kind, a.By, a.Trying = apps.Held, string(h.Kind), h.By, h.Trying
	a.Why, a.Do = Text{advice.MeansEn, advice.MeansZh}, Text{advice.DoEn, advice.DoZh}
	a.Command, a.Errcode, a.Errmsg = advice.Command, h.Errcode, h.Errmsg
	a.Since = &h.Since
	if next := apps.NextTry(h, now); h.Kind != gate.Operator && !next.IsZero() {
		a.NextTry = &next
	}
}

// dayOf is the app's budget of the day; nil when nobody counts.
func dayOf(
	days map[string]gate.Day, known apps.App, row App, hour pulse.Hour, now time.Time,
) *Day {
	day, counted := days[known.AppID]
	budget := int64(known.Rate.PerDay)
	if !counted && budget == 0 {
		return nil
	}
	if !counted {
		day.End = gate.NextDay(now)
	}
	d := &Day{Budget: budget, Used: day.Used, ResetsAt: day.End.UTC()}
	if budget == 0 {
		return d
	}
	d.Left = max(budget-day.Used, 0)
	d.Use = min(float64(day.Used)/float64(budget), 1)
	if row.State == apps.Open && d.Left > 0 {
		rate := max(hour.PerSecond, float64(hour.Lately.Sent)/lately.Seconds())
		u := usage{left: d.Left, perSecond: rate, queued: row.Queued, budget: row.Budget}
		d.UsedUpAt = u.usedUpAt(now, day.End)
	}
	return d
}

// lately is what [pulse.Hour] calls so.
const lately = 5 * time.Minute

// mostGroups is how many groups of letters are shown.
const mostGroups = 10

// groups are those that died, with what is acknowledged by now behind the others.
func (s snapshot) groups() []deadletter.Group {
	groups := deadletter.WithAcknowledged(s.died.value.groups, s.stand.value.acked)
	slices.SortStableFunc(groups, func(a, b deadletter.Group) int {
		return cmp.Compare(acked(a), acked(b))
	})
	return groups
}

func acked(g deadletter.Group) int {
	if g.Acknowledged != nil {
		return 1
	}
	return 0
}

func (s snapshot) deaths(names map[string]string) Dead {
	d := Dead{
		At: utc(s.died.at), Counting: s.died.at.IsZero(), Took: s.died.took.Seconds(),
		Since: s.died.value.since, Groups: []Group{}, Error: said(s.died.err),
	}
	for i, g := range s.died.value.groups {
		d.Count += g.Count
		if g.Reason == schema.ReasonUnknown {
			d.Unknown += g.Count
		}
		if i >= mostGroups {
			d.More++
			continue
		}
		d.Groups = append(d.Groups, groupOf(g, names[g.AppID]))
	}
	return d
}

func groupOf(g deadletter.Group, name string) Group {
	a := deadletter.AdviceOn(g.Reason, g.Errcode)
	return Group{
		Group: g, Name: name, Means: Text{a.MeansEn, a.MeansZh}, Do: Text{a.DoEn, a.DoZh},
		Command: "kefu dead list --group " + g.ID,
	}
}

func (s snapshot) totals(o Overview) Totals {
	t := Totals{
		Apps: len(o.Apps), Workers: len(o.Workers), Waiting: s.stand.value.waiting,
		Letters: s.stand.value.level.Letters,
	}
	for _, a := range o.Apps {
		t.PerSecond += a.PerSecond
		t.InFlight += a.InFlight
		t.Queued += a.Queued
		t.SentLastHour += a.SentLastHour
		t.DeadLastHour += a.DeadLastHour
		if a.Day != nil {
			t.SentToday += a.Day.Used
		}
		if a.State == apps.Held {
			t.Held++
		}
	}
	if !o.Dead.Counting {
		t.DeadLastDay, t.Unknown = &o.Dead.Count, &o.Dead.Unknown
	}
	return t
}

func grouped(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Of is what of an overview is about one app, or about all.
func (o Overview) Of(appID string) Overview {
	o.Apps = only(o.Apps, func(a App) bool { return a.AppID == appID })
	o.Problems = only(o.Problems, func(p Problem) bool { return p.App == appID || p.App == "" })
	o.Dead.Groups = only(o.Dead.Groups, func(g Group) bool { return g.AppID == appID })
	o.Jobs.Rows = only(o.Jobs.Rows, func(r replay.Status) bool {
		return slices.Contains(r.Apps, appID)
	})
	o.Campaigns.Rows = only(o.Campaigns.Rows, func(c campaign.Status) bool {
		return c.AppID == appID
	})
	return o
}

// only is a copy of some elements: an overview is shared.
func only[T any](all []T, want func(T) bool) []T {
	some := []T{}
	for _, v := range all {
		if want(v) {
			some = append(some, v)
		}
	}
	return some
}

package console

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/internal/replay"
	"github.com/kefuhq/kefu/internal/when"
	"github.com/kefuhq/kefu/schema"
)

// The values of a replay's form when nothing else is said: those of the command.
const (
	replayRate  = "50"
	replayHalts = "100"
)

// replayView is the page that plans a replay, and asks.
type replayView struct {
	Form    map[string]string // options by the names of the flags
	Hidden  []fact            // the filter
	Chooses string            // the filter, in words
	Wrong   string            // with the options
	Changed bool              // since the plan that was agreed to
	Planned bool
	Plan    replay.Plan
	Rows    []planRow
	Bar     page.Stack
	CanAct  bool
	Command string
}

// planRow is a fate of letters, and why.
type planRow struct {
	Count int
	Fate  replay.Fate
	Why   string
	IDs   []string
}

// options are the parameters of a replay beside its filter, with their defaults.
var replayOptions = []struct{ name, without string }{
	{"rate", replayRate}, {"limit", ""}, {"to-lane", ""}, {"set", ""}, {"expires-in", ""}, {"new-ids", ""},
	{"halt-after", replayHalts},
}

// planReplay shows what a replay would do, and the form that orders it.
func (c *Console) planReplay(r *request) (answer, error) {
	v, _, _, err := c.planned(r)
	if err != nil {
		return answer{}, err
	}
	return answer{template: "replay", title: r.T("Send again"), body: v}, nil
}

// orderReplay orders the replay that was planned: if the plan is another one by now, it asks again.
func (c *Console) orderReplay(r *request) (answer, error) {
	v, request, plan, err := c.planned(r)
	if err != nil {
		return answer{}, err
	}
	agreed := r.PostFormValue("agreed")
	if v.Wrong != "" || plan.Replayable == 0 || agreed != planMark(plan) {
		v.Changed = v.Wrong == "" && agreed != ""
		return answer{template: "replay", title: r.T("Send again"), body: v}, nil
	}
	request.Options.AllowDoubles = plan.MayDouble > 0 // the page has said so
	id, err := replay.Submit(r.Context(), c.conn, request, plan, r.by)
	if err != nil {
		return answer{}, err
	}
	c.hub.Changed("")
	return did("/jobs/"+url.PathEscape(id), "ordered"), nil
}

// planMark tells plans apart.
func planMark(p replay.Plan) string {
	counts := []string{strconv.Itoa(p.Total), strconv.Itoa(p.Replayable)}
	for _, fate := range replay.Fates() {
		counts = append(counts, strconv.Itoa(p.Fates[fate]))
	}
	return strings.Join(counts, "-")
}

// Mark is what the form agrees to.
func (v replayView) Mark() string { return planMark(v.Plan) }

func (c *Console) planned(r *request) (replayView, replay.Request, replay.Plan, error) {
	v := replayView{Form: make(map[string]string), CanAct: r.canAct}
	filter, err := c.filter(r)
	if err != nil {
		return v, replay.Request{}, replay.Plan{}, err
	}
	now := time.Now()
	if filter.Until.IsZero() && len(filter.IDs) == 0 {
		filter.Until = now // what dies from now on is not of it
	}
	for _, o := range replayOptions {
		v.Form[o.name] = o.without
		// An empty field is as good as none: so plan, order and command line agree.
		if given := strings.Join(r.Form[o.name], "\n"); strings.TrimSpace(given) != "" {
			v.Form[o.name] = given
		}
	}
	fixed := filter.Query()
	v.Hidden = pairs(fixed)
	v.Command = "kefu dead replay" + filterFlags(fixed)
	pseudonyms, err := c.conn.Pseudonyms(r.Context())
	if err != nil {
		return v, replay.Request{}, replay.Plan{}, err
	}
	v.Chooses = filter.Words(pseudonyms)
	request, err := v.request(r.Printer, filter)
	if err != nil {
		v.Wrong = err.Error()
		return v, request, replay.Plan{}, nil
	}
	v.Command += v.flags()
	plan, err := c.newPlan(r.Context(), request, now)
	var unfit *replay.EditError
	if errors.As(err, &unfit) {
		v.Wrong = unfit.Error()
		return v, request, plan, nil
	}
	if err != nil {
		return v, request, plan, err
	}
	v.show(r, plan)
	return v, request, plan, nil
}

func (c *Console) newPlan(ctx context.Context, q replay.Request, now time.Time) (replay.Plan, error) {
	cfg := c.Config()
	known, err := apps.Known(ctx, c.conn, cfg)
	if err != nil {
		return replay.Plan{}, err
	}
	all, err := apps.ForReplay(ctx, c.conn, cfg, known)
	if err != nil {
		return replay.Plan{}, err
	}
	return replay.NewPlan(ctx, c.conn, q, all, now)
}

// request reads the options.
func (v replayView) request(p page.Printer, filter deadletter.Filter) (replay.Request, error) {
	q := replay.Request{Filter: filter}
	wrong := func(name, form string) error {
		return errors.New(p.T("%s: %s does not do; give %s.", name, page.Clean(v.Form[name]), form))
	}
	whole := p.T("a whole number, 0 or more")
	var err error
	if q.Rate, err = strconv.ParseFloat(v.Form["rate"], 64); err != nil || !(q.Rate >= 0 && q.Rate <= 1e6) {
		return q, wrong("rate", p.T("a number from 0 to 1,000,000"))
	}
	for name, into := range map[string]*int{"limit": &q.Limit, "halt-after": &q.Options.HaltAfter} {
		if v.Form[name] == "" {
			continue
		}
		if *into, err = strconv.Atoi(v.Form[name]); err != nil || *into < 0 {
			return q, wrong(name, whole)
		}
	}
	switch q.Options.Lane = schema.Lane(v.Form["to-lane"]); q.Options.Lane {
	case "", schema.LaneLive, schema.LaneBulk:
	default:
		return q, wrong("to-lane", p.T("live or bulk"))
	}
	if text := v.Form["expires-in"]; text != "" {
		d, ok := when.Duration(text)
		if !ok || d == 0 {
			return q, wrong("expires-in", p.T("a time such as 90m, 6h or 2d"))
		}
		q.Options.ExpiresIn = d
	}
	q.Options.NewIDs = v.Form["new-ids"] != ""
	if q.Options.Set, err = replay.ParseEdit(v.changes()...); err != nil {
		return q, err
	}
	return q, nil
}

// changes are the lines of the field "set", or one JSON patch of several lines.
func (v replayView) changes() (all []string) {
	text := strings.TrimSpace(v.Form["set"])
	if strings.HasPrefix(text, "[") {
		return []string{text}
	}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// flags are the options as the command takes them.
func (v replayView) flags() string {
	var out strings.Builder
	for _, o := range replayOptions {
		switch value := v.Form[o.name]; {
		case value == o.without:
		case o.name == "new-ids":
			out.WriteString(" --new-ids")
		case o.name == "set":
			for _, change := range v.changes() {
				out.WriteString(flag("set", change))
			}
		default:
			out.WriteString(flag(o.name, value))
		}
	}
	return out.String()
}

// show draws a plan.
func (v *replayView) show(r *request, p replay.Plan) {
	v.Planned, v.Plan = true, p
	levels := map[replay.Fate]string{
		replay.WillBeSent: "good", replay.WillWait: "busy", replay.WasSent: "rest",
		replay.SameAgain: "warn", replay.WillExpire: "bad", replay.CannotBe: "bad",
	}
	var parts []page.Part
	for _, fate := range replay.Fates() {
		parts = append(parts, page.Part{Name: fateText(r.Printer, fate), Count: p.Fates[fate], Level: levels[fate]})
		rest := p.Fates[fate]
		for _, note := range p.Notes {
			if note.Fate == fate {
				v.Rows = append(v.Rows, planRow{note.Count, fate, note.Text, note.IDs[:min(2, len(note.IDs))]})
				rest -= note.Count
			}
		}
		if rest > 0 {
			v.Rows = append(v.Rows, planRow{rest, fate, "", nil})
		}
	}
	v.Bar = page.NewStack(parts...)
}

func fateText(p page.Printer, f replay.Fate) string {
	zh := map[replay.Fate]string{
		replay.WillBeSent: "将会发送", replay.WillWait: "公众号已暂停，将排队等待", replay.WasSent: "此前已重放",
		replay.SameAgain: "仍会失败", replay.WillExpire: "已过期", replay.CannotBe: "无法重放",
	}[f]
	return p.Choose(string(f), zh)
}

// discardMost is how many letters the page discards at a time: it answers when that is done.
const discardMost = 10_000

// discard asks whether letters are to be taken out of the box, and does so when it is told.
func (c *Console) discard(r *request) (answer, error) {
	filter, err := c.filter(r)
	if err != nil {
		return answer{}, err
	}
	if filter.Until.IsZero() && len(filter.IDs) == 0 {
		filter.Until = time.Now()
	}
	box := deadletter.Open(c.conn)
	o := deadletter.DiscardOptions{Limit: discardMost, By: r.by,
		InHand: func(ctx context.Context, made time.Time) (map[uint64]bool, error) {
			return replay.InHand(ctx, c.conn, made)
		}}
	plan, err := box.PlanDiscard(r.Context(), filter, o)
	if err != nil {
		return answer{}, err
	}
	query := filter.Query()
	back := "/dead?" + query.Encode()
	if r.PostFormValue("sure") == strconv.Itoa(plan.Total) && plan.Total > 0 {
		o.Through = plan.Through
		if _, err := box.Discard(r.Context(), filter, o); err != nil {
			return answer{}, err
		}
		c.groups.drop()
		c.hub.Changed("")
		return did("/dead", "discarded"), nil
	}
	v := sureView{
		Question: r.T("Take %s letters out of the box for good?", page.Num(plan.Total)),
		Warning:  r.T("Nothing brings them back but an export that was made before."),
		Action:   "/dead/discard", Button: r.T("Discard %s letters", page.Num(plan.Total)), Back: back,
		Fields: pairs(query), Sure: strconv.Itoa(plan.Total),
		Command: "kefu dead discard" + filterFlags(query) + " --limit " + strconv.Itoa(discardMost),
	}
	for _, s := range plan.Shares[:min(len(plan.Shares), 12)] {
		reason := r.Choose(string(s.Reason), deadletter.ReasonZh(s.Reason))
		v.Facts = append(v.Facts, fact{s.AppID + " · " + reason, page.Num(s.Count)})
	}
	if plan.Left > 0 {
		v.Facts = append(v.Facts, fact{
			r.T("left: in the hand of a replay, or beyond %s", page.Num(discardMost)),
			page.Num(plan.Left),
		})
	}
	if plan.Total == 0 {
		v.Button = ""
	}
	return answer{template: "sure", title: r.T("Discard letters"), body: v}, nil
}

// pairs are names and values, in order, for the hidden fields of a form.
func pairs(values url.Values) (all []fact) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			all = append(all, fact{name, value})
		}
	}
	return all
}

// fateOf is fateText for a template.
func fateOf(p *page.View, f replay.Fate) string { return fateText(p.Printer, f) }

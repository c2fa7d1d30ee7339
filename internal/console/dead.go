package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/letter"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/internal/overview"
	"github.com/kefuhq/kefu/schema"
)

// lettersShown is how many letters a page shows.
const lettersShown = 50

// lettersWithin is how long a page looks for them. The reader goes on from there.
const lettersWithin = 2 * time.Second

// deadView is the page of the dead letters.
type deadView struct {
	Filter  deadletter.Filter
	Chips   []chip
	Presets []preset
	Reasons []schema.Reason
	Fields  map[string]string // the filter, for the form
	Hidden  []fact            // what chooses and has no field in the form
	All     []fact            // the filter, for forms that act on it

	Groups     []overview.Group
	GroupsAt   time.Time
	Count      int // letters of the groups
	Counting   bool
	CountError string

	Rows    []letter.Row
	Older   string // URL of the next page; empty: there is none
	Newest  string // URL of the first page; empty: this is it
	Cut     bool   // it looked for long enough: Older goes on from there
	Query   string // the filter in a URL
	CanAct  bool
	Command string
}

// deadFields are the conditions that have a field in the form.
var deadFields = []string{"app", "reason", "errcode", "search", "since", "campaign", "source", "lane"}

// chip is a condition that can be taken away.
type chip struct{ Name, Value, Without string }

// preset is a filter that many want.
type preset struct {
	Text, Href string
	Current    bool
}

func (c *Console) dead(r *request) (answer, error) {
	filter, err := c.filter(r)
	if err != nil {
		return answer{}, err
	}
	before, err := r.number("before", 0, 0, 1<<62)
	if err != nil {
		return answer{}, err
	}
	v := deadView{
		Filter: filter, Chips: chips(r.URL.Query()), Reasons: schema.Reasons(), CanAct: r.canAct,
		Fields: make(map[string]string), All: pairs(filter.Query()),
		Query: filter.Query().Encode(), Command: "kefu dead list" + filterFlags(r.URL.Query()),
	}
	v.Presets = presets(r, r.URL.Query())
	for _, name := range deadletter.QueryNames() {
		v.Fields[name] = strings.Join(r.URL.Query()[name], ",")
	}
	rest := choosing(r.URL.Query(), nil)
	for _, name := range deadFields {
		rest.Del(name)
	}
	v.Hidden = pairs(rest)
	if before == 0 {
		if err := c.countGroups(r, &v); err != nil {
			return answer{}, err
		}
	} else {
		v.Newest = "/dead?" + choosing(r.URL.Query(), nil).Encode()
	}
	page := deadletter.Page{
		Before: uint64(before), NewestFirst: true, Most: lettersShown + 1, Within: lettersWithin,
	}
	if err := c.listLetters(r, &v, page); err != nil {
		return answer{}, err
	}
	// A later page stands still; so does one whose filter may go through the whole box.
	return answer{template: "dead", title: r.T("Dead letters"), body: v,
		live: before == 0 && len(v.Chips) == 0}, nil
}

// listLetters fills in a page of letters, and where the next begins.
func (c *Console) listLetters(r *request, v *deadView, page deadletter.Page) error {
	err := deadletter.Open(c.conn).ListPage(r.Context(), v.Filter, page,
		func(i deadletter.Item) error {
			v.Rows = append(v.Rows, letter.NewRow(i, mask.Mask{}).Alone())
			return nil
		})
	var next uint64
	var cut *deadletter.CutError
	switch {
	case errors.As(err, &cut):
		next, v.Cut = cut.Before, true
	case err != nil:
		return err
	case len(v.Rows) > lettersShown:
		v.Rows = v.Rows[:lettersShown]
		next = v.Rows[lettersShown-1].Seq
	default:
		return nil
	}
	v.Older = "/dead?" + choosing(r.URL.Query(),
		url.Values{"before": {strconv.FormatUint(next, 10)}}).Encode()
	return nil
}

// filter reads the filter out of the URL or a form.
func (c *Console) filter(r *request) (deadletter.Filter, error) {
	if err := r.ParseForm(); err != nil {
		return deadletter.Filter{}, r.bad("This form cannot be read.")
	}
	for name := range r.Form {
		if _, err := r.text(name); err != nil && name != "set" {
			return deadletter.Filter{}, err
		}
	}
	filter, err := deadletter.ParseQuery(r.Form, time.Now())
	if err != nil {
		return filter, refusal{http.StatusBadRequest, err.Error()}
	}
	return filter, nil
}

// countGroups fills in the groups, which are counted in the background.
func (c *Console) countGroups(r *request, v *deadView) error {
	filter := v.Filter
	key := choosing(r.URL.Query(), nil).Encode()
	groups, at, err := c.groups.look(r.Context(), key,
		func(ctx context.Context) ([]deadletter.Group, error) {
			return deadletter.Open(c.conn).Groups(ctx, filter, time.Now())
		})
	v.GroupsAt, v.Counting = at, at.IsZero()
	if err != nil {
		v.CountError = err.Error()
	}
	known, err := apps.Known(r.Context(), c.conn, c.Config())
	if err != nil {
		return err
	}
	names := make(map[string]string)
	for _, app := range known {
		names[app.AppID] = app.Name
	}
	const most = 20
	for i, g := range groups {
		v.Count += g.Count
		if i < most {
			v.Groups = append(v.Groups, explained(g, names[g.AppID]))
		}
	}
	return nil
}

func explained(g deadletter.Group, name string) overview.Group {
	a := deadletter.AdviceOn(g.Reason, g.Errcode)
	return overview.Group{Group: g, Name: name,
		Means: overview.Text{En: a.MeansEn, Zh: a.MeansZh}, Do: overview.Text{En: a.DoEn, Zh: a.DoZh},
		Command: "kefu dead list --group " + g.ID}
}

// choosing is what of a URL chooses letters, with some more.
func choosing(values, more url.Values) url.Values {
	out := make(url.Values)
	for _, name := range deadletter.QueryNames() {
		for _, value := range values[name] {
			if strings.TrimSpace(value) != "" {
				out.Add(name, value)
			}
		}
	}
	for name, all := range more {
		out[name] = all
	}
	return out
}

func chips(values url.Values) (all []chip) {
	values = choosing(values, nil)
	for _, name := range deadletter.QueryNames() {
		if len(values[name]) == 0 {
			continue
		}
		rest := choosing(values, nil)
		rest.Del(name)
		shown := strings.Join(values[name], ", ")
		if name == "openid" {
			shown = mask.Mask{}.OpenID(shown)
		}
		all = append(all, chip{name, shown, "/dead?" + rest.Encode()})
	}
	return all
}

// presets are views that many want; each is a link, so that it can be passed on.
func presets(r *request, values url.Values) []preset {
	all := []preset{
		{Text: r.T("all"), Href: ""}, {Text: r.T("last hour"), Href: "since=1h"},
		{Text: r.T("last 24 hours"), Href: "since=24h"},
		{Text: r.T("may have been sent"), Href: "reason=unknown"},
		{Text: r.T("expired"), Href: "reason=expired"},
		{Text: r.T("retries used up"), Href: "reason=exhausted"},
		{Text: r.T("not the recipient's doing"), Href: "reason=" + othersFault()},
	}
	for i := range all {
		query, _ := url.ParseQuery(all[i].Href) // they are written here
		all[i].Current = query.Encode() == choosing(values, nil).Encode()
		all[i].Href = strings.TrimSuffix("/dead?"+query.Encode(), "?")
	}
	return all
}

// othersFault are all reasons but that the recipient cannot be reached.
func othersFault() string {
	var words []string
	for _, reason := range schema.Reasons() {
		if reason != schema.ReasonRecipient {
			words = append(words, string(reason))
		}
	}
	return strings.Join(words, ",")
}

// filterFlags are the flags of a command that choose the same.
func filterFlags(values url.Values) string {
	var out strings.Builder
	values = choosing(values, nil)
	for _, name := range deadletter.QueryNames() {
		for _, value := range values[name] {
			out.WriteString(flag(name, value))
		}
	}
	return out.String()
}

// acknowledge notes that somebody looks after a group, or takes that back.
func (c *Console) acknowledge(r *request) (answer, error) {
	group, err := r.text("group")
	if err != nil {
		return answer{}, err
	}
	note, err := r.text("note")
	if err != nil {
		return answer{}, err
	}
	if !deadletter.IsGroup(group) {
		return answer{}, r.bad("There is no such group.")
	}
	box := deadletter.Open(c.conn)
	notice := "acknowledged"
	if r.PostFormValue("reopen") != "" {
		notice = "reopened"
		_, err = box.Reopen(r.Context(), group, r.by)
	} else {
		err = box.Acknowledge(r.Context(), group,
			deadletter.Acknowledgement{By: r.by, At: time.Now().UTC(), Note: note})
	}
	if err != nil {
		return answer{}, err
	}
	c.groups.drop()
	return did("/dead?group="+group, notice), nil
}

// letterView is the page of the letters of an id.
type letterView struct {
	ID       string
	Letters  []letter.Letter
	Revealed bool
	CanAct   bool
	Command  string
}

func (c *Console) letter(r *request) (answer, error) { return c.showLetter(r, false) }

// reveal shows a letter with what is said to whom, once: it is written to the audit each time.
func (c *Console) reveal(r *request) (answer, error) { return c.showLetter(r, true) }

func (c *Console) showLetter(r *request, reveal bool) (answer, error) {
	id := r.PathValue("id")
	appID, err := r.app("app")
	if err != nil {
		return answer{}, err
	}
	box := deadletter.Open(c.conn)
	items, err := box.Get(r.Context(), appID, id)
	if err != nil {
		return answer{}, err
	}
	var everywhere []string
	if len(items) == 0 {
		known, err := apps.Known(r.Context(), c.conn, c.Config())
		if err != nil {
			return answer{}, err
		}
		for _, app := range known {
			everywhere = append(everywhere, app.AppID)
		}
	}
	v := letterView{ID: id, Revealed: reveal, CanAct: r.canAct,
		Command: "kefu dead show " + quoted(id) + flag("app", appID)}
	v.Letters, err = letter.All(r.Context(), c.conn, items, id, everywhere, mask.Mask{Reveal: reveal})
	if err != nil {
		return answer{}, err
	}
	if len(v.Letters) == 0 {
		return answer{}, r.missing("There is no dead letter of this id: " +
			"it was replayed or discarded, or is older than 30 days.")
	}
	if reveal {
		viewer := deadletter.Viewer{Actor: r.by, Command: "dead show"}
		if err := box.AuditReveal(r.Context(), viewer, appID, "id="+id, len(v.Letters)); err != nil {
			return answer{}, err
		}
		v.Command += " --reveal"
	}
	return answer{template: "letter", title: r.T("A dead letter"), body: v}, nil
}

// Waited is how long an attempt began after the one before ended; 0 for the first.
func (letterView) Waited(attempts []schema.Attempt, i int) time.Duration {
	if i == 0 {
		return 0
	}
	before := attempts[i-1]
	ended := before.At.Add(time.Duration(before.DurationMS * float64(time.Millisecond)))
	return max(attempts[i].At.Sub(ended), 0)
}

// Headers are those of a letter in the order of their names.
func (letterView) Headers(all map[string][]string) (lines []fact) {
	for name, values := range all {
		for _, value := range values {
			lines = append(lines, fact{name, value})
		}
	}
	slices.SortFunc(lines, func(a, b fact) int { return strings.Compare(a.Name+a.Value, b.Name+b.Value) })
	return lines
}

package console

import (
	"cmp"
	"net/url"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/intent"
	"github.com/kefuhq/kefu/internal/mask"
	"github.com/kefuhq/kefu/schema"
)

// findView is the page of an id or a person.
type findView struct {
	Query   string
	Asked   bool
	Intents []foundIntent
	Person  *person // nil: the query can be no openid
	Kept    kept
	Command string
	CanAct  bool
}

// foundIntent is one intent, with what can be done about it.
type foundIntent struct {
	intent.Whereabouts
	AppName string
	Advice  deadletter.Advice // of a dead one
	Holds   []gate.Hold       // that keep one that is open
	Cancel  bool              // it can be withdrawn
}

// Level is how an intent stands, as a colour.
func (f foundIntent) Level() string {
	switch f.State {
	case schema.StateSent:
		if f.PossibleDuplicate {
			return "warn"
		}
		return "good"
	case schema.StateDead:
		return "bad"
	case schema.StateCancelled:
		return "warn"
	}
	return ""
}

// person is what is known of a recipient.
type person struct {
	OpenID  string // masked
	Pending []intent.Pending
}

// kept is for how long traces of an intent are kept.
type kept struct{ Ledger, Receipts, Letters time.Duration }

// findPage finds whatever the query can be: it is not known whether somebody pasted an id or an
// openid.
func (c *Console) findPage(r *request) (answer, error) {
	v := findView{CanAct: r.canAct}
	var err error
	if v.Query, err = r.text("q"); err != nil {
		return answer{}, err
	}
	v.Asked = v.Query != ""
	cfg := c.Config()
	v.Kept = kept{cfg.Worker.Ledger.Keep, 72 * time.Hour, 30 * 24 * time.Hour}
	v.Command = "kefu find " + quoted(cmp.Or(v.Query, "ID"))
	a := answer{template: "find", title: r.T("Find a message"), live: v.Asked}
	if !v.Asked {
		a.body = v
		return a, nil
	}
	known, err := apps.Known(r.Context(), c.conn, cfg)
	if err != nil {
		return a, err
	}
	if v.Intents, err = c.findIntents(r, known, v.Query); err != nil {
		return a, err
	}
	if len(v.Intents) == 0 && schema.CheckToken("openid", v.Query) == nil {
		pending, err := apps.OfRecipient(r.Context(), c.conn, known, v.Query)
		if err != nil {
			return a, err
		}
		v.Person = &person{OpenID: mask.Mask{}.OpenID(v.Query), Pending: pending}
		if len(pending) > 0 {
			v.Command = "kefu find --openid " + quoted(v.Query)
		}
	}
	a.body = v
	return a, nil
}

func (c *Console) findIntents(
	r *request, known []apps.App, id string,
) ([]foundIntent, error) {
	found, err := intent.Find(r.Context(), c.conn, apps.Places(known), id)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	holds, err := gate.Holds(r.Context(), c.conn)
	if err != nil {
		return nil, err
	}
	rows := make([]foundIntent, len(found))
	for i, w := range found {
		row := foundIntent{Whereabouts: w, Cancel: !w.State.Terminal() && !w.Withdrawn}
		if at := slices.IndexFunc(known, func(a apps.App) bool { return a.AppID == w.AppID }); at >= 0 {
			row.AppName = known[at].Name
		}
		if w.State == schema.StateDead {
			row.Advice = deadletter.AdviceOn(w.Reason, w.Errcode)
		}
		if !w.State.Terminal() {
			row.Holds = holds[w.AppID]
		}
		rows[i] = row
	}
	return rows, nil
}

// withdraw is the page that asks whether an intent is to be withdrawn, and does so when it is told.
func (c *Console) withdraw(r *request) (answer, error) {
	appID, id := r.PostFormValue("app"), r.PostFormValue("id")
	known, err := apps.Known(r.Context(), c.conn, c.Config())
	if err != nil {
		return answer{}, err
	}
	at := slices.IndexFunc(known, func(a apps.App) bool { return a.AppID == appID })
	if at < 0 {
		return answer{}, r.missing("There is no such app.")
	}
	found, err := intent.Find(r.Context(), c.conn, apps.Places(known[at:at+1]), id)
	if err != nil {
		return answer{}, err
	}
	if len(found) == 0 {
		return answer{}, r.missing("Nothing is known of this message any more.")
	}
	w, back := found[0], "/find?q="+url.QueryEscape(id)
	switch {
	case w.State.Terminal():
		return did(back, "too-late"), nil
	case r.PostFormValue("sure") == "":
		return answer{template: "sure", title: r.T("Withdraw a message"), body: sureView{
			Question: r.T("Shall this message not be sent any more?"),
			Facts: []fact{
				{r.T("id"), w.ID}, {r.T("app"), w.AppID}, {r.T("state"), stateText(r, w.State)},
			},
			Warning: r.T("This is final: to send it after all, its producer publishes it again."),
			Action:  "/find/withdraw", Button: r.T("Withdraw it"), Back: back,
			Fields:  []fact{{"app", appID}, {"id", id}},
			Command: "kefu cancel " + quoted(id) + flag("app", appID),
		}}, nil
	case w.Withdrawn:
		return did(back, "withdrawn"), nil
	}
	if err := intent.Withdraw(r.Context(), c.conn, w, r.by); err != nil {
		return answer{}, err
	}
	return did(back, "withdrawn"), nil
}

func stateText(r *request, s schema.State) string {
	return r.Choose(string(s), intent.StateZh(s))
}

// fact is a line of what is about to be changed.
type fact struct{ Name, Value string }

// sureView asks before something is done that cannot be taken back. It is a page of its own, so
// that nothing changes under it.
type sureView struct {
	Question string
	Facts    []fact
	Warning  string
	Action   string
	Fields   []fact // hidden ones of the form
	Sure     string // what it agrees to; empty: "yes"
	Button   string
	Back     string
	Command  string
}

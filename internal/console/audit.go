package console

import (
	"slices"
	"strconv"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
)

// auditShown is how many entries a page shows.
const auditShown = 200

// auditView is the page of what operators did.
type auditView struct {
	Actor, Verb, AppID string
	Days               int
	Verbs              []string
	Spans              []int

	Entries []broker.AuditRecord // newest first
	Found   int
	More    bool // than are shown
	Command string
}

func (c *Console) audit(r *request) (answer, error) {
	v := auditView{Verbs: broker.AuditVerbs(), Spans: []int{1, 7, 30, 90, 365}}
	filter, err := v.read(r, time.Now())
	if err != nil {
		return answer{}, err
	}
	err = c.conn.ReadAudit(r.Context(), filter, func(e broker.AuditRecord) error {
		v.Found++
		v.Entries = append(v.Entries, e)
		if len(v.Entries) > 2*auditShown {
			v.Entries = slices.Delete(v.Entries, 0, len(v.Entries)-auditShown)
		}
		return nil
	})
	if err != nil {
		return answer{}, err
	}
	v.Entries = v.Entries[max(0, len(v.Entries)-auditShown):]
	slices.Reverse(v.Entries)
	v.More = v.Found > len(v.Entries)
	return answer{template: "audit", title: r.T("Audit"), body: v, live: true}, nil
}

// read takes the filter from the URL.
func (v *auditView) read(r *request, now time.Time) (f broker.AuditFilter, err error) {
	if v.Actor, err = r.text("actor"); err != nil {
		return f, err
	}
	if v.Verb, err = r.text("verb"); err != nil {
		return f, err
	}
	if v.AppID, err = r.app("app"); err != nil {
		return f, err
	}
	if v.Days, err = r.number("days", 7, 1, 365); err != nil {
		return f, err
	}
	f = broker.AuditFilter{
		Since: now.AddDate(0, 0, -v.Days), Actor: v.Actor, AppID: v.AppID,
	}
	v.Command = "kefu audit --since " + strconv.Itoa(v.Days) + "d" +
		flag("actor", v.Actor) + flag("app", v.AppID)
	if v.Verb != "" {
		if wire.AuditSubject(v.Verb) == "" {
			return f, r.bad("%s is nothing that operators do.", v.Verb)
		}
		f.Verbs = []string{v.Verb}
		v.Command += flag("verb", v.Verb)
	}
	return f, nil
}

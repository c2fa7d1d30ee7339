package console

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kefuhq/kefu/internal/receipt"
	"github.com/kefuhq/kefu/schema"
)

const (
	// tailWithin is among how many of the latest receipts is looked: a page looks every two
	// seconds, and that must cost the broker little.
	tailWithin = 5000
	tailShown  = 100
)

// tailView is the page of what ends just now.
type tailView struct {
	AppID, State, Reason, Errcode, Campaign, Source string

	States  []schema.State
	Reasons []schema.Reason
	receipt.Latest
	Command string
}

func (c *Console) tailPage(r *request) (answer, error) {
	v := tailView{States: receipt.States(), Reasons: schema.Reasons()}
	filter, err := v.read(r)
	if err != nil {
		return answer{}, err
	}
	v.Latest, err = receipt.Read(r.Context(), c.conn, filter, tailWithin, tailShown)
	if err != nil {
		return answer{}, err
	}
	return answer{template: "tail", title: r.T("What ends just now"), body: v, live: true}, nil
}

// read takes the filter from the URL, whose parameters are named as the flags of the command.
func (v *tailView) read(r *request) (f receipt.Filter, err error) {
	if v.AppID, err = r.app("app"); err != nil {
		return f, err
	}
	for name, into := range map[string]*string{
		"state": &v.State, "reason": &v.Reason, "errcode": &v.Errcode,
		"campaign": &v.Campaign, "source": &v.Source,
	} {
		if *into, err = r.text(name); err != nil {
			return f, err
		}
	}
	f = receipt.Filter{AppID: v.AppID, Campaign: v.Campaign, Source: v.Source}
	if v.State != "" {
		f.States = []schema.State{schema.State(v.State)}
		if !slices.Contains(v.States, f.States[0]) {
			return f, r.bad("No message ends like this.")
		}
	}
	if v.Reason != "" {
		f.Reasons = []schema.Reason{schema.Reason(v.Reason)}
		if !slices.Contains(v.Reasons, f.Reasons[0]) {
			return f, r.bad("No message dies for this reason.")
		}
	}
	for _, word := range strings.FieldsFunc(v.Errcode, func(c rune) bool { return c == ',' }) {
		code, err := strconv.Atoi(strings.TrimSpace(word))
		if err != nil {
			return f, r.bad("Errcodes are numbers with commas between them.")
		}
		f.Errcodes = append(f.Errcodes, code)
	}
	v.Command = "kefu tail" + flag("app", v.AppID) + flag("state", v.State) +
		flag("reason", v.Reason) + flag("errcode", v.Errcode) + flag("campaign", v.Campaign) +
		flag("source", v.Source)
	return f, nil
}

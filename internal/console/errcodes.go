package console

import (
	"slices"

	"github.com/kefuhq/kefu/internal/wechat"
)

// errcodesView is the page of WeChat's return codes.
type errcodesView struct {
	Text, Fault string
	Faults      []string
	Codes       []wechat.Meaning
	Command     string
}

func (c *Console) errcodes(r *request) (answer, error) {
	v := errcodesView{Faults: wechat.FaultNames()}
	var err error
	if v.Text, err = r.text("q"); err != nil {
		return answer{}, err
	}
	if v.Fault, err = r.text("fault"); err != nil {
		return answer{}, err
	}
	if v.Fault != "" && !slices.Contains(v.Faults, v.Fault) {
		return answer{}, r.bad("There is no fault of this name.")
	}
	v.Codes = wechat.Explained(wechat.Lookup{Fault: v.Fault, Text: v.Text}.Codes())
	v.Command = "kefu errcode" + flag("search", v.Text) + flag("fault", v.Fault)
	return answer{template: "errcodes", title: r.T("Errcodes"), body: v}, nil
}

package tail

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// choice is the flags that choose receipts. All that are given must hold; a list holds when one of
// its values does.
type choice struct {
	appID    string
	states   []string
	reasons  []string
	errcodes []int
	lane     string
	campaign string
	source   string
	ids      []string
}

// The values of --state, --reason and --lane.
var (
	states = []string{
		string(schema.StateSent), string(schema.StateDead), string(schema.StateCancelled),
	}
	reasons = cli.Reasons()
	lanes   = cli.Lanes()
)

func (c *choice) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&c.states, "state", nil,
		"how they ended, separated by commas: `states` "+strings.Join(states, ", "))
	flags.StringSliceVar(&c.reasons, "reason", nil,
		"`reasons` they died of, separated by commas: "+strings.Join(reasons, ", "))
	flags.IntSliceVar(&c.errcodes, "errcode", nil, "WeChat's last `codes`, separated by commas")
	flags.StringVar(&c.lane, "lane", "", "`lane`: live or bulk")
	flags.StringVar(&c.campaign, "campaign", "", "`campaign` of bulk messages")
	flags.StringVar(&c.source, "source", "", "publishing `service` (its Kefu-Source)")
	flags.StringArrayVar(&c.ids, "id", nil, "`id`; may be repeated")
	cli.Complete(cmd, "state", func() []string { return states })
	cli.Complete(cmd, "reason", func() []string { return reasons })
	cli.Complete(cmd, "lane", func() []string { return lanes })
}

// check refuses values that no receipt can have.
func (c *choice) check() error {
	for _, list := range []struct {
		flag          string
		values, known []string
	}{
		{"state", c.states, states}, {"reason", c.reasons, reasons},
	} {
		for i, value := range list.values {
			list.values[i] = strings.TrimSpace(value)
			if !slices.Contains(list.known, list.values[i]) {
				return cli.Usagef("--%s %q is not one of %s", list.flag, value,
					strings.Join(list.known, ", "))
			}
		}
	}
	if c.lane != "" && !slices.Contains(lanes, c.lane) {
		return cli.Usagef("--lane %q is not live or bulk", c.lane)
	}
	if c.appID != "" && schema.CheckToken("appid", c.appID) != nil {
		return cli.Usagef("--app %q is no appid", c.appID)
	}
	return nil
}

// subject returns the narrowest subject that has every receipt that can be chosen.
func (c *choice) subject() string {
	switch {
	case c.appID == "":
		return wire.ReceiptFilter(wire.AnyToken)
	case len(c.states) == 1:
		return schema.ReceiptSubject(c.appID, schema.State(c.states[0]))
	}
	return wire.ReceiptFilter(c.appID)
}

func (c *choice) match(r schema.Receipt) bool {
	switch {
	case c.appID != "" && c.appID != r.AppID,
		len(c.states) > 0 && !slices.Contains(c.states, string(r.State)),
		len(c.reasons) > 0 && !slices.Contains(c.reasons, string(r.Reason)),
		len(c.errcodes) > 0 && (r.Errcode == nil || !slices.Contains(c.errcodes, *r.Errcode)),
		c.lane != "" && c.lane != string(r.Lane),
		c.campaign != "" && c.campaign != r.Campaign,
		c.source != "" && c.source != r.Source,
		len(c.ids) > 0 && !slices.Contains(c.ids, r.ID):
		return false
	}
	return true
}

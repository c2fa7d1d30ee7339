package tail

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// choice is the flags that choose receipts.
type choice struct {
	cli.Choice
	appID  string
	states []string
}

// states are the values of --state.
var states = []string{
	string(schema.StateSent), string(schema.StateDead), string(schema.StateCancelled),
}

func (c *choice) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&c.states, "state", nil,
		"how they ended, separated by commas: `states` "+strings.Join(states, ", "))
	c.AddFlags(cmd)
	cli.Complete(cmd, "state", func() []string { return states })
}

// check refuses values that no receipt can have.
func (c *choice) check() error {
	for i, state := range c.states {
		c.states[i] = strings.TrimSpace(state)
		if !slices.Contains(states, c.states[i]) {
			return cli.Usagef("--state %q is not one of %s", state, strings.Join(states, ", "))
		}
	}
	if c.appID != "" && schema.CheckToken("appid", c.appID) != nil {
		return cli.Usagef("--app %q is no appid", c.appID)
	}
	return c.Check()
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
		len(c.Reasons) > 0 && !slices.Contains(c.Reasons, r.Reason),
		len(c.Errcodes) > 0 && (r.Errcode == nil || !slices.Contains(c.Errcodes, *r.Errcode)),
		c.Lane != "" && c.Lane != r.Lane,
		c.Campaign != "" && c.Campaign != r.Campaign,
		c.Source != "" && c.Source != r.Source,
		c.Generation > 0 && c.Generation != r.Generation,
		r.Attempts < c.MinAttempts,
		len(c.IDs) > 0 && !slices.Contains(c.IDs, r.ID):
		return false
	}
	return strings.Contains(strings.ToLower(r.Errmsg), strings.ToLower(c.Search))
}

package tail

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/receipt"
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

// filter is what the flags choose; check has read them.
func (c *choice) filter() receipt.Filter {
	f := receipt.Filter{
		AppID: c.appID, Reasons: c.Reasons, Errcodes: c.Errcodes, Lane: c.Lane,
		Campaign: c.Campaign, Source: c.Source, Generation: c.Generation,
		MinAttempts: c.MinAttempts, Search: c.Search, IDs: c.IDs,
	}
	for _, state := range c.states {
		f.States = append(f.States, schema.State(state))
	}
	return f
}

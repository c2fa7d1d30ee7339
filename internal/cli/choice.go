package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/schema"
)

// Choice is the flags that choose intents by what is known of their end. All that are given must
// hold; a list holds when one of its values does.
type Choice struct {
	Reasons     []schema.Reason
	Errcodes    []int // of the last answer
	Lane        schema.Lane
	Campaign    string
	Source      string
	Generation  int // 0 for any
	MinAttempts int
	Search      string // in any letter case
	IDs         []string

	reasons []string
	lane    string
}

// AddFlags adds the flags. Check reads them.
func (c *Choice) AddFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&c.reasons, "reason", nil,
		"`reasons` they died of, separated by commas: "+strings.Join(Reasons(), ", "))
	flags.IntSliceVar(&c.Errcodes, "errcode", nil, "WeChat's last `codes`, separated by commas")
	flags.StringVar(&c.lane, "lane", "", "`lane`: live or bulk")
	flags.StringVar(&c.Campaign, "campaign", "", "`campaign` of bulk messages")
	flags.StringVar(&c.Source, "source", "", "publishing `service` (its Kefu-Source)")
	flags.IntVar(&c.Generation, "generation", 0,
		"`number` of the id's life: 1, and one more for each replay")
	flags.IntVar(&c.MinAttempts, "min-attempts", 0, "attempts `n` or more were made")
	flags.StringVar(&c.Search, "search", "", "`words` in WeChat's errmsg, in any letter case")
	flags.StringArrayVar(&c.IDs, "id", nil, "`id`; may be repeated")
	Complete(cmd, "reason", Reasons)
	Complete(cmd, "lane", Lanes)
}

// Check reads the flags, and refuses values that nothing can have.
func (c *Choice) Check() error {
	c.Reasons = nil
	for _, name := range c.reasons {
		reason := strings.TrimSpace(name)
		if !slices.Contains(Reasons(), reason) {
			return Usagef("--reason %q is not one of %s", name, strings.Join(Reasons(), ", "))
		}
		c.Reasons = append(c.Reasons, schema.Reason(reason))
	}
	switch {
	case c.lane != "" && !slices.Contains(Lanes(), c.lane):
		return Usagef("--lane %q is not live or bulk", c.lane)
	case c.Generation < 0:
		return Usagef("--generation counts from 1")
	case c.MinAttempts < 0:
		return Usagef("--min-attempts cannot be below 0")
	}
	c.Lane = schema.Lane(c.lane)
	return nil
}

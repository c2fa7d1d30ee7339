package dead

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

// choice is the flags that choose letters.
type choice struct {
	reasons    []string
	errcodes   []int
	lane       string
	campaign   string
	source     string
	openid     string
	generation int
	group      string
	attempts   int
	since      cli.When
	until      cli.When
	search     string
	ids        []string
}

func (f *choice) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.reasons, "reason", nil,
		"`reasons` they died of, separated by commas: "+reasonNames())
	flags.IntSliceVar(&f.errcodes, "errcode", nil, "WeChat's last `codes`, separated by commas")
	flags.StringVar(&f.lane, "lane", "", "`lane`: live or bulk")
	flags.StringVar(&f.campaign, "campaign", "", "`campaign` of bulk messages")
	flags.StringVar(&f.source, "source", "", "publishing `service` (its Kefu-Source)")
	flags.StringVar(&f.openid, "openid", "", "`openid` of the recipient")
	flags.IntVar(&f.generation, "generation", 0,
		"`number` of the id's life: 1, and one more for each replay")
	flags.StringVar(&f.group, "group", "", "`group` that kefu dead groups shows")
	flags.IntVar(&f.attempts, "min-attempts", 0, "attempts `n` or more were made")
	cli.PastVar(flags, &f.since, "since",
		"died at this `time` or later: 2h, 7d, 2026-11-24T08:15:00+08:00 or \"2026-11-24 08:15\"")
	cli.PastVar(flags, &f.until, "until", "died before this `time`")
	flags.StringVar(&f.search, "search", "",
		"`words` in the detail or WeChat's errmsg, in any letter case")
	flags.StringArrayVar(&f.ids, "id", nil, "`id`; may be repeated")
	cli.FormerNames(flags, map[string]string{"text": "search"})
	cli.Complete(cmd, "reason", cli.Reasons)
	cli.Complete(cmd, "lane", cli.Lanes)
}

// filter returns what the flags and the ids in the arguments choose.
func (f *choice) filter(appID string, ids []string, now time.Time) (deadletter.Filter, error) {
	filter := deadletter.Filter{
		AppID: appID, IDs: slices.Concat(f.ids, ids), Errcodes: f.errcodes,
		Lane: schema.Lane(f.lane), Campaign: f.campaign,
		Source: f.source, OpenID: f.openid, Generation: f.generation, Text: f.search,
		Group: strings.ToLower(f.group), MinAttempts: f.attempts,
	}
	for _, name := range f.reasons {
		reason := schema.Reason(strings.TrimSpace(name))
		if !slices.Contains(schema.Reasons(), reason) {
			return filter, cli.Usagef("--reason %q is not one of %s", name, reasonNames())
		}
		filter.Reasons = append(filter.Reasons, reason)
	}
	switch filter.Lane {
	case "", schema.LaneLive, schema.LaneBulk:
	default:
		return filter, cli.Usagef("--lane %q is not live or bulk", f.lane)
	}
	if f.generation < 0 {
		return filter, cli.Usagef("--generation counts from 1")
	}
	if f.attempts < 0 {
		return filter, cli.Usagef("--min-attempts cannot be below 0")
	}
	if f.group != "" && !deadletter.IsGroup(filter.Group) {
		return filter, cli.Usagef("--group %q is not one that kefu dead groups shows: 8 digits and letters a to f",
			f.group)
	}
	filter.Since, filter.Until = f.since.At(now), f.until.At(now)
	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		return filter, cli.Usagef("--since is not before --until: no time is left")
	}
	return filter, nil
}

// checkAll returns an error when nothing chooses letters for a verb that changes much, neither a
// flag nor --all, or when both do. --app chooses by itself, and may stand beside --all.
func checkAll(filter deadletter.Filter, all bool, appID string) error {
	switch {
	case filter.IsZero() && !all:
		return cli.Usagef("which letters? Name ids or flags that choose them, or --all")
	case !filter.IsZero() && all && appID == "":
		return cli.Usagef("--all and something that chooses: which one is meant?")
	}
	return nil
}

package dead

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/deadletter"
)

// choice is the flags that choose letters.
type choice struct {
	cli.Choice
	openid string
	group  string
	since  cli.When
	until  cli.When
}

func (f *choice) addFlags(cmd *cobra.Command) {
	f.AddFlags(cmd)
	flags := cmd.Flags()
	flags.Lookup("search").Usage = "`words` in the detail or WeChat's errmsg, in any letter case"
	flags.StringVar(&f.openid, "openid", "", "`openid` of the recipient")
	flags.StringVar(&f.group, "group", "", "`group` that kefu dead groups shows")
	cli.PastVar(flags, &f.since, "since",
		"died at this `time` or later: 2h, 7d, 2026-11-24T08:15:00+08:00 or \"2026-11-24 08:15\"")
	cli.PastVar(flags, &f.until, "until", "died before this `time`")
	cli.FormerNames(flags, map[string]string{"text": "search"})
}

// filter returns what the flags and the ids in the arguments choose.
func (f *choice) filter(appID string, ids []string, now time.Time) (deadletter.Filter, error) {
	if err := f.Check(); err != nil {
		return deadletter.Filter{}, err
	}
	filter := deadletter.Filter{
		AppID: appID, IDs: slices.Concat(f.IDs, ids), Reasons: f.Reasons, Errcodes: f.Errcodes,
		Lane: f.Lane, Campaign: f.Campaign, Source: f.Source, OpenID: f.openid,
		Generation: f.Generation, Text: f.Search, Group: strings.ToLower(f.group),
		MinAttempts: f.MinAttempts, Since: f.since.At(now), Until: f.until.At(now),
	}
	if f.group != "" && !deadletter.IsGroup(filter.Group) {
		return filter, cli.Usagef("--group %q is not one that kefu dead groups shows: "+
			"8 digits and letters a to f", f.group)
	}
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

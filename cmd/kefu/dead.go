package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/schema"
)

// newDeadCmd is `kefu dead`: the operators' way to what was not sent.
func newDeadCmd(c *cli) *cobra.Command {
	return newGroupCmd(&cobra.Command{
		Use:     "dead",
		Short:   "Look at dead letters and send them again",
		GroupID: groupIntent,
		Long: `An intent that will not be sent becomes a dead letter with a reason, kept for 30 days:
` + reasonNames() + `.
The same flags choose letters for every subcommand; all that are given must hold.`,
		Example: `  kefu dead list --since 2h
  kefu dead show order-4711
  kefu dead replay --reason exhausted --since 2h --dry-run`,
	}, newDeadListCmd(c), newDeadShowCmd(c), newDeadReplayCmd(c))
}

func reasonNames() string {
	var names []string
	for _, r := range schema.Reasons() {
		names = append(names, string(r))
	}
	return strings.Join(names, ", ")
}

// choice is the flags that choose letters.
type choice struct {
	reasons    []string
	errcodes   []int
	lane       string
	campaign   string
	source     string
	openid     string
	generation int
	since      string
	until      string
	text       string
	ids        []string
}

func (f *choice) addFlags(c *cli, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.reasons, "reason", nil, "`reasons` they died of, separated by commas: "+reasonNames())
	flags.IntSliceVar(&f.errcodes, "errcode", nil, "WeChat's last `codes`, separated by commas")
	flags.StringVar(&f.lane, "lane", "", "`lane`: live or bulk")
	flags.StringVar(&f.campaign, "campaign", "", "`campaign` of bulk messages")
	flags.StringVar(&f.source, "source", "", "publishing `service` (its Kefu-Source)")
	flags.StringVar(&f.openid, "openid", "", "`openid` of the recipient")
	flags.IntVar(&f.generation, "generation", 0, "`number` of the id's life: 1, and one more for each replay")
	flags.StringVar(&f.since, "since", "", "died at this `time` or later: 2h, 7d, 2026-11-24, 2026-11-24T08:15:00+08:00")
	flags.StringVar(&f.until, "until", "", "died before this `time`")
	flags.StringVar(&f.text, "text", "", "`words` in the detail or WeChat's errmsg, in any letter case")
	flags.StringArrayVar(&f.ids, "id", nil, "`id`; may be repeated")
	c.complete(cmd, "reason", func() []string { return strings.Split(reasonNames(), ", ") })
	c.complete(cmd, "lane", func() []string { return []string{string(schema.LaneLive), string(schema.LaneBulk)} })
}

// filter is what the flags and, besides them, ids as arguments choose.
func (f *choice) filter(c *cli, ids []string, now time.Time) (deadletter.Filter, error) {
	filter := deadletter.Filter{
		AppID: c.appID, IDs: slices.Concat(f.ids, ids), Errcodes: f.errcodes, Lane: schema.Lane(f.lane), Campaign: f.campaign,
		Source: f.source, OpenID: f.openid, Generation: f.generation, Text: f.text,
	}
	for _, name := range f.reasons {
		reason := schema.Reason(strings.TrimSpace(name))
		if !slices.Contains(schema.Reasons(), reason) {
			return filter, usagef("--reason %q is not one of %s", name, reasonNames())
		}
		filter.Reasons = append(filter.Reasons, reason)
	}
	switch filter.Lane {
	case "", schema.LaneLive, schema.LaneBulk:
	default:
		return filter, usagef("--lane %q is not live or bulk", f.lane)
	}
	if f.generation < 0 {
		return filter, usagef("--generation counts from 1")
	}
	var err error
	if filter.Since, err = parseWhen("since", f.since, now); err != nil {
		return filter, err
	}
	if filter.Until, err = parseWhen("until", f.until, now); err != nil {
		return filter, err
	}
	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		return filter, usagef("--since is not before --until: no time is left")
	}
	return filter, nil
}

// box connects to the broker and opens the dead letters. The caller closes the connection.
func (c *cli) box(ctx context.Context) (*broker.Conn, *deadletter.Box, error) {
	conn, err := c.broker(ctx)
	if err != nil {
		return nil, nil, err
	}
	return conn, deadletter.Open(conn), nil
}

// errcodeText is a code that may be missing.
func errcodeText(code *int) string {
	if code == nil {
		return ""
	}
	return strconv.Itoa(*code)
}

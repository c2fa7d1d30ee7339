package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wechat"
)

// appQuota is `kefu app quota`.
type appQuota struct {
	cli   *cli
	apis  []string
	reset bool
}

func newAppQuotaCmd(c *cli) *cobra.Command {
	q := &appQuota{cli: c}
	cmd := &cobra.Command{
		Use:   "quota [APPID]",
		Short: "See how much of WeChat's quota is left today, or reset it",
		Long: `Asks WeChat how often an app may call an API each day, how often it has and how often it still may; the API that sends messages
when no other is named. Asking has a daily quota of its own.

With --reset the counts go back to zero: of the APIs named with --api, or of all. An app may do so 10 times a month, here and on
mp.weixin.qq.com together. An app that is held for its quota goes on by itself at midnight, or at once with kefu app resume.`,
		Example: `  kefu app quota
  kefu app quota wx0000000000000001 --api /cgi-bin/message/custom/send --api /cgi-bin/message/custom/typing
  kefu app quota wx0000000000000001 --reset`,
		Args: arguments(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return q.run(cmd.Context(), strings.Join(args, ""))
		},
	}
	cmd.Flags().StringArrayVar(&q.apis, "api", nil, "`path` of an API, such as "+wechat.SendPath+"; may be repeated")
	cmd.Flags().BoolVar(&q.reset, "reset", false, "set the counts back to zero first")
	c.complete(cmd, "api", func() []string { return []string{wechat.SendPath, wechat.TypingPath} })
	return cmd
}

// quotaRow is the quota of one API.
type quotaRow struct {
	AppID string `json:"appid"`
	API   string `json:"api"`
	wechat.Quota
}

func (q *appQuota) run(ctx context.Context, appID string) error {
	for _, path := range q.apis {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "? \t") {
			return usagef("--api %q is not the path of an API such as %s", path, wechat.SendPath)
		}
	}
	d, err := q.cli.api(appID)
	if err != nil {
		return err
	}
	defer d.close()
	if q.reset {
		if err := q.clear(ctx, d); err != nil {
			return err
		}
	}
	apis := q.apis
	if len(apis) == 0 {
		apis = []string{wechat.SendPath}
	}
	var rows []quotaRow
	var failed error
	for _, path := range apis {
		quota, err := d.client.Quota(ctx, path)
		if err != nil {
			failed = d.refused(err)
			break
		}
		rows = append(rows, quotaRow{d.app.AppID, path, quota})
	}
	if len(rows) == 0 {
		return failed
	}
	if err := q.show(rows); err != nil || failed == nil {
		return err
	}
	return partlyf("%w", failed)
}

func (q *appQuota) clear(ctx context.Context, d *apiDoor) error {
	what := "all APIs"
	if len(q.apis) > 0 {
		what = strings.Join(q.apis, ", ")
	}
	question := fmt.Sprintf("Reset the quota of %s of %s? It can be done 10 times a month.", what, d.app.Label())
	if err := d.confirm(ctx, question); err != nil {
		return err
	}
	if err := d.auditIfPossible(ctx, broker.AuditEntry{Verb: "quota-reset", Filter: what}); err != nil {
		return err
	}
	if len(q.apis) == 0 {
		if err := d.client.ClearQuota(ctx, d.app.AppID); err != nil {
			return d.refused(err)
		}
	}
	for _, path := range q.apis {
		if err := d.client.ClearAPIQuota(ctx, path); err != nil {
			return d.refused(err)
		}
	}
	d.notef("The quota of %s is reset.", what)
	return nil
}

func (q *appQuota) show(rows []quotaRow) error {
	return list(q.cli, rows, []column[quotaRow]{
		{title: "APP", cell: func(r quotaRow) string { return r.AppID }},
		{title: "API", cell: func(r quotaRow) string { return r.API }, wraps: true},
		{title: "DAILY LIMIT", right: true, cell: func(r quotaRow) string { return grouped(r.DailyLimit) }},
		{title: "USED", right: true, cell: func(r quotaRow) string { return grouped(r.Used) }},
		{title: "REMAIN", right: true, cell: func(r quotaRow) string { return grouped(r.Remain) }, style: func(r quotaRow) style {
			if r.Remain <= 0 {
				return red
			}
			return ""
		}},
		{title: "RATE LIMIT", cell: func(r quotaRow) string {
			if r.RateSeconds <= 0 {
				return ""
			}
			return fmt.Sprintf("%s in %d s", grouped(r.RateCalls), r.RateSeconds)
		}},
	})
}

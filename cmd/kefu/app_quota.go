package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
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
when no other is named. Asking has a daily quota of its own. If there is a broker, BY KEFU is how many sends the workers count for
the same day, with what they have taken of the day's budget and not used yet: what is used beyond that was sent by somebody else.

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
	ByKefu *int64 `json:"by_kefu,omitempty"` // sends of today that kefu counts itself; nil: not counted, or nobody to ask
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
	if !q.reset {
		return q.read(ctx, d)
	}
	what, err := q.clear(ctx, d)
	if err != nil {
		return err
	}
	if err := q.read(ctx, d); err != nil {
		return partlyf("the quota of %s is reset, but what is left cannot be read: %w\n"+
			"kefu app quota asks again; with --reset it would spend another one", what, err)
	}
	d.notef("The quota of %s is reset.", what)
	return nil
}

// read shows what is left.
func (q *appQuota) read(ctx context.Context, d *apiDoor) error {
	apis := q.apis
	if len(apis) == 0 {
		apis = []string{wechat.SendPath}
	}
	asking, enough := context.WithCancel(ctx)
	byKefu := q.counted(asking, d)
	defer func() {
		enough()
		byKefu()
	}()
	var rows []quotaRow
	var failed error
	for _, path := range apis {
		quota, err := d.client.Quota(ctx, path)
		if err != nil {
			failed = err
			if !q.reset { // else the advice to run the command again would spend another reset
				failed = d.unread(err)
			}
			break
		}
		row := quotaRow{AppID: d.app.AppID, API: path, Quota: quota}
		if path == wechat.SendPath {
			row.ByKefu = byKefu()
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return failed
	}
	if err := q.show(rows); err != nil || failed == nil {
		return err
	}
	return partlyf("%w", failed)
}

// countWait is how long the command looks for a broker, which it does not need.
const countWait = time.Second

// counted asks what kefu has counted today, while WeChat is asked. The answer is nil without a broker, or for an app without a budget
// for the day.
func (q *appQuota) counted(ctx context.Context, d *apiDoor) func() *int64 {
	answer := make(chan *int64, 1)
	go func() {
		defer close(answer)
		ctx, cancel := context.WithTimeout(ctx, 2*countWait)
		defer cancel()
		conn, err := d.brokerWithin(ctx, countWait)
		if err != nil {
			return
		}
		defer conn.Close()
		days, err := gate.Days(ctx, conn, time.Now())
		if err != nil {
			return
		}
		if day, ok := days[d.app.AppID]; ok || d.app.Rate.PerDay > 0 {
			answer <- &day.Used
		}
	}()
	return sync.OnceValue(func() *int64 { return <-answer })
}

// clear sets the counts back to zero. what says of which APIs.
func (q *appQuota) clear(ctx context.Context, d *apiDoor) (what string, err error) {
	what = "all APIs"
	if len(q.apis) > 0 {
		what = strings.Join(q.apis, ", ")
	}
	question := fmt.Sprintf("Reset the quota of %s of %s? It can be done 10 times a month.", what, d.app.Label())
	if err := d.confirm(ctx, question); err != nil {
		return what, err
	}
	reset := func(what string, call func() error) error {
		return d.change(ctx, broker.AuditEntry{Verb: "quota-reset", Filter: what}, call)
	}
	if len(q.apis) == 0 {
		err = reset(what, func() error { return d.client.ClearQuota(ctx, d.app.AppID) })
		return what, d.refused(err)
	}
	for i, path := range q.apis {
		err := d.refused(reset(path, func() error { return d.client.ClearAPIQuota(ctx, path) }))
		switch {
		case err != nil && i > 0:
			return what, partlyf("the quota of %s is reset, of the others not: %w", strings.Join(q.apis[:i], ", "), err)
		case err != nil:
			return what, err
		}
	}
	return what, nil
}

func (q *appQuota) show(rows []quotaRow) error {
	columns := []column[quotaRow]{
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
	}
	if slices.ContainsFunc(rows, func(r quotaRow) bool { return r.ByKefu != nil }) {
		columns = slices.Insert(columns, 4, column[quotaRow]{title: "BY KEFU", right: true, cell: func(r quotaRow) string {
			if r.ByKefu == nil {
				return ""
			}
			return grouped(*r.ByKefu)
		}})
	}
	return list(q.cli, rows, columns)
}

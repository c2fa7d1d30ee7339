package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/wechat"
)

// quota is `kefu app quota`.
type quota struct {
	streams *cli.Streams
	broker  *cli.Broker
	api     func(appID string) (*cli.API, error)

	apis  []string
	reset bool
}

func newQuota(env *cli.Env) *cobra.Command {
	q := &quota{streams: env.Streams, broker: env.Broker, api: env.API}
	cmd := &cobra.Command{
		Use:   "quota [APPID]",
		Short: "See how much of WeChat's quota is left today, or reset it",
		Long: `Asks WeChat how often an app may call an API each day, how often it has and how often
it still may; the API that sends messages when no other is named. Asking has a daily quota of its
own. If there is a broker, BY KEFU is how many sends the workers count for the same day, with what
they have taken of the day's budget and not used yet: what is used beyond that was sent by somebody
else.

With --reset the counts go back to zero: of the APIs named with --api, or of all. An app may do so
10 times a month, here and on mp.weixin.qq.com together. An app that is held for its quota goes on
by itself at midnight, or at once with kefu app resume.`,
		Example: `  kefu app quota
  kefu app quota --api /cgi-bin/message/custom/send --api /cgi-bin/message/custom/typing
  kefu app quota wx0000000000000001 --reset`,
		Args: cli.Args(0, 1, "APPID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return q.run(cmd.Context(), cli.First(args))
		},
	}
	cmd.Flags().StringArrayVar(&q.apis, "api", nil,
		"`path` of an API, such as "+wechat.SendPath+"; may be repeated")
	cmd.Flags().BoolVar(&q.reset, "reset", false, "set the counts back to zero first")
	cli.Complete(cmd, "api", func() []string {
		return []string{wechat.SendPath, wechat.TypingPath}
	})
	return cmd
}

// Quota is the quota of one API.
type Quota struct {
	AppID string `json:"appid"`
	API   string `json:"api"`
	wechat.Quota
	// ByKefu are the sends of today that kefu counts itself; nil: not counted, or nobody to ask.
	ByKefu *int64 `json:"by_kefu,omitempty"`
}

func (q *quota) run(ctx context.Context, appID string) error {
	for _, path := range q.apis {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "? \t") {
			return cli.Usagef("--api %q is not the path of an API such as %s", path,
				wechat.SendPath)
		}
	}
	api, err := q.api(appID)
	if err != nil {
		return err
	}
	defer api.Close()
	if !q.reset {
		return q.read(ctx, api)
	}
	what, err := q.clear(ctx, api)
	if err != nil {
		return err
	}
	if err := q.read(ctx, api); err != nil {
		return cli.Partlyf("the quota of %s is reset, but what is left cannot be read: %w\n"+
			"kefu app quota asks again; with --reset it would spend another one", what, err)
	}
	q.streams.Notef("The quota of %s is reset.", what)
	return nil
}

// read shows what is left.
func (q *quota) read(ctx context.Context, api *cli.API) error {
	apis := q.apis
	if len(apis) == 0 {
		apis = []string{wechat.SendPath}
	}
	asking, enough := context.WithCancel(ctx)
	byKefu := q.countedByKefu(asking, api)
	defer func() {
		enough()
		byKefu()
	}()
	var rows []Quota
	var failed error
	for _, path := range apis {
		left, err := api.Client.Quota(ctx, path)
		if err != nil {
			failed = err
			if !q.reset { // else the advice to run the command again would spend another reset
				failed = api.Explain(cli.Reading, err)
			}
			break
		}
		row := Quota{AppID: api.App.AppID, API: path, Quota: left}
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
	return cli.Partlyf("%w", failed)
}

// countWait is how long the command looks for a broker, which it does not need.
const countWait = time.Second

// countedByKefu asks what kefu has counted today, while WeChat is asked. The answer is nil without
// a broker, or for an app without a budget for the day.
func (q *quota) countedByKefu(ctx context.Context, api *cli.API) func() *int64 {
	answer := make(chan *int64, 1)
	go func() {
		defer close(answer)
		ctx, cancel := context.WithTimeout(ctx, 2*countWait)
		defer cancel()
		conn, err := q.broker.ConnectWithin(ctx, countWait)
		if err != nil {
			return
		}
		defer conn.Close()
		if sent, err := apps.SentToday(ctx, conn, api.App); err == nil {
			answer <- sent
		}
	}()
	return sync.OnceValue(func() *int64 { return <-answer })
}

// clear sets the counts back to zero. what says of which APIs.
func (q *quota) clear(ctx context.Context, api *cli.API) (what string, err error) {
	what = "all APIs"
	if len(q.apis) > 0 {
		what = strings.Join(q.apis, ", ")
	}
	question := fmt.Sprintf("Reset the quota of %s of %s? It can be done 10 times a month.", what,
		api.App.Label())
	if err := q.streams.Confirm(ctx, question); err != nil {
		return what, err
	}
	reset := func(what string, call func() error) error {
		return api.Change(ctx, broker.AuditEntry{Verb: "quota-reset", Filter: what}, call)
	}
	if len(q.apis) == 0 {
		err = reset(what, func() error { return api.Client.ClearQuota(ctx, api.App.AppID) })
		return what, api.Explain(cli.Changing, err)
	}
	for i, path := range q.apis {
		err := api.Explain(cli.Changing, reset(path, func() error {
			return api.Client.ClearAPIQuota(ctx, path)
		}))
		switch {
		case err != nil && i > 0:
			return what, cli.Partlyf("the quota of %s is reset, of the others not: %w",
				strings.Join(q.apis[:i], ", "), err)
		case err != nil:
			return what, err
		}
	}
	return what, nil
}

func (q *quota) show(rows []Quota) error {
	columns := []cli.Column[Quota]{
		{Title: "APP", Cell: func(r Quota) string { return r.AppID }},
		{Title: "API", Cell: func(r Quota) string { return r.API }, Wraps: true},
		{Title: "DAILY LIMIT", Right: true,
			Cell: func(r Quota) string { return cli.Grouped(r.DailyLimit) }},
		{Title: "USED", Right: true, Cell: func(r Quota) string { return cli.Grouped(r.Used) }},
		{Title: "REMAIN", Right: true, Cell: func(r Quota) string { return cli.Grouped(r.Remain) },
			Style: func(r Quota) cli.Style {
				if r.Remain <= 0 {
					return cli.Red
				}
				return ""
			}},
		{Title: "RATE LIMIT", Cell: func(r Quota) string {
			if r.RateSeconds <= 0 {
				return ""
			}
			return fmt.Sprintf("%s in %d s", cli.Grouped(r.RateCalls), r.RateSeconds)
		}},
	}
	if slices.ContainsFunc(rows, func(r Quota) bool { return r.ByKefu != nil }) {
		columns = slices.Insert(columns, 4, cli.Column[Quota]{
			Title: "BY KEFU", Right: true, Cell: byKefu,
		})
	}
	return cli.List(q.streams, rows, columns)
}

func byKefu(r Quota) string {
	if r.ByKefu == nil {
		return ""
	}
	return cli.Grouped(*r.ByKefu)
}

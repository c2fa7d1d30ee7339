package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wechat"
)

// apiDoor is an app's way to the API for the commands that call it themselves: kfaccount, typing and quota need no broker and no
// worker.
type apiDoor struct {
	*cli
	app    config.App
	client *wechat.Client
	close  func()
}

// api opens the door of the app in the argument (pass "" for none), in --app, or the only one. The caller closes it. No command
// forces a token refresh: it would retire the token of every worker.
func (c *cli) api(argument string) (*apiDoor, error) {
	c.needsSecrets = true
	app, err := c.app(argument)
	if err != nil {
		return nil, err
	}
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	hc, err := wechat.NewHTTPClient(wechat.HTTPOptions{Timeout: cfg.WeChat.Timeout, CAFile: cfg.WeChat.CAFile, IdlePerHost: 1})
	if err != nil {
		return nil, err
	}
	tokens := tokenSource(hc, cfg.WeChat, app, configuredSecret, nil)
	return &apiDoor{c, app, wechat.NewClient(hc, cfg.WeChat.BaseURL, tokens), func() {
		if t, ok := tokens.(interface{ Close() }); ok {
			t.Close()
		}
		hc.CloseIdleConnections()
	}}, nil
}

// asideWait is how long a command waits for the broker in what is not its errand: to write its deed down, to warn of something.
const asideWait = 2 * time.Second

// change writes down what is about to be done and does it. When it was not done, or nobody knows, that is written down as well: who
// reads the audit would believe the first entry. Without a broker the deed is done all the same, and the user is told that nobody
// will read of it.
func (d *apiDoor) change(ctx context.Context, e broker.AuditEntry, do func() error) error {
	e.AppID, e.Count = d.app.AppID, 1
	conn, unwritten := d.brokerWithin(ctx, asideWait)
	if unwritten == nil {
		defer conn.Close()
		unwritten = d.auditWithin(ctx, conn, e)
	}
	failed := ctx.Err()
	if failed == nil {
		if unwritten != nil {
			d.warn("this is not written to the audit: " + unwritten.Error())
		}
		failed = do()
	}
	if failed != nil && unwritten == nil {
		e.Count, e.Detail = 0, failure(failed)
		if err := d.auditWithin(context.WithoutCancel(ctx), conn, e); err != nil {
			d.warn("that it failed is not written to the audit: " + err.Error())
		}
	}
	return failed
}

func (d *apiDoor) auditWithin(ctx context.Context, conn *broker.Conn, e broker.AuditEntry) error {
	ctx, cancel := context.WithTimeout(ctx, asideWait)
	defer cancel()
	return d.audit(ctx, conn, e)
}

// failure is what the audit says of a deed that failed.
func failure(err error) string {
	var e *wechat.Error
	switch {
	case !errors.As(err, &e):
		return "not done"
	case e.Fault == wechat.FaultUnknown:
		return "nobody knows whether it was done"
	case e.HasCode:
		return fmt.Sprintf("not done: errcode %d (%s)", e.Code, wechat.Explain(e.Call, e.Code).Name)
	}
	return "not done: " + e.Fault.String()
}

// errand is what a command does with the API: it decides what can be done when nobody knows whether
// the call was carried out.
type errand uint8

const (
	changing errand = iota // something there: doing it twice may matter
	reading                // nothing there
	showing                // a sign that passes by itself
)

// refused is an error of a changing call as a person needs it: what it means, and what can be done, in their language.
func (c *cli) refused(err error) error { return c.refusedWhile(changing, err) }

// unread is refused for a call that only reads.
func (c *cli) unread(err error) error { return c.refusedWhile(reading, err) }

func (c *cli) refusedWhile(doing errand, err error) error {
	var bad *wechat.InputError
	if errors.As(err, &bad) {
		return &exitError{exitUsage, err}
	}
	var e *wechat.Error
	if !errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	return &explainedError{err, c.explanation(doing, e)}
}

// explainedError has lines for people behind the error's own.
type explainedError struct {
	err   error
	lines []string
}

func (e *explainedError) Error() string {
	return strings.Join(append([]string{e.err.Error()}, e.lines...), "\n")
}

func (e *explainedError) Unwrap() error { return e.err }

// explanation says of an errcode what kefu errcode --call says of it. Where the code did not decide
// what became of the call, as in an answer with HTTP 500, it explains nothing.
func (c *cli) explanation(doing errand, e *wechat.Error) []string {
	var lines []string
	add := func(name, text string) { lines = append(lines, name+" "+text) }
	lang := c.language()
	if row := wechat.Explain(e.Call, e.Code); e.HasCode && row.Fault == e.Fault {
		if lang != langZh {
			add("means   ", row.En)
			add("you can ", row.DoEn)
		}
		if lang != langEn {
			add("含义", row.Zh)
			add("建议", row.DoZh)
		}
		return lines
	}
	en, zh := c.withoutCode(doing, e)
	if lang != langZh {
		add("you can ", en)
	}
	if lang != langEn {
		add("建议", zh)
	}
	return lines
}

// withoutCode is what can be done where no errcode tells.
func (c *cli) withoutCode(doing errand, e *wechat.Error) (en, zh string) {
	switch {
	case e.Fault == wechat.FaultUnknown && doing == reading:
		return "Nothing was changed: run the command again.", "没有任何改动：请重新执行命令。"
	case e.Fault == wechat.FaultUnknown && doing == showing:
		return "Nobody knows whether the sign is shown: run the command again, it does no harm.",
			"无法确定输入状态是否已下发：可直接重新执行命令，不会有副作用。"
	case e.Fault == wechat.FaultUnknown:
		return "Look before you do it again: the request left, and nobody knows whether it was carried out.",
			"请求已发出但没有可用的应答：请先核实是否已生效，再决定是否重试。"
	case e.Fault == wechat.FaultMinuteQuota && e.RetryAfter > 0:
		return fmt.Sprintf("Do it again in %s.", about(e.RetryAfter)), fmt.Sprintf("请在 %s 后重试。", about(e.RetryAfter))
	case e.Fault == wechat.FaultBusy, e.Fault == wechat.FaultMinuteQuota:
		return "Do it again in a moment.", "请稍后重试。"
	case e.Fault == wechat.FaultUpstream:
		host := c.apiHost()
		return "Look at this machine's way to " + host + ": DNS, routes, proxies. Nothing was changed.",
			"请检查本机到 " + host + " 的网络：DNS、路由、代理。本次没有任何改动。"
	default:
		return "Mend what it says, and do it again.", "请按上述原因修正后重试。"
	}
}

// apiHost is where the API is, for people.
func (c *cli) apiHost() string {
	cfg, err := c.config()
	if err != nil {
		return "the API"
	}
	u, err := url.Parse(cfg.WeChat.BaseURL)
	if err != nil {
		return "the API"
	}
	return u.Host
}

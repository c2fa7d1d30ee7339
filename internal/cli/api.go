package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wiring"
)

// API is an app's way to the API for the commands that call it themselves: kfaccount, typing and
// quota need no broker and no worker.
type API struct {
	App    config.App
	Client *wechat.Client
	Close  func()

	streams *Streams
	broker  *Broker
	advice  advice
}

// API opens the way of the app in the argument (pass "" for none), in --app, or the only one. The
// caller closes it.
func (e *Env) API(argument string) (*API, error) {
	cfg, err := e.Settings.ConfigWithSecrets()
	if err != nil {
		return nil, err
	}
	app, err := e.Settings.App(argument)
	if err != nil {
		return nil, err
	}
	client, closeAll, err := wiring.API(cfg.WeChat, app)
	if err != nil {
		return nil, err
	}
	return &API{
		App: app, Client: client, Close: closeAll, streams: e.Streams, broker: e.Broker,
		advice: advice{e.Settings.Language(), cfg.WeChat.BaseURL},
	}, nil
}

// Change writes down what is about to be done and does it. When it was not done, or nobody knows,
// that is written down as well: who reads the audit would believe the first entry. Without a broker
// the change is made all the same, and the user is warned.
func (a *API) Change(ctx context.Context, e broker.AuditEntry, do func() error) error {
	e.AppID, e.Count = a.App.AppID, 1
	conn, unwritten := a.broker.ConnectWithin(ctx, AsideWait)
	if unwritten == nil {
		defer conn.Close()
		unwritten = a.auditWithin(ctx, conn, e)
	}
	failed := ctx.Err()
	if failed == nil {
		if unwritten != nil {
			a.streams.Warn("this is not written to the audit: " + unwritten.Error())
		}
		failed = do()
	}
	if failed != nil && unwritten == nil {
		e.Count, e.Detail = 0, failure(failed)
		if err := a.auditWithin(context.WithoutCancel(ctx), conn, e); err != nil {
			a.streams.Warn("that it failed is not written to the audit: " + err.Error())
		}
	}
	return failed
}

func (a *API) auditWithin(ctx context.Context, conn *broker.Conn, e broker.AuditEntry) error {
	ctx, cancel := context.WithTimeout(ctx, AsideWait)
	defer cancel()
	return a.broker.Audit(ctx, conn, e)
}

// failure returns what the audit says of a change that failed.
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

package cli

import (
	"context"
	"time"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wiring"
)

// Broker is the way to the broker of the configuration, and what is asked of it again and again.
type Broker struct {
	settings *Settings

	// refuse ends the command with the reason why. What the broker forbids it never
	// answers: whoever waits for it would wait in vain.
	refuse context.CancelCauseFunc
}

const (
	// commandWait is how long a command waits for the broker before it says that there is none:
	// somebody sits in front of it.
	commandWait = 5 * time.Second
	// AsideWait is how long a command waits for the broker beside its own task: to write down what
	// it does, to warn of something.
	AsideWait = 2 * time.Second
)

// Connect connects a command to the broker. The caller closes the connection. A daemon, which waits
// for its broker as long as it takes, connects by itself.
func (b *Broker) Connect(ctx context.Context) (*broker.Conn, error) {
	return b.ConnectWithin(ctx, commandWait)
}

// ConnectWithin is Connect that waits for the broker as long as it is told.
func (b *Broker) ConnectWithin(ctx context.Context, wait time.Duration) (*broker.Conn, error) {
	cfg, err := b.settings.Config()
	if err != nil {
		return nil, err
	}
	options, err := wiring.BrokerOptions(cfg)
	if err != nil {
		return nil, Usagef("%w", err)
	}
	options.Name = "kefu command"
	options.FirstWait = wait
	options.Denied = b.refuse
	return broker.Connect(ctx, options)
}

// ConnectApp connects a command and finds the app that it is about, as App does. The caller closes
// the connection.
func (b *Broker) ConnectApp(ctx context.Context, argument string) (*broker.Conn, apps.App, error) {
	return connected(ctx, b, func(conn *broker.Conn) (apps.App, error) {
		return b.App(ctx, conn, argument)
	})
}

// ConnectApps connects a command and finds the apps that it is about, as Apps does. The caller
// closes the connection.
func (b *Broker) ConnectApps(ctx context.Context) (*broker.Conn, []apps.App, error) {
	return connected(ctx, b, func(conn *broker.Conn) ([]apps.App, error) {
		return b.Apps(ctx, conn)
	})
}

// connected connects a command and finds something at the broker, without which it needs no
// connection.
func connected[T any](
	ctx context.Context, b *Broker, find func(*broker.Conn) (T, error),
) (*broker.Conn, T, error) {
	var none T
	conn, err := b.Connect(ctx)
	if err != nil {
		return nil, none, err
	}
	found, err := find(conn)
	if err != nil {
		conn.Close()
		return nil, none, err
	}
	return conn, found, nil
}

// Apps returns the apps that operators can work on. With --app it is that one, which must be known.
func (b *Broker) Apps(ctx context.Context, conn *broker.Conn) ([]apps.App, error) {
	return b.apps(ctx, conn, b.settings.AppID)
}

func (b *Broker) apps(
	ctx context.Context, conn *broker.Conn, appID string,
) ([]apps.App, error) {
	cfg, err := b.settings.Config()
	if err != nil {
		return nil, err
	}
	known, err := apps.Known(ctx, conn, cfg)
	if err != nil || appID == "" {
		return known, err
	}
	for _, app := range known {
		if app.AppID == appID {
			return []apps.App{app}, nil
		}
	}
	return nil, Usagef("no app %s is configured, and none has a queue of that name", appID)
}

// App is the app a command changes: the one in its argument (pass "" for none), else in --app, else
// the only one there is.
func (b *Broker) App(
	ctx context.Context, conn *broker.Conn, argument string,
) (apps.App, error) {
	appID, err := b.settings.appID(argument)
	if err != nil {
		return apps.App{}, err
	}
	found, err := b.apps(ctx, conn, appID)
	if err != nil {
		return apps.App{}, err
	}
	switch len(found) {
	case 0:
		return apps.App{}, Usagef("no app is configured, and none has a queue")
	case 1:
		return found[0], nil
	}
	return apps.App{}, Usagef("there are several apps: name one, see kefu app list")
}

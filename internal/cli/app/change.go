package app

import (
	"context"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/cli"
)

// change does something to the app that is meant.
func change(
	ctx context.Context, b *cli.Broker, appID string,
	do func(conn *broker.Conn, appID string) (apps.Changed, error),
) (apps.Changed, error) {
	conn, app, err := b.ConnectApp(ctx, appID)
	if err != nil {
		return apps.Changed{}, err
	}
	defer conn.Close()
	return do(conn, app.AppID)
}

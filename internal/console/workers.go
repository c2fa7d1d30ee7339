package console

import (
	"context"

	"github.com/kefuhq/kefu/internal/apps"
	"github.com/kefuhq/kefu/internal/pool"
)

// workersView is the page of the pool.
type workersView struct {
	Workers []pool.Row
	Unread  []pool.Row // live shards that nobody reads, and bulk
	Command string
}

func (c *Console) workers(r *request) (answer, error) {
	rows, _, err := c.pools.look(r.Context(), "", c.readPool)
	if err != nil {
		return answer{}, err
	}
	v := workersView{Command: "kefu pool"}
	for _, row := range rows {
		if row.Worker != "" {
			v.Workers = append(v.Workers, row)
		} else {
			v.Unread = append(v.Unread, row)
		}
	}
	return answer{template: "workers", title: r.T("Workers"), body: v, live: true}, nil
}

// readPool reads which workers there are and what each of them reads.
func (c *Console) readPool(ctx context.Context) ([]pool.Row, error) {
	known, err := apps.Known(ctx, c.conn, c.Config())
	if err != nil {
		return nil, err
	}
	var queues []string
	for _, app := range known {
		if app.HasQueue {
			queues = append(queues, app.AppID)
		}
	}
	return pool.Overview(ctx, c.conn, queues, "")
}

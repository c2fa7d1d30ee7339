// Package console is the operators' web page: how things stand and why, and what can be done about
// it. It shows what the commands show and does what they do, through the same packages; not one
// rule is its own. routes.go has all pages and what each of them needs.
//
// A page is a function from a request to an answer, which names a template and what it shows.
// Everything else is the same for all of them (serve.go): who may ask, the shell, errors.
//
// Reading never changes anything, and no reading makes a consumer on a queue. What costs the broker
// much is read by the overview's Keeper, once for all pages that are open.
package console

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/overview"
	"github.com/kefuhq/kefu/internal/page"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wechat"
)

//go:embed all:templates lang assets
var files embed.FS

// changeEvery is how often open pages look again at what the broker says.
const changeEvery = 2 * time.Second

// Options set up a Console.
type Options struct {
	// Config returns the configuration in force: apps and their settings.
	Config func() *config.Config
	// Token reads the token that signs in; nil: nobody signs in, and without Trusted nothing can be
	// changed.
	Token func() (string, error)
	// Trusted lets anybody who reaches the page change things, as in kefu dev, where nothing is
	// real and nothing but this machine reaches it.
	Trusted bool
	// Actor is who did what a Trusted console does, for the audit.
	Actor string
	// Listen is the address where it is served, as host:port.
	Listen string
	// Origin is how browsers see the console behind a proxy; "" without one.
	Origin string
	// Secret reads an app's AppSecret, for what asks the API: quota and kfaccounts.
	Secret func(config.App) (wechat.Secret, error)
	Log    *slog.Logger
}

// Console is the operators' web page.
type Console struct {
	Options
	conn   *broker.Conn
	site   *page.Site
	hub    *page.Hub
	keeper *overview.Keeper
	groups cached[[]deadletter.Group] // by the filter in a URL
	// by the app whose they are; "" for all
	campaignLists cached[[]named]
	pools         cached[[]pool.Row]
	sessions      *sessions
	handler       http.Handler

	stop    context.CancelFunc
	working sync.WaitGroup
}

// New returns a Console over a connection, which it does not close. The caller closes the Console.
func New(conn *broker.Conn, o Options) (*Console, error) {
	ctx, stop := context.WithCancel(context.Background())
	c := &Console{
		Options: o, conn: conn, hub: page.NewHub(), stop: stop,
		site: page.MustNew(page.Files{
			Templates: sub("templates"), Texts: sub("lang"), Assets: sub("assets"),
			Functions: templateFunctions(),
			Failed: func(name string, err error) {
				o.Log.Error("a page of the console cannot be shown", "page", name,
					"err", page.Clean(err.Error()))
			},
		}),
		keeper: overview.NewKeeper(conn, o.Config), sessions: newSessions(time.Now),
	}
	c.groups.ctx, c.groups.working = ctx, &c.working
	c.campaignLists.ctx, c.campaignLists.working = ctx, &c.working
	c.pools.ctx, c.pools.working = ctx, &c.working
	handler, err := c.newHandler()
	if err != nil {
		stop()
		c.keeper.Close()
		return nil, err
	}
	c.handler = handler
	c.working.Go(func() { c.tick(ctx) })
	return c, nil
}

// Handler returns what answers requests.
func (c *Console) Handler() http.Handler { return c.handler }

// Close ends the streams of open pages and everything that the console does by itself.
func (c *Console) Close() {
	c.stop()
	c.hub.Close()
	c.working.Wait()
	c.keeper.Close()
}

// tick has open pages look again.
func (c *Console) tick(ctx context.Context) {
	t := time.NewTicker(changeEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if c.hub.Pages() > 0 {
				c.hub.Changed("")
			}
		}
	}
}

func sub(name string) fs.FS {
	f, err := fs.Sub(files, name)
	if err != nil {
		panic(err) // a folder of the program itself
	}
	return f
}

// Package console is `kefu console`: the operators' web page.
package console

import (
	"context"
	"log/slog"
	"net"

	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/console"
)

// command is `kefu console`.
type command struct {
	streams  *cli.Streams
	settings *cli.Settings
	broker   *cli.Broker
	listen   string
	level    slog.LevelVar
}

// New returns the command.
func New(env *cli.Env) *cobra.Command {
	c := &command{streams: env.Streams, settings: env.Settings, broker: env.Broker}
	cmd := &cobra.Command{
		Use:     "console",
		Short:   "Serve the operators' web page",
		GroupID: cli.GroupApp,
		Long: `Serves the operators' web page: whether messages are sent, what is held and why, what is
late, what died, and what can be done about it. It does what the commands do, with the same rights
at the broker. It only shows until console.token_file names a file with a token to sign in with, and
listens beyond this machine with one only. Behind a proxy, set console.origin to how browsers see
it. kefu dev has it as well, and kefu worker when console.listen is set.`,
		Example: `  kefu console
  openssl rand -hex 32 > console.token && chmod 600 console.token
  KEFU_CONSOLE_TOKEN_FILE=console.token kefu console --listen 127.0.0.1:9000`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&c.listen, "listen", "",
		"`address` of the page (default console.listen, 127.0.0.1:8090); port 0 picks a free one")
	cli.AddLogFlags(cmd, &c.level)
	return cmd
}

func (c *command) run(ctx context.Context) error {
	cfg, err := c.settings.Config()
	if err != nil {
		return err
	}
	address, err := c.address(cfg)
	if err != nil {
		return err
	}
	listener, err := console.Bind(address)
	if err != nil {
		return cli.AddressInUse(err, address, "--listen")
	}
	conn, err := c.broker.Connect(ctx)
	if err != nil {
		_ = listener.Close() // nothing came in yet
		return err
	}
	defer conn.Close()
	log := c.streams.LoggerForPeople(&c.level)
	server, err := console.Serve(listener, conn, console.Configured(cfg, c.settings.Actor(), log))
	if err != nil {
		return err
	}
	defer func() { _ = server.Close() }() // nothing of it outlives the process
	if err := c.streams.Printf("kefu console is at %s\n", server.URL); err != nil {
		return err
	}
	if cfg.Console.TokenFile == "" {
		c.streams.Notef("It only shows: console.token_file would let people sign in. " +
			"Ctrl-C stops it.")
	}
	<-ctx.Done()
	return nil
}

// address returns where to listen: as the configuration says of the key, so does the flag.
func (c *command) address(cfg *config.Config) (string, error) {
	if c.listen == "" {
		return cfg.Console.Address(), nil
	}
	if err := cli.CheckAddress("--listen", c.listen); err != nil {
		return "", err
	}
	host, _, _ := net.SplitHostPort(c.listen) // it was checked
	if ip := net.ParseIP(host); cfg.Console.TokenFile == "" && host != "localhost" &&
		(ip == nil || !ip.IsLoopback()) {
		return "", cli.Usagef("--listen %s can be reached from other machines: set "+
			"console.token_file, or listen on 127.0.0.1", c.listen)
	}
	return c.listen, nil
}

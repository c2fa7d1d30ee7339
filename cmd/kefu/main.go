// Command kefu delivers WeChat customer-service messages from NATS JetStream, and is also every
// tool around that: one binary. It is the process around the commands of internal/cli: it alone
// reads the environment, traps signals and ends the process.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/root"
)

// version is set by the release build: -ldflags "-X main.version=1.2.3". Other builds say what the
// Go tool knows about them.
var version string

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-asked
		// The first signal asks to stop; from then on a second one ends the process at once, as
		// without us. In this order: whoever sees the stop begin may send the second.
		signal.Stop(asked)
		cancel()
	}()
	os.Exit(root.Run(ctx, os.Args[1:], cli.Process{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Environ: os.Environ(), Version: version, Hangups: hangups,
	}))
}

// hangups keeps SIGHUP from ending the process until stop is called.
func hangups() (asked <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}

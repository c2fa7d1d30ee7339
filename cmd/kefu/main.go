// Command kefu delivers WeChat customer-service messages from NATS JetStream, and is also every tool around that: one binary.
//
// The package is the frame around the rooms under internal: it parses, wires and prints, and it alone reads the environment, traps
// signals and ends the process. There is one file per noun. Each has constructors of the form
//
//	func newXxxCmd(c *cli) *cobra.Command
//
// which are listed in newRootCmd. A command is a small struct of its flags with a run method. It gets all it needs from the cli:
// the configuration (c.config), the app it is about (c.app), the broker (c.broker), the logger (c.logger). It answers with list,
// record or c.line, which know table, JSON and NDJSON. It asks with c.confirm, and ends with an error that says how it went
// (nothingf, partlyf, usagef) or any other, which is exit code 1.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-asked
		// The first signal asks to stop; from then on a second one ends the process at once, as without us. In this order:
		// whoever sees the stop begin may send the second.
		signal.Stop(asked)
		cancel()
	}()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program but for the process around it: tests call it with buffers. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newCLI(os.Environ(), stdin, stdout, stderr).execute(ctx, args)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"syscall"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
)

// The exit codes, which scripts rely on.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2 // bad usage or configuration
	exitNothing = 3 // nothing matched
	exitPartly  = 4 // partly done
)

// exitError is an error that says with which code the process ends.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }

func (e *exitError) Unwrap() error { return e.err }

// usagef is for what the user asked for wrongly.
func usagef(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// nothingf is for a question that was fine but found nothing.
func nothingf(format string, args ...any) error {
	return &exitError{exitNothing, fmt.Errorf(format, args...)}
}

// partlyf is for a deed that was done to some and not to others.
func partlyf(format string, args ...any) error {
	return &exitError{exitPartly, fmt.Errorf(format, args...)}
}

// exit reports how a command ended and returns the code for it. cmd is the one that ran or was meant.
func (c *cli) exit(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitDone
	}
	var invalid *config.Error
	var exit *exitError
	coded := errors.As(err, &exit)
	if errors.Is(err, context.Canceled) && !coded {
		c.complain("interrupted")
		if err = besidesCanceled(err); err != nil { // an interrupt must not hide what went wrong at the end
			c.complain(err.Error())
		}
		return exitFailed
	}
	c.complain(err.Error())
	switch {
	case coded:
		if exit.code == exitUsage {
			c.hintf("Run '%s --help' for usage.", cmd.CommandPath())
		}
		return exit.code
	case errors.As(err, &invalid):
		c.hintf("Run 'kefu config reference' for the keys there are.")
		return exitUsage
	case !c.started: // cobra found fault with the command line before any command of ours saw it
		c.hintf("Run '%s --help' for usage.", cmd.CommandPath())
		return exitUsage
	case errors.Is(err, broker.ErrNoStream), errors.Is(err, jetstream.ErrStreamNotFound):
		c.hintf("kefu setup creates what is missing at the broker.")
		return exitFailed
	default:
		return exitFailed
	}
}

// besidesCanceled is what errors.Join has put beside an interrupt; nil when there is nothing else.
func besidesCanceled(err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	several, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != errors.Join(several.Unwrap()...).Error() {
		return nil // one error, and the interrupt is its cause
	}
	var others []error
	for _, part := range several.Unwrap() {
		others = append(others, besidesCanceled(part))
	}
	return errors.Join(others...)
}

// flagError says what is wrong with a flag's value without the names of Go's functions.
func flagError(err error) error {
	text := goNumber.ReplaceAllString(err.Error(), "want a number")
	if text == err.Error() {
		return &exitError{exitUsage, err}
	}
	return usagef("%s", text)
}

var goNumber = regexp.MustCompile(`strconv\.(Atoi|ParseInt|ParseUint|ParseFloat): parsing .*`)

// checkAddress refuses what no listener could be given.
func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if n, wrong := strconv.Atoi(port); err != nil || wrong != nil || n < 0 || n > 65535 {
		return usagef("%s %q is not an address such as 127.0.0.1:8091; port 0 picks a free one", flag, address)
	}
	return nil
}

// addressInUse turns the error of a listener into the one sentence that helps.
func addressInUse(err error, address, flag string) error {
	if !errors.Is(err, syscall.EADDRINUSE) {
		return err
	}
	return fmt.Errorf("%s is in use by another program: choose another address with %s; port 0 picks a free one", address, flag)
}

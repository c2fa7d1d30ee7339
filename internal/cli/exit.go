package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
)

// The exit codes, which scripts rely on.
const (
	ExitDone    = 0
	ExitFailed  = 1
	ExitUsage   = 2 // bad usage or configuration
	ExitNothing = 3 // nothing matched
	ExitPartly  = 4 // partly done
)

// ExitError says with which code the process ends.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

func (e *ExitError) Unwrap() error { return e.Err }

// Usagef returns an error for a mistake in what the user asked for.
func Usagef(format string, args ...any) error {
	return &ExitError{ExitUsage, fmt.Errorf(format, args...)}
}

// Nothingf returns an error for a question to which nothing matched.
func Nothingf(format string, args ...any) error {
	return &ExitError{ExitNothing, fmt.Errorf(format, args...)}
}

// Partlyf returns an error for what was done for some and not for others.
func Partlyf(format string, args ...any) error {
	return &ExitError{ExitPartly, fmt.Errorf(format, args...)}
}

// exit reports how a command ended and returns the code for it. cmd is the one that ran or was
// meant.
func (e *Env) exit(cmd *cobra.Command, err error) int {
	if err == nil {
		return ExitDone
	}
	var invalid *config.Error
	var exit *ExitError
	coded := errors.As(err, &exit)
	if errors.Is(err, context.Canceled) && !coded {
		e.Streams.complain("interrupted")
		// An interrupt must not hide what went wrong at the end.
		if err = BesidesInterrupt(err); err != nil {
			e.Streams.complain(err.Error())
		}
		return ExitFailed
	}
	e.Streams.complain(err.Error())
	switch {
	case coded:
		if exit.Code == ExitUsage {
			e.Streams.Hintf("Run '%s --help' for usage.", cmd.CommandPath())
		}
		return exit.Code
	case errors.As(err, &invalid):
		e.Streams.Hintf("Run 'kefu config reference' for the keys there are.")
		return ExitUsage
	case !e.started: // cobra found fault with the command line before any command of ours saw it
		e.Streams.Hintf("Run '%s --help' for usage.", cmd.CommandPath())
		return ExitUsage
	case errors.Is(err, broker.ErrDenied):
		e.Streams.Hintf("Which role may do what: Rights in the README.")
		return ExitFailed
	case errors.Is(err, broker.ErrNoStream), errors.Is(err, jetstream.ErrStreamNotFound):
		e.Streams.Hintf("kefu setup creates what is missing at the broker.")
		return ExitFailed
	default:
		return ExitFailed
	}
}

// refused returns how a command ended whose context the broker's refusal has ended: with that, not
// with an interrupt. What a command says of itself with an exit code of its own stands beside it.
func refused(ctx context.Context, err error) error {
	why := context.Cause(ctx)
	var exit *ExitError
	switch {
	case !errors.Is(why, broker.ErrDenied):
		return err
	case errors.As(err, &exit):
		return &ExitError{exit.Code, errors.Join(exit.Err, why)}
	case errors.Is(err, broker.ErrDenied):
		return why // said once, without what waited for it
	}
	return errors.Join(BesidesInterrupt(err), why)
}

// BesidesInterrupt returns what errors.Join has put beside an interrupt; nil when there is nothing
// else.
func BesidesInterrupt(err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	several, ok := err.(interface{ Unwrap() []error })
	if !ok || err.Error() != errors.Join(several.Unwrap()...).Error() {
		return nil // one error, and the interrupt is its cause
	}
	var others []error
	for _, part := range several.Unwrap() {
		others = append(others, BesidesInterrupt(part))
	}
	return errors.Join(others...)
}

// flagError returns what is wrong with a flag's value without the names of Go's functions.
func flagError(err error) error {
	if bad := badValue(err); bad != nil {
		return bad
	}
	text := goNumber.ReplaceAllString(err.Error(), "want a number")
	if text == err.Error() {
		return &ExitError{ExitUsage, err}
	}
	return Usagef("%s", text)
}

var goNumber = regexp.MustCompile(`strconv\.(Atoi|ParseInt|ParseUint|ParseFloat): parsing .*`)

package publisher

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/schema"
)

// What an [Error] can be, besides a [*schema.FieldError] for an intent that breaks a rule.
var (
	// ErrUnknownApp: no queue takes intents of this app: the appid is wrong, or kefu has not been
	// set up for it.
	ErrUnknownApp = errors.New("unknown app")

	// ErrQueueFull: the app's queue has as many intents or bytes as it may have. Nothing was stored
	// or dropped. It passes when the workers catch up: slow down and try again. With
	// [ErrOutcomeOpen] an earlier or later try of the same publish was not answered, and may be
	// stored.
	ErrQueueFull = errors.New("queue full")

	// ErrTooLarge: the packet, or the message with its headers, is larger than kefu or the broker
	// takes.
	ErrTooLarge = errors.New("too large")

	// ErrForbidden: the connection has no permission for what was asked; the error says which is
	// missing.
	ErrForbidden = errors.New("forbidden")

	// ErrNotQueued: time ran out, and the intent has certainly not been stored: the broker was
	// away, or the intent was not tried.
	ErrNotQueued = errors.New("not queued")

	// ErrOutcomeOpen: time ran out, and the broker was given the intent, or its cancellation, but
	// has not answered. It may be stored. The same again, under the same id, is safe.
	ErrOutcomeOpen = errors.New("outcome open")

	// ErrClosed: the publisher was closed. Whether an intent was stored is said by what comes with
	// it, [ErrNotQueued] or [ErrOutcomeOpen].
	ErrClosed = errors.New("publisher closed")

	// ErrNoReceipt: no receipt of the intent is stored.
	ErrNoReceipt = errors.New("no receipt")

	// ErrUnreadable: the receipts of the app cannot be read: there is no stream of them, the
	// permission is missing ([ErrForbidden]), or the broker has not answered for 15 s
	// ([WithTimeout]). It says nothing about the intent.
	ErrUnreadable = errors.New("receipts unreadable")
)

// Error is what every call of a [Publisher] fails with. It matches, with [errors.Is], one of the
// values above and what led to it, or, with [errors.As], a [*schema.FieldError]. It holds no openid
// and nothing of a packet.
type Error struct {
	AppID string
	ID    string // Of the intent, given or made; "" when the call is about none.
	Index int    // Which intent of a batch it is, from 0.
	Err   error  // Why.
}

// Error returns the intent's id and why.
func (e *Error) Error() string {
	if schema.CheckID(e.ID) != nil { // "" or one that is not fit to be printed
		return e.Err.Error()
	}
	return "intent " + e.ID + ": " + e.Err.Error()
}

// Unwrap returns why.
func (e *Error) Unwrap() error { return e.Err }

// Retryable tells whether the same call may succeed later: the queue was full, the broker away, the
// receipt not there yet. To repeat a publish give it the same id ([WithID] with the error's ID): it
// may have been stored. What is wrong with the intent, the app or the permissions does not pass by
// itself, and a publisher or a connection that was closed stays so.
func (e *Error) Retryable() bool {
	switch {
	case errors.Is(e, ErrClosed), errors.Is(e, errNoContext),
		errors.Is(e, nats.ErrConnectionClosed), errors.Is(e, nats.ErrConnectionDraining):
		return false
	case errors.Is(e, ErrUnreadable) && !errors.Is(e, ErrNoReceipt):
		return !isPermanent(e.Err)
	}
	return errors.Is(e, ErrQueueFull) || errors.Is(e, ErrNotQueued) ||
		errors.Is(e, ErrOutcomeOpen) || errors.Is(e, ErrNoReceipt)
}

// Why a call could not begin.
var (
	errClosed    = &refusal{is: ErrClosed, text: "the publisher is closed"}
	errNoContext = &refusal{is: ErrNotQueued, text: "the context is nil"}
)

// refusal is a sentence for people that still matches what it is.
type refusal struct {
	is    error // one of the above
	text  string
	cause error // may be nil
}

func (e *refusal) Error() string { return e.text }

func (e *refusal) Unwrap() []error {
	if e.cause == nil {
		return []error{e.is}
	}
	return []error{e.is, e.cause}
}

func notQueued(cause error) error {
	return &refusal{is: ErrNotQueued, cause: cause, text: fmt.Sprintf("not queued: %v", cause)}
}

package publisher

import "errors"

// What a publish can end with, besides a [*schema.FieldError] for an intent
// that breaks a rule. Errors hold no openid and nothing of a packet.
var (
	// ErrUnknownApp: no queue takes intents of this app: the appid is wrong, or
	// kefu has not been set up for it.
	ErrUnknownApp = errors.New("unknown app")

	// ErrQueueFull: the app's queue has as many intents or bytes as it may have.
	// Nothing was stored or dropped. It passes when the workers catch up: slow
	// down and try again. With [ErrOutcomeOpen] an earlier or later try of the
	// same publish was not answered, and may be stored.
	ErrQueueFull = errors.New("queue full")

	// ErrTooLarge: the packet, or the message with its headers, is larger than
	// kefu or the broker takes.
	ErrTooLarge = errors.New("too large")

	// ErrForbidden: the connection has no permission to publish to this queue.
	ErrForbidden = errors.New("forbidden")

	// ErrNotQueued: time ran out, and the intent has certainly not been stored:
	// the broker was away, or the intent was not tried.
	ErrNotQueued = errors.New("not queued")

	// ErrOutcomeOpen: time ran out, and the broker was given the intent but has
	// not answered. It may be stored. Publishing it again under the same id is
	// safe.
	ErrOutcomeOpen = errors.New("outcome open")

	// ErrClosed: the publisher was closed. Whether the intent was stored is said by
	// what comes with it, [ErrNotQueued] or [ErrOutcomeOpen].
	ErrClosed = errors.New("publisher closed")

	// ErrNoReceipt: no receipt of the intent is stored.
	ErrNoReceipt = errors.New("no receipt")

	// ErrUnreadable: the receipts of the app cannot be read: there is no stream of
	// them, the permission is missing ([ErrForbidden]), or the broker has not
	// answered for 15 s ([WithTimeout]). It says nothing about the intent.
	ErrUnreadable = errors.New("receipts unreadable")

	// ErrWatcherClosed: the watcher was closed, or its publisher or connection.
	ErrWatcherClosed = errors.New("watcher closed")
)

// Why a call could not begin: nothing was stored.
var (
	errClosed    = &refusal{is: ErrClosed, cause: ErrNotQueued, text: "the publisher is closed"}
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

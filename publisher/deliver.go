package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/schema"
)

// How a publish can end, besides with a [*schema.FieldError]. Each says whether the intent is stored and what to do.
var (
	// ErrUnknownApp says that there is no queue for the app: its appid is wrong, or kefu is not configured for it.
	ErrUnknownApp = errors.New("unknown app: there is no queue for this appid; check it, and that kefu is configured for it")

	// ErrQueueFull says that the queue of the app took nothing because it is full. It drains by itself.
	ErrQueueFull = errors.New("queue full: not stored; publish again with the same id when the queue has drained")

	// ErrTooLarge says that the broker takes no message of this size.
	ErrTooLarge = errors.New("too large: the broker takes no message of this size; not stored")

	// ErrUnavailable says that the broker could not take the intent just now, and that it is not stored.
	ErrUnavailable = errors.New("broker unavailable: not stored; publish again with the same id")

	// ErrOutcomeOpen says that no answer came in time, so that nobody knows whether the intent is stored.
	ErrOutcomeOpen = errors.New("no answer from the broker: the outcome is open, and publishing the same id again is safe")
)

const (
	patience  = 15 * time.Second       // of a call whose ctx has no deadline
	firstWait = 500 * time.Millisecond // for an answer: a leader change costs this, not the 5 s of a default publish
	maxWait   = 4 * time.Second
	pauseMin  = 50 * time.Millisecond // between a refusal and the next try, then doubled
	pauseMax  = time.Second
	absentFor = time.Second // no responders for so long is an unknown app, where nobody may ask
)

// Codes of the broker's refusals that are told apart.
const (
	codeStoreFailed    = 10077 // for any reason; the text says which
	codeMaxBytes       = 10122
	codeMessageTooBig  = 10054
	codeDuplicateRaces = 10158 // the same id is being stored at this moment
)

// pubAck is the broker's answer to a publish.
type pubAck struct {
	Stream    string `json:"stream"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
	Batch     string `json:"batch"`
	Count     int    `json:"count"`
}

// meaning is what a failed try says about the next one.
type meaning int

const (
	refused meaning = iota // for good
	passing                // refused, and it passes
	absent                 // nobody listens to the subject: no such app, or an election
	silent                 // no answer: it may be stored
)

// deliver publishes m until the broker has answered for good.
func (p *Publisher) deliver(ctx context.Context, appID string, m *nats.Msg) (pubAck, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	var (
		open  bool
		gone  absence
		last  error
		wait  = firstWait
		pause = pauseMin
	)
	for {
		if ctx.Err() != nil {
			return pubAck{}, ended(ctx, appID, open, last)
		}
		ack, err := p.try(ctx, m, wait)
		if err == nil {
			return ack, nil
		}
		what, err := judge(err)
		switch what {
		case refused:
			return pubAck{}, fmt.Errorf("publish to app %q: %w", appID, err)
		case absent:
			if p.unknown(ctx, appID, &gone) {
				return pubAck{}, fmt.Errorf("publish to app %q: %w", appID, ErrUnknownApp)
			}
		case silent:
			open = true
			wait = min(2*wait, maxWait)
		case passing:
		}
		if ctx.Err() == nil {
			last = err
		}
		sleep(ctx, jitter(pause))
		pause = min(2*pause, pauseMax)
	}
}

// try publishes m once.
func (p *Publisher) try(ctx context.Context, m *nats.Msg, wait time.Duration) (pubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	answer, err := p.nc.RequestMsgWithContext(ctx, m)
	if err != nil {
		return pubAck{}, err
	}
	return parseAck(answer)
}

// parseAck reads the answer to a publish. An empty one is a zero pubAck: the broker has staged one message of a batch.
func parseAck(m *nats.Msg) (pubAck, error) {
	if len(m.Data) == 0 {
		if m.Header.Get("Status") == "503" {
			return pubAck{}, nats.ErrNoResponders
		}
		return pubAck{}, nil
	}
	var r struct {
		pubAck
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return pubAck{}, fmt.Errorf("unreadable answer: %w", err)
	}
	if r.Error != nil {
		return pubAck{}, r.Error
	}
	return r.pubAck, nil
}

// judge says what a failed try means, and returns the error as the caller shall see it.
func judge(err error) (meaning, error) {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		return judgeCode(api)
	case errors.Is(err, nats.ErrNoResponders):
		return absent, errors.New("nobody listens for this app")
	case errors.Is(err, nats.ErrMaxPayload):
		return refused, ErrTooLarge
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrInvalidConnection), errors.Is(err, nats.ErrHeadersNotSupported),
		errors.Is(err, nats.ErrBadSubject), errors.Is(err, nats.ErrConnectionDraining):
		// The connection may have closed while a try was under way.
		return refused, fmt.Errorf("%w: %w", ErrOutcomeOpen, err)
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return passing, err // it did not even leave
	default:
		return silent, err
	}
}

func judgeCode(e *jetstream.APIError) (meaning, error) {
	switch code := int(e.ErrorCode); {
	case code == codeMaxBytes, code == codeStoreFailed && strings.HasPrefix(e.Description, "maximum "):
		return refused, fmt.Errorf("%w (%w)", ErrQueueFull, e)
	case code == codeMessageTooBig, code == codeStoreFailed && e.Description == "message too large":
		return refused, fmt.Errorf("%w (%w)", ErrTooLarge, e)
	case code == codeDuplicateRaces, e.Code >= 500, e.Code == 429:
		return passing, e // no leader, no resources, a disk that failed: an operator's or an election's to end
	default:
		return refused, e
	}
}

// absence remembers since when nobody listens to the subject.
type absence struct {
	since   time.Time
	missing int
}

// unknown says whether "no responders" means that there is no such app. The broker's word that the stream does not exist is taken when
// it comes twice; without permission to ask, time tells.
func (p *Publisher) unknown(ctx context.Context, appID string, a *absence) bool {
	if a.since.IsZero() {
		a.since = time.Now()
	}
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	_, err := p.js.Stream(ctx, schema.SendStream(appID))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		a.missing++
		return a.missing > 1
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return time.Since(a.since) >= absentFor
	default: // it exists, without a leader; or JetStream as a whole is away
		return false
	}
}

// bounded gives a ctx without a deadline one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}

// ended is the error of a publish that ran out of time.
func ended(ctx context.Context, appID string, open bool, last error) error {
	why := ErrUnavailable
	if open {
		why = ErrOutcomeOpen
	}
	if last == nil || errors.Is(last, context.DeadlineExceeded) {
		return fmt.Errorf("publish to app %q: %w (%w)", appID, why, context.Cause(ctx))
	}
	return fmt.Errorf("publish to app %q: %w (%w; last: %w)", appID, why, context.Cause(ctx), last)
}

// jitter is d ± 50 %: producers that lost the same leader must not come back at the same moment.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d) }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

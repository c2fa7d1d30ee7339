package publisher

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// verdict is what an answer of the broker means for a publish.
type verdict uint8

const (
	stored  verdict = iota // it is in the stream
	begun                  // it is part of a batch that is not committed yet
	nobody                 // no stream takes the subject, or its leader is away
	passing                // refused for something that passes by itself
	full                   // refused for want of room
	large                  // refused for its size
	refused                // refused for good, for another reason
)

// answer is what the broker said to a publish.
type answer struct {
	verdict   verdict
	stream    string
	seq       uint64
	duplicate bool
	batch     string // of a committed batch: its id and how many it holds
	count     int
	err       error // why it is not stored; of a refusal a *jetstream.APIError
}

// Error codes of JetStream, from nats-server's errors.json.
const (
	codeAccountResources   = 10002 // the account has used its storage
	codeInsufficient       = 10023 // the server has: another may lead the stream, and have room
	codeStorage            = 10047 // the server has
	codeTooLarge           = 10054
	codeStore              = 10077 // the stream is full, or a message does not fit its block
	codeHeaderTooLarge     = 10097
	codeAccountStreamBytes = 10122
	codeInProcess          = 10158 // the id is being stored this moment
	codeTooManyRequests    = 10167
	codeNoBatches          = 10174 // the stream does not allow atomic batches
)

// errForeign is for an answer that a publish cannot have from JetStream.
var errForeign = errors.New(
	"the answer is not JetStream's: somebody else listens on the queue's subject")

// readAnswer tells what the broker said.
func readAnswer(m *nats.Msg) answer {
	if len(m.Data) == 0 {
		if m.Header.Get("Status") == "503" {
			return answer{verdict: nobody, err: nats.ErrNoResponders}
		}
		return answer{verdict: begun, err: errForeign}
	}
	var r struct {
		Stream    string              `json:"stream"`
		Seq       uint64              `json:"seq"`
		Duplicate bool                `json:"duplicate"`
		Batch     string              `json:"batch"`
		Count     int                 `json:"count"`
		Error     *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &r); err != nil || r.Error == nil && r.Stream == "" {
		return answer{verdict: refused, err: errForeign}
	}
	if r.Error != nil {
		return answer{verdict: judge(r.Error), err: r.Error}
	}
	return answer{
		verdict: stored, stream: r.Stream, seq: r.Seq, duplicate: r.Duplicate,
		batch: r.Batch, count: r.Count,
	}
}

// judge knows more codes than internal/broker needs: a producer is told what to do about each, a
// worker only whether to wait.
func judge(e *jetstream.APIError) verdict {
	switch e.ErrorCode {
	case codeStore:
		// "maximum messages exceeded", "maximum bytes exceeded"
		if strings.Contains(e.Description, "exceeded") {
			return full
		}
		return refused
	case codeAccountResources, codeStorage, codeAccountStreamBytes:
		return full
	case codeTooLarge, codeHeaderTooLarge:
		return large
	case codeInProcess, codeTooManyRequests, codeInsufficient:
		return passing
	}
	if e.Code >= 500 { // no leader, leader changing, shutting down, store closed
		return passing
	}
	return refused
}

// queueState is what the broker said to the question whether a stream exists.
type queueState uint8

const (
	queueUnknown queueState = iota // it cannot say just now
	queueExists                    // it does, be it without a leader
	queueMissing                   // it does not
)

const codeStreamNotFound = 10059

// readQueueState tells what the broker said to a request for a stream's state. That the stream is
// missing is said by the leader of the whole cluster only, which knows every stream; one whose
// leader is away is not missing to it.
func readQueueState(m *nats.Msg) queueState {
	var r struct {
		Config *struct{}           `json:"config"`
		Error  *jetstream.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &r); {
	case err != nil:
	case r.Error != nil && r.Error.ErrorCode == codeStreamNotFound:
		return queueMissing
	case r.Error == nil && r.Config != nil:
		return queueExists
	}
	return queueUnknown
}

// answers is the inbox to which the broker answers. The answer to any try of a publish is an answer
// to the publish: one that comes after the next try has left counts as well, or a broker that takes
// a second to answer would never be heard.
type answers struct {
	prefix string // reply subjects are prefix + number
	sub    *nats.Subscription

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]func(*nats.Msg)
}

func newAnswers(nc *nats.Conn) (*answers, error) {
	a := &answers{prefix: nc.NewInbox() + ".", waiting: make(map[uint64]func(*nats.Msg))}
	sub, err := nc.Subscribe(a.prefix+"*", a.dispatch)
	if err != nil {
		return nil, fmt.Errorf("publisher: inbox: %w", err)
	}
	// What is beyond the default limit would be dropped; there is never more than we asked for.
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("publisher: inbox: %w", err)
	}
	a.sub = sub
	return a, nil
}

// expect has f called with each answer to the reply subject, until forget.
func (a *answers) expect(f func(*nats.Msg)) (reply string, forget func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	n := a.next
	a.waiting[n] = f
	return a.prefix + strconv.FormatUint(n, 36), func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.waiting, n)
	}
}

func (a *answers) dispatch(m *nats.Msg) {
	n, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, a.prefix), 36, 64)
	if err != nil {
		return
	}
	a.mu.Lock()
	f := a.waiting[n]
	a.mu.Unlock()
	if f != nil {
		f(m)
	}
}

func (a *answers) close() error {
	if err := a.sub.Unsubscribe(); !errors.Is(err, nats.ErrConnectionClosed) {
		return err
	}
	return nil
}

// code is the error code of a refusal, 0 for none.
func (a answer) code() int {
	var e *jetstream.APIError
	if errors.As(a.err, &e) {
		return int(e.ErrorCode)
	}
	return 0
}

package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// ErrClosed is what a publish ends with when the connection is closed for good.
var ErrClosed = errors.New("connection to the broker closed")

// ErrNoStream says that no stream takes the subject: it is missing, or its
// leader is gone for longer than the outbox waits.
var ErrNoStream = errors.New("no stream takes this subject")

// APIError is a refusal by JetStream, with its error code (10077: stream full …).
type APIError struct {
	Status      int    `json:"code"`
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

func (e *APIError) Error() string {
	return fmt.Sprintf("broker refused: %s (%d)", e.Description, e.Code)
}

// Codes of refusals that callers treat apart.
const (
	CodeStoreFailed  = 10077 // the stream did not take it: full (see Full), or its disk failed
	CodeTooLarge     = 10054 // message larger than the stream allows
	CodeWrongLastSeq = 10071 // expected last sequence did not hold

	// codeInProcess answers a repeat while the message itself is being stored: a
	// cluster takes long for it when its leader changes. The next repeat is told.
	codeInProcess = 10158
)

// Full says whether err is a stream's "no room", for messages or for bytes.
func Full(err error) bool {
	var e *APIError
	// The one code stands for every failure to store; the server's sentence tells them apart.
	return errors.As(err, &e) && e.Code == CodeStoreFailed &&
		strings.HasPrefix(e.Description, "maximum ")
}

// Ack is the broker's word that a message is stored.
type Ack struct {
	Stream    string `json:"stream"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
}

// transient are refusals that an election or a restart brings with it.
func transient(err error) bool {
	if errors.Is(err, ErrNoStream) {
		return true
	}
	var e *APIError
	if !errors.As(err, &e) {
		return false
	}
	if e.Code == codeInProcess {
		return true
	}
	if e.Status != 503 && e.Status != 500 {
		return false
	}
	return !Full(err) && e.Description != "message too large" // both come as 503
}

var ackPrefix = []byte(`{"stream":`)

// parseAck reads a PubAck. The usual one is recognised by its beginning, since
// there is one for each receipt and each batch of marks.
func parseAck(m *nats.Msg) (Ack, error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return Ack{}, ErrNoStream
	}
	if bytes.HasPrefix(m.Data, ackPrefix) {
		if a, ok := quickAck(m.Data); ok {
			return a, nil
		}
	}
	var r struct {
		Ack
		Error *APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &r); err != nil {
		return Ack{}, fmt.Errorf("unreadable answer to a publish: %w", err)
	}
	if r.Error != nil {
		return Ack{}, r.Error
	}
	return r.Ack, nil
}

// quickAck reads exactly `{"stream":"NAME","seq":N}`, as the server writes it
// without a domain, and nothing else.
func quickAck(b []byte) (Ack, bool) {
	name, rest, ok := bytes.Cut(b[len(ackPrefix):], []byte(`","seq":`))
	if !ok || len(name) == 0 || name[0] != '"' ||
		bytes.ContainsFunc(name[1:], func(r rune) bool {
			return r < ' ' || r > '~' || r == '"' || r == '\\'
		}) {
		return Ack{}, false
	}
	digits, ok := bytes.CutSuffix(rest, []byte("}"))
	if !ok || len(digits) == 0 || len(digits) > 19 || digits[0] == '0' {
		return Ack{}, false
	}
	var n uint64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return Ack{}, false
		}
		n = n*10 + uint64(c-'0')
	}
	return Ack{Stream: string(name[1:]), Seq: n}, true
}

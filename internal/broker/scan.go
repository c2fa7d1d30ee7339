package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Stored is one message as a stream holds it.
type Stored struct {
	Subject string
	Seq     uint64
	Time    time.Time
	Header  nats.Header
	Data    []byte
}

// ScanOptions choose what Scan reads.
type ScanOptions struct {
	Subject string    // filter, with wildcards; "" for all
	Seq     uint64    // first sequence; 0 for the oldest
	Since   time.Time // first time stamp, instead of Seq
	Through uint64    // last sequence; 0 for the newest
	Most    int       // messages; 0 for all
}

// ErrStopScan ends a Scan without an error when its function returns it.
var ErrStopScan = errors.New("stop scan")

// A scan asks for scanBatch messages at a time, fewer when they have more than scanBytes. Two
// batches are in memory at a time.
const (
	scanBatch = 512
	scanBytes = 4 << 20
)

// Scan reads a stream's messages in order and calls f for each. It makes no
// consumer: a work queue would not allow a second one, and reading must leave
// no trace. What is stored or deleted while it runs may or may not be seen.
func (c *Conn) Scan(ctx context.Context, stream string, o ScanOptions, f func(Stored) error) error {
	return scanError(stream, c.scan(ctx, stream, o, f))
}

func scanError(stream string, err error) error {
	if err == nil || errors.Is(err, ErrStopScan) {
		return nil
	}
	return fmt.Errorf("scan %s: %w", stream, err)
}

func (c *Conn) scan(ctx context.Context, stream string, o ScanOptions, f func(Stored) error) error {
	s := scan{conn: c, subject: directGet + stream, inbox: c.NC.NewInbox()}
	var err error
	if s.sub, err = c.NC.SubscribeSync(s.inbox); err != nil {
		return err
	}
	defer func() { _ = s.sub.Unsubscribe() }()
	if err := s.sub.SetPendingLimits(-1, -1); err != nil {
		return err
	}
	req := scanRequest{
		Batch: scanBatch, MaxBytes: scanBytes, Seq: max(o.Seq, 1), NextFor: o.Subject,
	}
	left := o.Most
	if left > 0 {
		req.Batch = min(left, scanBatch)
	}
	if !o.Since.IsZero() {
		req.Seq, req.StartTime = 0, &o.Since
	}
	if err := s.ask(req); err != nil {
		return err
	}
	for {
		batch, more, err := s.read(ctx)
		if o.Most > 0 {
			left -= len(batch)
			more, req.Batch = more && left > 0, min(left, scanBatch)
		}
		if more {
			req.Seq, req.StartTime = batch[len(batch)-1].Seq+1, nil
			more = o.Through == 0 || req.Seq <= o.Through
		}
		if err == nil && more {
			// The broker reads the next batch while f is busy with this one.
			err = s.ask(req)
		}
		for _, message := range batch {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case o.Through > 0 && message.Seq > o.Through:
				return nil
			}
			if err := f(message); err != nil {
				return err
			}
		}
		if err != nil || !more {
			return err
		}
	}
}

// scan is one run of Scan.
type scan struct {
	conn    *Conn
	subject string
	inbox   string
	sub     *nats.Subscription
	batch   []Stored // that was read last; its memory is used again
}

type scanRequest struct {
	Batch     int        `json:"batch"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
	Seq       uint64     `json:"seq,omitempty"`
	NextFor   string     `json:"next_by_subj,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
}

// ask asks for a batch.
func (s *scan) ask(req scanRequest) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	return readError(s.conn.NC.PublishRequest(s.subject, s.inbox, body))
}

// read reads a batch to its end, and says whether more messages follow. With an error it returns
// what came before that.
func (s *scan) read(ctx context.Context) (batch []Stored, more bool, err error) {
	waiting, end := context.WithCancel(ctx)
	defer end()
	silence := time.AfterFunc(apiTimeout, end)
	defer silence.Stop()
	defer func() { s.batch = batch }()
	for batch = s.batch[:0]; ; silence.Reset(apiTimeout) {
		m, err := s.sub.NextMsgWithContext(waiting)
		switch {
		case err != nil && ctx.Err() != nil:
			return batch, false, ctx.Err()
		case err != nil && waiting.Err() != nil:
			return batch, false, context.DeadlineExceeded
		case err != nil:
			return batch, false, readError(err)
		}
		message, err := storedIn(m)
		switch {
		case err == nil:
			batch = append(batch, message)
		case errors.Is(err, errEndOfBatch):
			pending, _ := strconv.ParseUint(m.Header.Get("Nats-Num-Pending"), 10, 64)
			return batch, len(batch) > 0 && pending > 0, nil
		case errors.Is(err, ErrNoMessage): // nothing matches
			return batch, false, nil
		default:
			return batch, false, err
		}
	}
}

// directGet is the head of the subjects at which the replicas of a stream answer
// what they have stored.
const directGet = "$JS.API.DIRECT.GET."

// errEndOfBatch says that an answer comes after the last message of a batch.
var errEndOfBatch = errors.New("end of batch")

// storedIn reads an answer to a direct get: the message, ErrNoMessage when there
// is none, errEndOfBatch, or what the broker says instead.
func storedIn(m *nats.Msg) (Stored, error) {
	switch status := statusOf(m); status {
	case "":
		return storedFrom(m)
	case "204":
		return Stored{}, errEndOfBatch
	case "404":
		return Stored{}, ErrNoMessage
	default:
		return Stored{}, fmt.Errorf("broker answers %s %s", status,
			strings.ToLower(m.Header.Get("Description")))
	}
}

// statusOf is the status of an answer that is not a stored message. A stored
// one may have a header Status of its own: whoever publishes chooses them.
func statusOf(m *nats.Msg) string {
	if _, stored := m.Header["Nats-Sequence"]; stored {
		return ""
	}
	return m.Header.Get("Status")
}

// readError says in kefu's words why nothing could be read.
func readError(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNoStream
	case errors.Is(err, nats.ErrReconnectBufExceeded):
		return ErrAway
	}
	return err
}

// ErrAway says that there is no connection to the broker at the moment.
var ErrAway = errors.New("no connection to the broker")

// storedFrom turns a direct-get answer into what was stored: the envelope
// headers of the answer itself are taken off. They stand last: one of the same
// name that the publisher set comes before.
func storedFrom(m *nats.Msg) (Stored, error) {
	envelope := func(name string) string {
		values := m.Header[name]
		if len(values) == 0 {
			return ""
		}
		last := values[len(values)-1]
		if values = values[:len(values)-1]; len(values) == 0 {
			delete(m.Header, name)
		} else {
			m.Header[name] = values
		}
		return last
	}
	seq, err := strconv.ParseUint(envelope("Nats-Sequence"), 10, 64)
	if err != nil {
		return Stored{}, fmt.Errorf("unreadable sequence in a direct-get answer: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, envelope("Nats-Time-Stamp"))
	if err != nil {
		return Stored{}, fmt.Errorf("unreadable time in a direct-get answer: %w", err)
	}
	s := Stored{Subject: envelope("Nats-Subject"), Seq: seq, Time: at, Data: m.Data}
	for _, name := range []string{"Nats-Stream", "Nats-Num-Pending", "Nats-Last-Sequence"} {
		envelope(name)
	}
	s.Header = m.Header
	return s, nil
}

// Count says how many messages of a stream match a subject with wildcards.
func (c *Conn) Count(ctx context.Context, stream, subject string) (uint64, error) {
	n, _, err := c.Waiting(ctx, stream, subject)
	return n, err
}

// Waiting says how many messages of a stream match a subject with wildcards,
// and which is the first of them; without any, that is a zero Stored.
func (c *Conn) Waiting(
	ctx context.Context, stream, subject string,
) (n uint64, first Stored, err error) {
	body, err := json.Marshal(scanRequest{Batch: 1, Seq: 1, NextFor: subject})
	if err != nil {
		return 0, Stored{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout) // an answer may be lost with its connection
	defer cancel()
	m, err := c.NC.RequestWithContext(ctx, directGet+stream, body)
	if err != nil {
		return 0, Stored{}, fmt.Errorf("count %s: %w", stream, readError(err))
	}
	pending := m.Header["Nats-Num-Pending"] // storedIn takes it off
	first, err = storedIn(m)
	switch {
	case errors.Is(err, ErrNoMessage):
		return 0, Stored{}, nil
	case err != nil:
		return 0, Stored{}, fmt.Errorf("count %s: %w", stream, err)
	case len(pending) == 0:
		return 0, Stored{}, fmt.Errorf("count %s: the broker's answer has no number", stream)
	}
	// The first message comes with the number of those that follow it.
	following, err := strconv.ParseUint(pending[len(pending)-1], 10, 64)
	if err != nil {
		return 0, Stored{}, fmt.Errorf("count %s: %w", stream, err)
	}
	return following + 1, first, nil
}

// Get reads one message by its sequence. A sequence that is not there (any
// more) is ErrNoMessage.
func (c *Conn) Get(ctx context.Context, stream string, seq uint64) (Stored, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout) // an answer may be lost with its connection
	defer cancel()
	request := fmt.Appendf(nil, `{"seq":%d}`, seq)
	m, err := c.NC.RequestWithContext(ctx, directGet+stream, request)
	if err != nil {
		return Stored{}, fmt.Errorf("get %s/%d: %w", stream, seq, readError(err))
	}
	s, err := storedIn(m)
	if err != nil && !errors.Is(err, ErrNoMessage) {
		err = fmt.Errorf("get %s/%d: %w", stream, seq, err)
	}
	return s, err
}

// ErrNoMessage says that a sequence holds no message.
var ErrNoMessage = errors.New("no such message")

// Delete removes one message from a stream. A sequence that is not there (any
// more) is ErrNoMessage. It does not ask for the stream first, as the library's
// own DeleteMsg does each time.
func (c *Conn) Delete(ctx context.Context, stream string, seq uint64) error {
	return c.remove(ctx, stream, seq, true)
}

// Erase is Delete that has the broker overwrite the message in its files, too: what
// was deleted can be read there until its block is written anew.
func (c *Conn) Erase(ctx context.Context, stream string, seq uint64) error {
	return c.remove(ctx, stream, seq, false)
}

func (c *Conn) remove(ctx context.Context, stream string, seq uint64, noErase bool) error {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	m, err := c.NC.RequestWithContext(ctx, "$JS.API.STREAM.MSG.DELETE."+stream,
		fmt.Appendf(nil, `{"seq":%d,"no_erase":%t}`, seq, noErase))
	if err != nil {
		return fmt.Errorf("delete %s/%d: %w", stream, seq, readError(err))
	}
	var answer struct {
		Error *APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &answer); {
	case err != nil:
		return fmt.Errorf("delete %s/%d: unreadable answer: %w", stream, seq, err)
	case answer.Error == nil:
		return nil
	case answer.Error.nothingToDelete():
		return ErrNoMessage
	}
	return fmt.Errorf("delete %s/%d: %w", stream, seq, answer.Error)
}

// nothingToDelete says whether a deletion was refused because there is no such
// message: with one code for a gap, with another and the words of the server's
// store for what lies before the first message.
func (e *APIError) nothingToDelete() bool {
	const sequenceNotFound, deleteFailed = 10043, 10057
	return e.Code == sequenceNotFound ||
		e.Code == deleteFailed && strings.HasSuffix(e.Description, "found")
}

// Subjects says how many messages a stream holds of each subject that matches one with wildcards.
// A stream that is not there holds none.
func (c *Conn) Subjects(
	ctx context.Context, stream, subject string,
) (map[string]uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	s, err := c.JS.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	var info *jetstream.StreamInfo
	if err == nil {
		info, err = s.Info(ctx, jetstream.WithSubjectFilter(subject))
	}
	if err != nil {
		return nil, fmt.Errorf("subjects of %s: %w", stream, err)
	}
	return info.State.Subjects, nil
}

package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// The headers of an atomic batch, from NATS' ADR-50.
const (
	headerBatchID     = "Nats-Batch-Id"
	headerBatchSeq    = "Nats-Batch-Sequence"
	headerBatchCommit = "Nats-Batch-Commit"
)

const (
	// MinBatch is from how many messages on a batch is worth it: the broker stages each in files of
	// its own, which takes it some 4 ms (measured).
	MinBatch = 32

	// MaxBatch is the most that one batch may hold (nats-server: streamDefaultMaxAtomicBatchSize).
	MaxBatch = 1000

	// batchWait is for how long the broker may take to agree to a batch, and to store it.
	batchWait = 3 * time.Second
)

// PublishBatch publishes messages of one stream as one atomic batch: they share one write to the
// broker's disk. They need ids of their own. After an error none of them is stored, or all are:
// whoever publishes them again one by one is told which are repeats. A batch that holds a repeat is
// refused as a whole.
func (c *Conn) PublishBatch(ctx context.Context, msgs []*nats.Msg) error {
	if len(msgs) < 2 || len(msgs) > MaxBatch {
		return fmt.Errorf("an atomic batch has 2 to %d messages, not %d", MaxBatch, len(msgs))
	}
	id := nuid.Next()
	for i, m := range msgs {
		m = inBatch(m, id, i+1)
		switch i {
		case 0: // the broker agrees with an empty answer
			answer, err := c.ask(ctx, m)
			if err == nil && (len(answer.Data) > 0 || answer.Header.Get("Status") != "") {
				_, err = parseAck(answer)
			}
			if err != nil {
				return fmt.Errorf("begin a batch: %w", err)
			}
			continue
		case len(msgs) - 1:
			m.Header[headerBatchCommit] = []string{"1"}
			answer, err := c.ask(ctx, m)
			if err == nil {
				err = committed(answer, id, len(msgs))
			}
			if err != nil {
				return fmt.Errorf("end a batch: %w", err)
			}
			continue
		}
		if err := c.NC.PublishMsg(m); err != nil {
			return fmt.Errorf("publish a batch: %w", err)
		}
	}
	return nil
}

// inBatch is a message as one of a batch. The message itself may have to be published alone.
func inBatch(m *nats.Msg, id string, n int) *nats.Msg {
	header := make(nats.Header, len(m.Header)+3)
	for name, values := range m.Header {
		header[name] = values
	}
	header[headerBatchID] = []string{id}
	header[headerBatchSeq] = []string{strconv.Itoa(n)}
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}
}

func (c *Conn) ask(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, batchWait)
	defer cancel()
	answer, err := c.NC.RequestMsgWithContext(ctx, m)
	return answer, readError(err)
}

// committed says whether the broker has stored all of a batch.
func committed(answer *nats.Msg, id string, n int) error {
	if _, err := parseAck(answer); err != nil {
		return err
	}
	var stored struct {
		Batch string `json:"batch"`
		Count int    `json:"count"`
	}
	if err := json.Unmarshal(answer.Data, &stored); err != nil {
		return err
	}
	if stored.Batch != id || stored.Count != n {
		return fmt.Errorf("the broker has stored %d of %d messages", stored.Count, n)
	}
	return nil
}

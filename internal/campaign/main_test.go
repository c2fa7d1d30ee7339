package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app = "wx0000000000000001"

// text is a source in memory.
func text(format Format, s string) Source {
	return Source{Format: format, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(s)), nil
	}}
}

const hello = `{"msgtype":"text","text":{"content":"{{name}}，您好"}}`

func template(t testing.TB, raw string) *Template {
	t.Helper()
	parsed, err := ParseTemplate([]byte(raw))
	require.NoError(t, err)
	return parsed
}

// recipients is a CSV file of so many people.
func recipients(n int) string {
	var b bytes.Buffer
	b.WriteString("openid,name\n")
	for i := range n {
		fmt.Fprintf(&b, "o%05d,小%d\n", i, i)
	}
	return b.String()
}

// outbox is a Queue on the outbox, with faults when a test wants some.
type outbox struct {
	conn *broker.Conn
	mu   sync.Mutex
	// before is called for each intent; an error is its answer instead of publishing.
	before func(n int) error
	n      int
}

func (q *outbox) PublishBulk(
	ctx context.Context, appID string, terms Terms, intents []Intent,
) ([]Accepted, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	accepted := make([]Accepted, len(intents))
	for i, in := range intents {
		q.n++
		if q.before != nil {
			if err := q.before(q.n); err != nil {
				accepted[i].Err = err
				continue
			}
		}
		env := schema.Envelope{ID: in.ID, Source: terms.Source, SendAt: terms.SendAt,
			ExpiresAt: terms.ExpiresAt}
		m := nats.NewMsg(schema.BulkSubject(appID, terms.Campaign).String())
		m.Header, m.Data = nats.Header(env.Header()), in.JSON
		ack, err := q.conn.Outbox.PublishWait(ctx, m)
		if broker.Full(err) {
			err = ErrQueueFull
		}
		accepted[i] = Accepted{Duplicate: ack.Duplicate, Err: err}
	}
	return accepted, nil
}

// stored are the touser of all that the app's queue holds, and how often.
func stored(t *testing.T, conn *broker.Conn) map[string]int {
	t.Helper()
	found := make(map[string]int)
	err := conn.Scan(t.Context(), schema.SendStream(app), broker.ScanOptions{},
		func(s broker.Stored) error {
			found[wire.PeekToUser(s.Data)]++
			return nil
		})
	require.NoError(t, err)
	return found
}

func decodeRecord(t *testing.T, data []byte) (r Record) {
	t.Helper()
	require.NoError(t, json.Unmarshal(data, &r))
	return r
}

func publishReceipt(t *testing.T, conn *broker.Conn, r schema.Receipt) {
	t.Helper()
	m := nats.NewMsg(schema.ReceiptSubject(r.AppID, r.State))
	var err error
	m.Data, err = json.Marshal(r)
	require.NoError(t, err)
	_, err = conn.Outbox.PublishWait(t.Context(), m)
	require.NoError(t, err)
}

package deadletter

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/deadletter/lettertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app    = lettertest.App
	openid = lettertest.OpenID
)

var (
	noon   = lettertest.Noon
	letter = lettertest.Letter
	of     = lettertest.Of
	code   = lettertest.Code
	bulk   = lettertest.Bulk
)

// bed is a broker with the objects of one app.
type bed struct {
	*require.Assertions
	t    *testing.T
	conn *broker.Conn
	box  *Box
}

func newBed(t *testing.T, queue int64) *bed {
	t.Helper()
	return newBedOn(t, brokertest.Bare(t).Connect(), queue)
}

func newBedOn(t *testing.T, conn *broker.Conn, queue int64) *bed {
	t.Helper()
	spec := brokertest.Spec(app)
	spec.Apps[0].QueueMessages = queue
	brokertest.Provision(t, conn, spec)
	return &bed{Assertions: require.New(t), t: t, conn: conn, box: Open(conn)}
}

func (b *bed) bury(letters ...*schema.Letter) {
	b.t.Helper()
	for _, l := range letters {
		msg, err := Message(l)
		b.NoError(err)
		_, err = b.conn.Outbox.PublishWait(b.t.Context(), msg)
		b.NoError(err)
	}
}

// ids are those in the box, in order.
func (b *bed) ids(f Filter) []string {
	b.t.Helper()
	var ids []string
	b.NoError(b.box.List(b.t.Context(), f, func(i Item) error {
		ids = append(ids, i.Letter.ID)
		return nil
	}))
	return ids
}

func (b *bed) queued() []broker.Stored {
	b.t.Helper()
	var out []broker.Stored
	b.NoError(b.conn.Scan(b.t.Context(), schema.SendStream(app), broker.ScanOptions{},
		func(s broker.Stored) error {
			out = append(out, s)
			return nil
		}))
	return out
}

func (b *bed) audited() []broker.AuditEntry {
	b.t.Helper()
	var out []broker.AuditEntry
	b.NoError(b.conn.Scan(b.t.Context(), wire.StreamAudit, broker.ScanOptions{},
		func(s broker.Stored) error {
			var e broker.AuditEntry
			b.NoError(json.Unmarshal(s.Data, &e))
			out = append(out, e)
			return nil
		}))
	return out
}

func (b *bed) publish(subject string, data string, headers nats.Header) {
	b.t.Helper()
	_, err := b.conn.Outbox.PublishWait(b.t.Context(),
		&nats.Msg{Subject: subject, Data: []byte(data), Header: headers})
	b.NoError(err)
}

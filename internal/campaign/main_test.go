package campaign

import (
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app = "wx0000000000000001"

func publishReceipt(t *testing.T, conn *broker.Conn, r schema.Receipt) {
	t.Helper()
	m := nats.NewMsg(schema.ReceiptSubject(r.AppID, r.State))
	var err error
	m.Data, err = json.Marshal(r)
	require.NoError(t, err)
	_, err = conn.Outbox.PublishWait(t.Context(), m)
	require.NoError(t, err)
}

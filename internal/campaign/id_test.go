package campaign

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestAnIDFollowsFromAppCampaignAndRecipient(t *testing.T) {
	t.Parallel()
	p := broker.NewPseudonyms([]byte("the pool's key"))
	id := ID(p, "wx1", "double-11", "o1")
	require.Regexp(t, `^double-11-[a-z2-7]{26}$`, id)
	require.Equal(t, id, ID(p, "wx1", "double-11", "o1"))
	for _, other := range []string{
		ID(p, "wx2", "double-11", "o1"), ID(p, "wx1", "double-12", "o1"),
		ID(p, "wx1", "double-11", "o2"),
		ID(broker.NewPseudonyms([]byte("another key")), "wx1", "double-11", "o1"),
		schema.CampaignID("wx1", "double-11", "o1"),
	} {
		require.NotEqual(t, id[len(id)-26:], other[len(other)-26:])
	}
	long := strings.Repeat("c", 127)
	require.Len(t, ID(p, "wx1", long+"a", "o1"), 128)
	require.NoError(t, schema.CheckID(ID(p, "wx1", long+"a", "o1")))
	require.NotEqual(t, ID(p, "wx1", long+"a", "o1"), ID(p, "wx1", long+"b", "o1"))
}

// keyed returns the id of a recipient of the tests' campaign.
func keyed(t *testing.T, conn *broker.Conn, openID string) string {
	t.Helper()
	p, err := conn.Pseudonyms(t.Context())
	require.NoError(t, err)
	return ID(p, app, "double-11", openID)
}

func ids(t *testing.T, conn *broker.Conn) map[string]string {
	t.Helper()
	found := make(map[string]string)
	require.NoError(t, conn.Scan(t.Context(), schema.SendStream(app), broker.ScanOptions{},
		func(s broker.Stored) error {
			env, err := wire.ParseEnvelope(s.Header, false)
			found[wire.PeekToUser(s.Data)] = env.ID
			return err
		}))
	return found
}

func TestACampaignThatRunsKeepsTheIDsThatItBeganWith(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	j := job(t, recipients(30))
	summary, err := j.Check(t.Context())
	require.NoError(t, err)
	// An earlier version has published the first ten, and its last checkpoint is lost.
	record := Record{AppID: app, Campaign: "double-11", File: summary.File,
		Template: summary.Template, Rows: 30, Next: 0}
	_, err = writeRecord(t.Context(), conn, record, 0)
	require.NoError(t, err)
	q := &outbox{conn: conn}
	begun := errors.New("ten are published")
	require.ErrorIs(t, j.walk(t.Context(), strings.NewReader(recipients(30)), func(r row) error {
		if r.number == 10 {
			return begun
		}
		_, err := q.PublishBulk(context.WithoutCancel(t.Context()), app,
			Terms{Campaign: "double-11"},
			[]Intent{{ID: schema.CampaignID(app, "double-11", r.openID),
				JSON: append([]byte(nil), r.packet...)}})
		return err
	}), begun)

	result, err := j.Start(t.Context(), Options{Conn: conn, Queue: q})
	require.NoError(t, err)
	require.Equal(t, []int{20, 10}, []int{result.Published, result.Duplicates})
	found := ids(t, conn)
	require.Len(t, found, 30)
	require.Equal(t, schema.CampaignID(app, "double-11", "o00029"), found["o00029"])

	conn = brokertest.New(t, app)
	_, err = j.Start(t.Context(), Options{Conn: conn, Queue: &outbox{conn: conn}})
	require.NoError(t, err)
	require.Equal(t, keyed(t, conn, "o00029"), ids(t, conn)["o00029"],
		"a new one has ids that nobody can reverse")
}

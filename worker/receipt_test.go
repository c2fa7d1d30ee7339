package worker

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/schema"
)

func TestAWorkerSaysWhichReceiptsItWrites(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.tell = ReceiptsFailures
	stop := b.start()
	b.await(func() bool {
		workers, err := pool.Workers(t.Context(), b.conn)
		b.NoError(err)
		return pool.ReceiptsOf(workers, appID) == pool.ReceiptsFailures
	})
	b.NoError(stop())
}

func TestReceiptsAreWrittenAsEncodingJSONWould(t *testing.T) {
	t.Parallel()
	code := 45015
	at := time.Date(2026, 11, 24, 1, 2, 3, 456789, time.UTC)
	base := schema.Receipt{ID: "order-1", AppID: "wx1", Generation: 1, State: schema.StateSent,
		Lane: schema.LaneLive, Attempts: 1, PublishedAt: at, SettledAt: at.Add(time.Second)}
	with := func(change func(*schema.Receipt)) schema.Receipt { r := base; change(&r); return r }
	for name, r := range map[string]schema.Receipt{
		"sent": base,
		"everything short": with(func(r *schema.Receipt) {
			r.Campaign, r.Source, r.Reason, r.PossibleDuplicate = "c", "s",
				schema.ReasonUnknown, true
		}),
		"an id with a quote": with(func(r *schema.Receipt) { r.ID = `say "hi" <b>` }),
		"an answer of the API": with(func(r *schema.Receipt) {
			r.Errcode, r.Errmsg, r.RID = &code, "out of time 限", "rid-1"
		}),
		"a whole second, no nanos": with(func(r *schema.Receipt) {
			r.SettledAt = at.Truncate(time.Second)
		}),
	} {
		want, err := json.Marshal(r)
		require.NoError(t, err)
		got, err := appendReceipt(nil, &r)
		require.NoError(t, err)
		require.Equal(t, string(want), string(got), name)
	}
}

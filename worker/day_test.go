package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

// withinADay skips a test that the platform's midnight may come into.
func withinADay(t *testing.T) {
	t.Helper()
	if time.Until(gate.NextDay(time.Now())) < 2*patience {
		t.Skip("the platform's day is about to end, and its budget begins anew")
	}
}

func TestOnlyACallCostsTheDaysBudget(t *testing.T) {
	t.Parallel()
	withinADay(t)
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 1000, Burst: 100, PerDay: 3}
	stop := b.start()
	const n = 10 // of each kind, more than may be sent
	past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339Nano)
	at := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)
	b.publish(live+"first", "first", "hello", "first")
	b.Equal(schema.Sent, b.receiptOf("first").State)
	for i := range n {
		user := fmt.Sprint("user", i)
		b.publish(live+user, "invalid"+user, "hello", "somebody else")
		b.publish(bulk+"c", "expired"+user, "hello", user, schema.HeaderExpiresAt, past)
	}
	for range 2 * n {
		b.Equal(schema.Dead, b.receipt().State)
	}
	for i := range 2 {
		user := fmt.Sprint("later", i)
		b.publish(live+user, user, "hello", user, schema.HeaderSendAt, at)
	}
	for range 2 {
		b.Equal(schema.Sent, b.receipt().State, "waiting for a time costs nothing, twice as little")
	}
	b.Equal(3, b.posts("hello"))
	b.NoError(stop())
	days, err := gate.Days(t.Context(), b.conn, time.Now())
	b.NoError(err)
	b.EqualValues(3, days[appID].Used)
}

package worker

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/schema"
)

// withinADay waits for the platform's midnight when it would come into the test.
func withinADay() {
	if left := time.Until(gate.NextDay(time.Now())); left < 2*patience {
		time.Sleep(left)
	}
}

func TestOnlyACallCostsTheDaysBudget(t *testing.T) {
	t.Parallel()
	withinADay()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 1000, Burst: 100, PerDay: 3}
	stop := b.start()
	const n = 10 // of each kind, more than may be sent
	var asked atomic.Int32
	b.api.token = func() error {
		if asked.Add(1) <= 4 {
			return &wechat.Error{Call: wechat.CallToken, Fault: wechat.FaultBusy}
		}
		return nil
	}
	past := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339Nano)
	at := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)
	b.publish(live+"first", "first", "hello", "first")
	b.Equal(schema.StateSent, b.receiptOf("first").State,
		"after four tokens that could not be had, more than may be sent")
	for i := range n {
		user := fmt.Sprint("user", i)
		b.publish(live+user, "invalid"+user, "hello", "somebody else")
		b.publish(bulk+"c", "expired"+user, "hello", user, schema.HeaderExpiresAt, past)
	}
	for range 2 * n {
		b.Equal(schema.StateDead, b.receipt().State)
	}
	for i := range 2 {
		user := fmt.Sprint("later", i)
		b.publish(live+user, user, "hello", user, schema.HeaderSendAt, at)
	}
	for range 2 {
		b.Equal(schema.StateSent, b.receipt().State,
			"waiting for a time costs nothing, twice as little")
	}
	b.Equal(3, b.posts("hello"))
	b.NoError(stop())
	days, err := gate.Days(t.Context(), b.conn, time.Now())
	b.NoError(err)
	b.EqualValues(3, days[appID].Used)
}

func TestADaysBudgetThatIsUsedUpIsAHold(t *testing.T) {
	t.Parallel()
	withinADay()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerDay: 2}
	stop := b.start()
	for i := range 4 {
		b.publish(bulk+"c", fmt.Sprint("id", i), "hello", "user1")
	}
	for range 2 {
		b.Equal(schema.StateSent, b.receipt().State)
	}
	// held waits for the hold as everybody can see it, and until all is given back.
	held := func(perDay int64) (hold gate.Hold) {
		t.Helper()
		b.await(func() bool {
			holds, err := gate.Holds(t.Context(), b.conn)
			b.NoError(err)
			if len(holds[appID]) == 0 {
				return false
			}
			hold = holds[appID][0]
			a := b.worker.current()[0]
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.scheduler.phase == closed && hold.PerDay == perDay &&
				hold.Until.After(time.Now())
		})
		return hold
	}
	first := held(2)
	b.Equal(gate.Quota, first.Kind)
	b.Equal("the app's own budget of a day is used up: rate.per_day is 2", first.Reason)
	b.WithinDuration(gate.NextDay(first.Since), first.Until, time.Minute)
	b.Equal(2, b.posts("hello"))

	b.NoError(gate.Resume(t.Context(), b.conn, appID))
	b.True(first.Until.Equal(held(2).Until), "nothing is left to try it with")
	b.Equal(2, b.posts("hello"))

	more := b.app
	more.Rate.PerDay = 3
	b.NoError(b.worker.Reconfigure(t.Context(), []App{more}))
	b.Equal(schema.StateSent, b.receipt().State, "a larger budget ends it at once")
	held(3)
	b.Equal(3, b.posts("hello"))

	b.NoError(b.worker.Reconfigure(t.Context(), []App{b.app}))
	more.Rate.PerDay = 0
	b.NoError(b.worker.Reconfigure(t.Context(), []App{more}))
	b.Equal(schema.StateSent, b.receipt().State, "and so does none at all")
	b.NoError(stop())
}

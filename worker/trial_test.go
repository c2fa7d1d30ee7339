package worker

import (
	"fmt"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

func TestNoneOvertakesTheMessageThatDrewAHold(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	api := newPickyAPI(menusDraw(48001))
	b.app.Sender = api
	stop := b.start()
	const recipients, each = 20, 10
	menus := 0
	for i := range each {
		for r := range recipients {
			to := fmt.Sprint("user", r)
			if r%4 == 0 && i == r/2 { // somewhere between its texts
				menus++
				b.put(live+to, fmt.Sprint("menu", menus), menu(to))
			}
			b.put(live+to, fmt.Sprintf("%s-%d", to, i), textOf(to, fmt.Sprintf("%s %d", to, i)))
		}
	}
	rejectedBefore := make(map[string]int) // by recipient: texts that had ended when its menu did
	texts := make(map[string]int)
	// What is handed out again after its end is told again.
	for len(rejectedBefore)+len(texts) < recipients*each+menus {
		switch r := b.receipt(); r.State {
		case schema.StateDead:
			b.Equal(schema.ReasonRejected, r.Reason)
			rejectedBefore[r.ID]++
		default:
			texts[r.ID]++
		}
	}
	b.Len(rejectedBefore, menus)
	b.Len(texts, recipients*each)
	b.Len(api.texts, recipients*each, "none was sent twice")
	b.api.order = api.texts
	b.inOrder()
	b.NoError(stop())
}

func TestRefusalsAreSharedByThePoolAndOutliveAWorker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	api := newPickyAPI(menusDraw(40200))
	b.app.Sender = api
	one, stopOne, cut := b.hand("one")
	b.await(func() bool { return one.reads() == 4 })
	b.put(live+"bad", "bad", menu("bad"))
	b.await(func() bool {
		holds, err := gate.Holds(t.Context(), b.conn)
		return err == nil && len(holds[appID]) == 1
	}, "the pool knows of the hold")
	cut()
	_ = stopOne()

	two, stopTwo, _ := b.hand("two")
	b.await(func() bool { return len(two.current()) == 1 })
	h, held := two.current()[0].gate.Held()
	b.True(held)
	b.Equal("bad", h.Refusals[0].ID)
	b.put(bulk+"c", "good", textOf("good", "x"))
	got := b.ended(2)
	b.Equal(schema.StateSent, got["good"].State, "the trial is another one")
	b.Equal(schema.ReasonRejected, got["bad"].Reason, "and what the first worker saw of it counts")
	b.Equal(2, api.postsTo("bad"))
	b.NoError(stopTwo())
}

func TestAnotherWorkersMessageIsTheTrial(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	api := newPickyAPI(menusDraw(40200))
	b.app.Sender = api
	one, stopOne, _ := b.hand("one")
	two, stopTwo, _ := b.hand("two")
	b.await(func() bool { return one.reads() == 2 && two.reads() == 2 })
	good := 0
	for round := range 4 {
		bad := fmt.Sprint("bad", round)
		b.put(live+bad, bad, menu(bad))
		b.await(func() bool { return api.postsTo(bad) > 0 })
		// To all shards in turn, until one of them has told them apart.
		for open := true; open; good++ {
			to := fmt.Sprint("good", good)
			b.put(live+to, to, textOf(to, "x"))
			for waits := true; waits; {
				switch r := b.receipt(); r.ID {
				case to:
					b.Equal(schema.StateSent, r.State)
					waits = false
				default:
					b.Equal(bad, r.ID)
					b.Equal(schema.ReasonRejected, r.Reason)
					open = false
				}
			}
		}
		b.LessOrEqual(api.postsTo(bad), 3)
	}
	b.NoError(stopOne())
	b.NoError(stopTwo())
}

func TestTheEndOfAHoldIsLookedAtAllTheTime(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	stop := b.start()
	b.await(func() bool { return b.worker.reads() == 4 })
	a := b.worker.current()[0]
	now := time.Now()
	a.gate.Hold(gate.Hold{Kind: gate.Quota, Reason: "test"}, gate.Permission{},
		now.Add(time.Hour), now)
	b.await(func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.scheduler.phase == closed && a.timerAt.After(now)
	})
	a.mu.Lock()
	nap := time.Until(a.timerAt)
	a.mu.Unlock()
	b.LessOrEqual(nap, maxTimerWait, "a timer stands still in a suspend")
	b.NoError(stop())
}

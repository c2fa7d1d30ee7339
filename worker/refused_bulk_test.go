package worker

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/schema"
)

func TestACampaignOfWhichATenthIsRefusedGoesOn(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Rate = gate.Rate{PerSecond: 500, Burst: 50}
	api := newPickyAPI(func(m message) error {
		switch {
		case m.MsgType == "msgmenu":
			return apiError(40200)
		case m.CustomService.KFAccount != "":
			return apiError(65400)
		}
		return nil
	})
	b.app.Sender = api
	stop := b.start()
	const n = 600
	for i := range n {
		to := fmt.Sprint("u", i)
		switch i % 20 {
		case 7:
			b.put(bulk+"c", to, menu(to))
		case 17:
			b.put(bulk+"c", to, textInTheNameOf("a@kefu", to))
		default:
			b.put(bulk+"c", to, textOf(to, to))
		}
	}
	begin := time.Now()
	sent := 0
	for id, r := range b.ended(n) {
		if r.State == schema.StateSent {
			sent++
			b.Equal(1, api.postsTo(id))
			continue
		}
		b.Equal(schema.ReasonRejected, r.Reason, id)
		b.LessOrEqual(api.postsTo(id), 3, id)
	}
	b.Equal(n*9/10, sent)
	b.LessOrEqual(api.total(), n+n/10*2)
	t.Logf("%d intents, a tenth of them refused with two codes: %s, %d posts", n,
		time.Since(begin).Round(10*time.Millisecond), api.total())
	b.NoError(stop())
}

func TestACampaignOfBadMessagesDoesNotStopLive(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Concurrency = 4
	api := newPickyAPI(menusDraw(40200))
	b.app.Sender = api
	stop := b.start()
	const bad = 60
	for i := range bad {
		to := fmt.Sprint("menu", i)
		b.put(bulk+"c", to, menu(to))
	}
	b.held()
	rejected, texts := 0, 0
	var slowest time.Duration
	for rejected < bad {
		to := fmt.Sprint("u", texts)
		published := time.Now()
		b.put(live+to, to, textOf(to, to))
		for r := b.receipt(); ; r = b.receipt() {
			if r.ID == to {
				b.Equal(schema.StateSent, r.State)
				slowest = max(slowest, time.Since(published))
				break
			}
			b.Equal(schema.ReasonRejected, r.Reason)
			rejected++
		}
		texts++
	}
	t.Logf("%d bad ones rejected while %d texts were sent, the slowest within %s", rejected, texts,
		slowest.Round(10*time.Millisecond))
	for i := range bad {
		b.LessOrEqual(api.postsTo(fmt.Sprint("menu", i)), 3)
	}
	b.NoError(stop())
}

// TestManyRefusedMessagesHideNoGoodOnes: more than are looked at, in bulk, and no live
// traffic that could be tried.
func TestManyRefusedMessagesHideNoGoodOnes(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Concurrency = 4
	api := newPickyAPI(menusDraw(40200))
	b.app.Sender = api
	const bad, good = 500, 50
	for i := range bad {
		to := fmt.Sprint("menu", i)
		b.put(bulk+"c", to, menu(to))
	}
	for i := range good {
		to := fmt.Sprint("u", i)
		b.put(bulk+"c", to, textOf(to, to))
	}
	begin := time.Now()
	stop := b.start()
	for sent := 0; sent < good; {
		if r := b.receipt(); r.State == schema.StateSent {
			sent++
			b.Equal(1, r.Attempts)
		} else {
			b.Equal(schema.ReasonRejected, r.Reason)
		}
	}
	t.Logf("%d texts behind %d bad ones were sent within %s, %d posts", good, bad,
		time.Since(begin).Round(10*time.Millisecond), api.total())
	b.NoError(stop())
	ends := len(kept[schema.Receipt](b, schema.StreamReceipt))
	// The broker takes acknowledgements out of the queue in its own time: until then an
	// intent that was put off lies in both streams.
	b.await(func() bool { return bad+good-ends == int(b.queued()+b.later()) }, "nothing is lost")
}

// TestAnAppWhoseEveryMessageIsRefusedMovesLittle has more queued than is looked
// at, and all of it is refused.
func TestAnAppWhoseEveryMessageIsRefusedMovesLittle(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Concurrency = 4
	b.app.Sender = newPickyAPI(func(message) error { return apiError(40200) })
	const n = 1500
	for i := range n {
		to := fmt.Sprint("u", i)
		b.put(bulk+"c", to, textOf(to, to))
	}
	begin := time.Now()
	stop := b.start()
	b.held()
	b.await(func() bool { h, _ := b.worker.current()[0].gate.Held(); return h.Tries >= 3 })
	b.NoError(stop())
	rounds := 1
	pause := firstPassPause
	for at := begin; at.Before(time.Now()); at, pause = at.Add(pause), 2*pause {
		rounds++
	}
	moved := b.later()
	t.Logf("%d of %d wait in KEFU_LATER after %s", moved, n, time.Since(begin).Round(time.Second))
	b.NotZero(moved)
	b.LessOrEqual(moved, uint64(rounds*lookAhead))
	b.Empty(b.receipts)
	b.await(func() bool { return n == b.queued()+moved }, "nothing is lost")
}

func TestAnAccountThatIsLimitedForAllLosesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		code int
		one  string // message type that is known to draw the code for itself
	}{
		{"a code about the account, after one that was about a message", 40200, "msgmenu"},
		{
			"a code about the account, after one that was about a message of the kind that is queued",
			50002,
			"text",
		},
		{"a code that kefu does not know", 99999, ""},
		{
			"a code that kefu does not know, after one that was about a message of the kind that is queued",
			99999,
			"text",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			// What is tried twice waits for the others.
			b.app.Retry.First, b.app.Retry.Cap, b.app.HoldBack = time.Minute, time.Minute, time.Hour
			// Others than those that draw the hold are left, whatever a call takes.
			b.app.Concurrency = 8
			var limited atomic.Bool
			api := newPickyAPI(func(m message) error {
				if m.ToUser == "bad" || limited.Load() {
					return apiError(c.code)
				}
				return nil
			})
			b.app.Sender = api
			stop := b.start()
			bad, good, waits := menu("bad"), textOf("good", "x"), 0
			if c.one == "text" {
				bad, good = textOf("bad", "x"), menu("good")
			}
			if c.one != "" && c.code == 99999 {
				waits = 1 // the bad one, for its second try
			}
			if c.one != "" {
				b.put(live+"bad", "bad", bad)
				b.await(func() bool { return api.postsTo("bad") == 1 })
				a := b.worker.current()[0]
				b.await(func() bool { return a.gate.HasRefusals() })
				b.put(live+"good", "good", good)
				b.Equal("good", b.receipt().ID)
				if waits == 0 {
					b.Equal(schema.ReasonRejected, b.receiptOf("bad").Reason)
				}
				b.await(b.open)
			}
			b.NoError(gate.Pause(t.Context(), b.conn, appID, "test", "me"))
			b.held()
			limited.Store(true)
			const n = 60
			for i := range n {
				to := fmt.Sprint("u", i)
				b.put(live+to, to, textOf(to, to))
			}
			b.NoError(gate.Resume(t.Context(), b.conn, appID)) // all of them are there at once
			var h gate.Hold
			b.await(func() bool {
				h, _ = b.worker.current()[0].gate.Held()
				return h.Kind == gate.Config
			})
			b.Equal(c.code, h.Errcode)
			b.await(func() bool {
				h, _ := b.worker.current()[0].gate.Held()
				return h.Tries >= 2
			})
			for waits > 0 && len(b.receipts) > 0 { // it was the trial, perhaps
				b.Equal(schema.ReasonRejected, b.receiptOf("bad").Reason)
				waits--
			}
			b.Empty(b.receipts, "none ends")
			b.LessOrEqual(uint64(n), b.queued())
			limited.Store(false)
			b.NoError(gate.Resume(t.Context(), b.conn, appID))
			for id, r := range b.ended(n + waits) {
				b.Equal(id != "bad", r.State == schema.StateSent, id)
			}
			b.NoError(stop())
		})
	}
}

package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// message is what an API sees of a packet.
type message struct {
	ToUser        string
	MsgType       string
	Text          struct{ Content string }
	CustomService struct {
		KFAccount string `json:"kf_account"`
	}
}

// pickyAPI answers each message as it deserves.
type pickyAPI struct {
	mu     sync.Mutex
	posts  map[string]int // by touser
	texts  []string       // that were sent, in order
	answer func(m message) error
}

func newPickyAPI(answer func(message) error) *pickyAPI {
	return &pickyAPI{posts: make(map[string]int), answer: answer}
}

// menusDraw answers menus with an errcode, and accepts everything else.
func menusDraw(code int) func(message) error {
	return func(m message) error {
		if m.MsgType == "msgmenu" {
			return apiError(code)
		}
		return nil
	}
}

func (a *pickyAPI) Deliver(ctx context.Context, m wechat.Message) error {
	if err := m.Before(); err != nil {
		return err
	}
	var p message
	if err := json.Unmarshal(m.Packet, &p); err != nil {
		return err
	}
	a.mu.Lock()
	a.posts[p.ToUser]++
	a.mu.Unlock()
	weather.call(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	err := a.answer(p)
	if err == nil && p.MsgType == "text" {
		a.texts = append(a.texts, p.Text.Content)
	}
	return err
}

func (a *pickyAPI) postsTo(to string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.posts[to]
}

func (a *pickyAPI) total() (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.posts {
		n += k
	}
	return n
}

// put publishes a packet under an id.
func (b *bed) put(subject, id, packet string) {
	b.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(packet)
	m.Header.Set("Nats-Msg-Id", id)
	_, err := b.conn.Outbox.PublishWait(b.t.Context(), m)
	b.NoError(err)
}

func menu(to string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"msgmenu","msgmenu":{"head_content":"h","list":[{"id":"101","content":"a"}]}}`, to)
}

func textOf(to, content string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":%q}}`, to, content)
}

// ended collects the receipts of so many intents.
func (b *bed) ended(n int) map[string]schema.Receipt {
	b.t.Helper()
	got := make(map[string]schema.Receipt)
	for len(got) < n {
		r := b.receipt()
		got[r.ID] = r
	}
	return got
}

// held waits until an app is held, and returns why.
func (b *bed) held() (h gate.Hold) {
	b.t.Helper()
	b.Eventually(func() bool {
		for _, a := range b.worker.current() {
			var is bool
			h, is = a.gate.Held()
			return is
		}
		return false
	}, patience, time.Millisecond, "it is held")
	return h
}

func (b *bed) open() bool {
	_, held := b.worker.current()[0].gate.Held()
	return !held
}

// TestAMessageThatDrawsTheAppsAnswerForItself has one bad message and thirty good
// ones.
func TestAMessageThatDrawsTheAppsAnswerForItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		bad  func(message) bool
		code int
	}{
		{"40200 for one message type", func(m message) bool { return m.MsgType == "msgmenu" }, 40200},
		{"48001 for one message type", func(m message) bool { return m.MsgType == "msgmenu" }, 48001},
		{"45103 for one message type", func(m message) bool { return m.MsgType == "msgmenu" }, 45103},
		{"50002 for one openid", func(m message) bool { return m.ToUser == "bad" }, 50002},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			api := newPickyAPI(func(m message) error {
				if c.bad(m) {
					return apiError(c.code)
				}
				return nil
			})
			b.app.Sender = api
			stop := b.start()
			b.put(live+"bad", "bad", menu("bad"))
			h := b.held()
			b.Equal([]gate.Draw{{ID: "bad", What: "msgmenu", Answer: fmt.Sprint("errcode ", c.code)}}, h.Drawn)
			const n = 30
			for i := range n {
				to := fmt.Sprint("u", i)
				b.put(live+to, to, textOf(to, to))
			}
			for id, r := range b.ended(n + 1) {
				if id == "bad" {
					b.Equal(schema.ReasonRejected, r.Reason)
					b.Equal(c.code, *r.Errcode)
					continue
				}
				b.Equal(schema.StateSent, r.State, id)
				b.Equal(1, api.postsTo(id), id)
			}
			b.Equal(2, api.postsTo("bad"), "the hold, and once more after another was sent")
			b.True(b.open())
			b.NoError(stop())
		})
	}
}

// TestOurOwnTroubleBuriesNoMessage: a token that another system replaces all the
// time, or the proxy of one worker, may stop a message while others are sent.
func TestOurOwnTroubleBuriesNoMessage(t *testing.T) {
	t.Parallel()
	for _, answer := range []error{
		apiError(40001), &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultConfig, HTTPStatus: http.StatusFound},
	} {
		t.Run(answer.Error(), func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			api := newPickyAPI(func(m message) error {
				if m.ToUser == "bad" {
					return answer
				}
				return nil
			})
			b.app.Sender = api
			stop := b.start()
			b.put(live+"bad", "bad", textOf("bad", "x"))
			b.Equal(gate.Config, b.held().Kind)
			b.put(bulk+"c", "good", textOf("good", "x"))
			b.Equal("good", b.receipt().ID, "it is tried with another")
			b.Eventually(func() bool { return api.postsTo("bad") == 2 }, patience, time.Millisecond)
			b.Eventually(b.open, patience, time.Millisecond, "nobody else waits for it")
			b.put(bulk+"c", "good1", textOf("good1", "x"))
			b.Equal("good1", b.receipt().ID)
			b.NoError(stop())
			b.Empty(kept[schema.Letter](b, schema.StreamDead))
			b.EqualValues(1, b.queued()+b.later())
		})
	}
}

// later is how many intents of the app wait for their time.
func (b *bed) later() uint64 {
	b.t.Helper()
	n, err := b.conn.Count(b.t.Context(), wire.StreamLater, wire.LaterWaitFilter(appID))
	b.NoError(err)
	return n
}

// TestWhatWaitsForOurOwnTroubleIsInNobodysWay: it may be long.
func TestWhatWaitsForOurOwnTroubleIsInNobodysWay(t *testing.T) {
	t.Parallel()
	for lane, subject := range map[string]string{"live": live + "bad", "bulk": bulk + "c"} {
		t.Run(lane, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			api := newPickyAPI(func(m message) error {
				if m.ToUser == "bad" && m.MsgType == "text" {
					return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultConfig, HTTPStatus: http.StatusPreconditionFailed}
				}
				return nil
			})
			b.app.Sender = api
			stop := b.start()
			b.put(subject, "bad", textOf("bad", "x"))
			b.held()
			b.put(live+"bad", "next", menu("bad"))
			b.put(live+"good", "good", textOf("good", "x"))
			got := b.ended(2)
			b.Equal(schema.StateSent, got["good"].State)
			b.Equal(schema.StateSent, got["next"].State, "its recipient's later message does not wait for it")
			b.Eventually(func() bool { return b.worker.current()[0].holding() == 0 && b.later() == 1 }, patience, time.Millisecond, "it takes no room in its lane")
			b.True(b.open())
			b.NoError(stop())

			b.NoError(b.conn.Scan(t.Context(), wire.StreamLater, broker.ScanOptions{}, func(s broker.Stored) error {
				env, err := wire.ParseEnvelope(s.Header, true)
				b.Equal(1, env.Attempt, "no attempt is spent")
				return err
			}))
		})
	}
}

func TestALimitThatOneMessageMeetsMakesThatOneWait(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	var limited atomic.Bool
	limited.Store(true)
	api := newPickyAPI(func(m message) error {
		if m.ToUser == "bad" && limited.Load() {
			return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultMinuteQuota, HTTPStatus: http.StatusTooManyRequests, RetryAfter: time.Second}
		}
		return nil
	})
	b.app.Sender = api
	stop := b.start()
	b.put(live+"bad", "bad", textOf("bad", "x"))
	b.Equal(gate.Quota, b.held().Kind)
	b.put(bulk+"c", "good0", textOf("good0", "x"))
	b.Equal("good0", b.receipt().ID, "it is tried with another")
	posts := api.postsTo("bad")
	b.Eventually(func() bool { return api.postsTo("bad") > posts }, patience, time.Millisecond)
	b.True(b.open(), "that limit is not the app's")
	b.put(bulk+"c", "good1", textOf("good1", "x"))
	b.Equal("good1", b.receipt().ID)
	limited.Store(false)
	r := b.receiptOf("bad")
	b.Equal(schema.StateSent, r.State)
	b.Equal(1, r.Attempts)
	b.NoError(stop())
}

// TestALimitOfOneKfAccount is met by each message in its name, and by no other.
func TestALimitOfOneKfAccount(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]error{
		"the minute's, for an hour":                           &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultMinuteQuota, HTTPStatus: http.StatusTooManyRequests, RetryAfter: time.Hour},
		"the day's, and there is no quota call to say better": apiError(45009),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			api := newPickyAPI(func(m message) error {
				if m.CustomService.KFAccount != "" {
					return limit
				}
				return nil
			})
			b.app.Sender = api
			stop := b.start()
			limited := func(to string) {
				b.put(live+to, to, fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"a@kefu"}}`, to))
			}
			limited("bad0")
			b.Equal(gate.Quota, b.held().Kind)
			b.put(live+"good0", "good0", textOf("good0", "x"))
			b.Equal("good0", b.receipt().ID, "it is tried long before its end, with another kind")
			b.Eventually(b.open, patience, time.Millisecond)
			const n = 5
			for i := range n {
				bad, good := fmt.Sprint("bad", 1+i), fmt.Sprint("good", 1+i)
				limited(bad)
				b.Eventually(func() bool { return api.postsTo(bad) > 0 }, patience, time.Millisecond)
				b.True(b.open(), "the limit is known to be that of some")
				b.put(live+good, good, textOf(good, "x"))
				b.Equal(schema.StateSent, b.receiptOf(good).State)
			}
			b.Eventually(func() bool { return b.later() == 1+n }, patience, time.Millisecond)
			for i := range 1 + n {
				b.LessOrEqual(api.postsTo(fmt.Sprint("bad", i)), 2)
			}
			b.NoError(stop())
			b.Empty(kept[schema.Letter](b, schema.StreamDead))
		})
	}
}

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
			b.put(bulk+"c", to, fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"x"},"customservice":{"kf_account":"a@kefu"}}`, to))
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
	t.Logf("%d intents, a tenth of them refused with two codes: %s, %d posts", n, time.Since(begin).Round(10*time.Millisecond), api.total())
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
	t.Logf("%d bad ones rejected while %d texts were sent, the slowest within %s", rejected, texts, slowest.Round(10*time.Millisecond))
	for i := range bad {
		b.LessOrEqual(api.postsTo(fmt.Sprint("menu", i)), 3)
	}
	b.NoError(stop())
}

// TestManyBadOnesHideNoGoodOnes: more than are looked at, in bulk, and no live
// traffic that could be tried.
func TestManyBadOnesHideNoGoodOnes(t *testing.T) {
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
	t.Logf("%d texts behind %d bad ones were sent within %s, %d posts", good, bad, time.Since(begin).Round(10*time.Millisecond), api.total())
	b.NoError(stop())
	ends := len(kept[schema.Receipt](b, schema.StreamReceipt))
	b.EqualValues(bad+good-ends, b.queued()+b.later(), "nothing is lost")
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
	b.Eventually(func() bool { h, _ := b.worker.current()[0].gate.Held(); return h.Tries >= 3 }, patience, time.Millisecond)
	b.NoError(stop())
	rounds := 1
	for at, pause := begin, passFirst; at.Before(time.Now()); at, pause = at.Add(pause), 2*pause {
		rounds++
	}
	moved := b.later()
	t.Logf("%d of %d wait in KEFU_LATER after %s", moved, n, time.Since(begin).Round(time.Second))
	b.NotZero(moved)
	b.LessOrEqual(moved, uint64(rounds*lookAhead))
	b.Empty(b.receipts)
	b.EqualValues(n, b.queued()+moved, "nothing is lost")
}

func TestAnAppThatTurnsBadForEverybodyLosesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		code int
		one  string // message type that is known to draw the code for itself
	}{
		{"a code about the account, after one that was about a message", 40200, "msgmenu"},
		{"a code about the account, after one that was about a message of the kind that is queued", 50002, "text"},
		{"a code that kefu does not know", 99999, ""},
		{"a code that kefu does not know, after one that was about a message of the kind that is queued", 99999, "text"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			b.app.Retry.First, b.app.Retry.Cap, b.app.HoldBack = time.Minute, time.Minute, time.Hour // what is tried twice waits for the others
			b.app.Concurrency = 8                                                                    // others than those that draw the hold are left, whatever a call takes
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
				b.Eventually(func() bool { return api.postsTo("bad") == 1 }, patience, time.Millisecond)
				a := b.worker.current()[0]
				b.Eventually(func() bool { return a.gate.Suspects() }, patience, time.Millisecond)
				b.put(live+"good", "good", good)
				b.Equal("good", b.receipt().ID)
				if waits == 0 {
					b.Equal(schema.ReasonRejected, b.receiptOf("bad").Reason)
				}
				b.Eventually(b.open, patience, time.Millisecond)
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
			b.Eventually(func() bool {
				h, _ = b.worker.current()[0].gate.Held()
				return h.Kind == gate.Config
			}, patience, time.Millisecond)
			b.Equal(c.code, h.Errcode)
			b.Eventually(func() bool { h, _ := b.worker.current()[0].gate.Held(); return h.Tries >= 2 }, patience, time.Millisecond)
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
	for len(rejectedBefore)+len(texts) < recipients*each+menus { // what is handed out again after its end is told again
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

func TestASuspicionIsThePoolsAndOutlivesAWorker(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	api := newPickyAPI(menusDraw(40200))
	b.app.Sender = api
	one, stopOne, cut := b.hand("one")
	b.Eventually(func() bool { return one.reads() == 4 }, patience, time.Millisecond)
	b.put(live+"bad", "bad", menu("bad"))
	b.Eventually(func() bool {
		holds, err := gate.Holds(t.Context(), b.conn)
		return err == nil && len(holds[appID]) == 1
	}, patience, time.Millisecond, "the pool knows of the hold")
	cut()
	_ = stopOne()

	two, stopTwo, _ := b.hand("two")
	b.Eventually(func() bool { return len(two.current()) == 1 }, patience, time.Millisecond)
	h, held := two.current()[0].gate.Held()
	b.True(held)
	b.Equal("bad", h.Drawn[0].ID)
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
	b.Eventually(func() bool { return one.reads() == 2 && two.reads() == 2 }, patience, time.Millisecond)
	good := 0
	for round := range 4 {
		bad := fmt.Sprint("bad", round)
		b.put(live+bad, bad, menu(bad))
		b.Eventually(func() bool { return api.postsTo(bad) > 0 }, patience, time.Millisecond)
		for open := true; open; good++ { // to all shards in turn, until one of them has told them apart
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
	b.Eventually(func() bool { return b.worker.reads() == 4 }, patience, time.Millisecond)
	a := b.worker.current()[0]
	now := time.Now()
	a.gate.Hold(gate.Hold{Kind: gate.Quota, Reason: "test"}, gate.Permission{}, now.Add(time.Hour), now)
	b.Eventually(func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.scheduler.phase == closed && a.timerAt.After(now)
	}, patience, time.Millisecond)
	a.mu.Lock()
	nap := time.Until(a.timerAt)
	a.mu.Unlock()
	b.LessOrEqual(nap, longestNap, "a timer stands still in a suspend")
	b.NoError(stop())
}

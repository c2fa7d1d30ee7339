package worker

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/wechat"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func isMenu(m message) bool { return m.MsgType == "msgmenu" }

// TestAMessageThatDrawsTheAppsAnswerForItself has one bad message and thirty good
// ones.
func TestAMessageThatDrawsTheAppsAnswerForItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		bad  func(message) bool
		code int
	}{
		{"40200 for one message type", isMenu, 40200},
		{"48001 for one message type", isMenu, 48001},
		{"45103 for one message type", isMenu, 45103},
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
			b.Equal([]gate.Refusal{{ID: "bad", Kind: "msgmenu",
				Answer: fmt.Sprint("errcode ", c.code)}}, h.Refusals)
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
		apiError(40001), &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultConfig,
			HTTPStatus: http.StatusFound},
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
			b.await(func() bool { return api.postsTo("bad") == 2 })
			b.await(b.open, "nobody else waits for it")
			b.put(bulk+"c", "good1", textOf("good1", "x"))
			b.Equal("good1", b.receipt().ID)
			b.NoError(stop())
			b.Empty(kept[schema.Letter](b, schema.StreamDead))
			b.EqualValues(1, b.queued()+b.later())
		})
	}
}

// TestWhatWaitsForOurOwnTroubleBlocksNoOther: it may be long.
func TestWhatWaitsForOurOwnTroubleBlocksNoOther(t *testing.T) {
	t.Parallel()
	for lane, subject := range map[string]string{"live": live + "bad", "bulk": bulk + "c"} {
		t.Run(lane, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			api := newPickyAPI(func(m message) error {
				if m.ToUser == "bad" && m.MsgType == "text" {
					return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultConfig,
						HTTPStatus: http.StatusPreconditionFailed}
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
			b.Equal(schema.StateSent, got["next"].State,
				"its recipient's later message does not wait for it")
			b.await(func() bool {
				return b.worker.current()[0].holding() == 0 && b.later() == 1
			}, "it takes no room in its lane")
			b.True(b.open())
			b.NoError(stop())

			b.NoError(b.conn.Scan(t.Context(), wire.StreamLater, broker.ScanOptions{},
				func(s broker.Stored) error {
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
			return &wechat.Error{Call: wechat.CallSend, Fault: wechat.FaultMinuteQuota,
				HTTPStatus: http.StatusTooManyRequests, RetryAfter: time.Second}
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
	b.await(func() bool { return api.postsTo("bad") > posts })
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
		"the minute's, for an hour": &wechat.Error{Call: wechat.CallSend,
			Fault: wechat.FaultMinuteQuota, HTTPStatus: http.StatusTooManyRequests,
			RetryAfter: time.Hour},
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
				b.put(live+to, to, textInTheNameOf("a@kefu", to))
			}
			limited("bad0")
			b.Equal(gate.Quota, b.held().Kind)
			b.put(live+"good0", "good0", textOf("good0", "x"))
			b.Equal("good0", b.receipt().ID, "it is tried long before its end, with another kind")
			b.await(b.open)
			const n = 5
			for i := range n {
				bad, good := fmt.Sprint("bad", 1+i), fmt.Sprint("good", 1+i)
				limited(bad)
				b.await(func() bool { return api.postsTo(bad) > 0 })
				b.True(b.open(), "the limit is known to be that of some")
				b.put(live+good, good, textOf(good, "x"))
				b.Equal(schema.StateSent, b.receiptOf(good).State)
			}
			b.await(func() bool { return b.later() == 1+n })
			for i := range 1 + n {
				b.LessOrEqual(api.postsTo(fmt.Sprint("bad", i)), 2)
			}
			b.NoError(stop())
			b.Empty(kept[schema.Letter](b, schema.StreamDead))
		})
	}
}

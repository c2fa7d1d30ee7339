package broker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
)

// outcome is what a publish ended with.
type outcome struct {
	ack broker.Ack
	err error
}

// publish is Outbox.Publish with a channel; a second call of done fails the test.
func publish(t testing.TB, conn *broker.Conn, m *nats.Msg) <-chan outcome {
	t.Helper()
	ch := make(chan outcome, 1)
	conn.Outbox.Publish(m, func(a broker.Ack, err error) {
		select {
		case ch <- outcome{a, err}:
		default:
			t.Error("done was called twice")
		}
	})
	return ch
}

func intent(id string) *nats.Msg { return intentTo("kefu.send.wx1.bulk.c", id) }

func intentTo(subject, id string) *nats.Msg {
	return &nats.Msg{Subject: subject, Header: nats.Header{"Nats-Msg-Id": {id}}, Data: []byte(id)}
}

// answers is a stand-in for a stream, that answers as it is told. It is reached
// under fake.>.
func answers(t *testing.T, conn *broker.Conn, f func(m *nats.Msg, nth int)) {
	t.Helper()
	nth := make(map[string]int)
	sub, err := conn.NC.Subscribe("fake.>", func(m *nats.Msg) {
		nth[m.Header.Get("Nats-Msg-Id")]++
		f(m, nth[m.Header.Get("Nats-Msg-Id")])
	})
	require.NoError(t, err)
	require.NoError(t, conn.NC.Flush())
	t.Cleanup(func() { _ = sub.Unsubscribe() })
}

func respond(t *testing.T, m *nats.Msg, body string) {
	t.Helper()
	if err := m.Respond([]byte(body)); err != nil {
		t.Error(err)
	}
}

func TestWhatThOutboxPublishesIsStoredOnceOverARestart(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	conn := b.Connect()
	const writers, each = 8, 200
	begun, results := make(chan struct{}, writers*each), make(chan (<-chan outcome), writers*each)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				ch := publish(t, conn, intent(fmt.Sprintf("%d-%d", w, i)))
				results <- ch
				begun <- struct{}{}
				if i%20 == 19 { // not all at once: some are on their way when the broker goes
					<-ch
				}
			}
		})
	}
	for range writers * each / 4 {
		<-begun
	}
	b.Restart()
	for range writers * each / 2 {
		<-begun
	}
	b.Restart()
	wg.Wait()
	close(results)
	for ch := range results {
		select {
		case r := <-ch:
			require.NoError(t, r.err)
		default: // read above
		}
	}
	require.Eventually(t, func() bool { return conn.Outbox.Pending() == 0 }, brokertest.Patience,
		5*time.Millisecond)
	seen := make(map[string]bool)
	// By a connection of its own: all may have been answered before the last restart.
	for _, s := range stored(t, b.Connect(), queue, broker.ScanOptions{}) {
		require.False(t, seen[string(s.Data)], "%s is stored twice", s.Data)
		seen[string(s.Data)] = true
	}
	require.Len(t, seen, writers*each)
}

func TestAnAckThatWasSwallowedMakesADuplicateNotASecondMessage(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	p := brokertest.NewProxy(t, b)
	far, near := p.Connect(), b.Connect()
	p.Deafen()
	done := publish(t, far, intent("id-1"))
	require.Eventually(t, func() bool { return state(t, near, queue).Msgs == 1 },
		brokertest.Patience, 5*time.Millisecond)
	require.Empty(t, done)
	p.Cut()
	p.Mend()
	r := brokertest.Await(t, done, "the answer to the repeat")
	require.NoError(t, r.err)
	require.Equal(t, broker.Ack{Stream: queue, Seq: 1, Duplicate: true}, r.ack)
	require.EqualValues(t, 1, state(t, near, queue).Msgs)
}

func TestAMessageWithoutAnIdGetsOne(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	p := brokertest.NewProxy(t, b)
	far, near := p.Connect(), b.Connect()
	p.Deafen()
	done := publish(t, far, &nats.Msg{Subject: "kefu.send.wx1.bulk.c"})
	require.Eventually(t, func() bool { return state(t, near, queue).Msgs == 1 },
		brokertest.Patience, 5*time.Millisecond)
	p.Cut()
	p.Mend()
	require.True(t, brokertest.Await(t, done, "the answer to the repeat").ack.Duplicate)
}

func TestAConditionalWriteThatIsRepeatedIsRefused(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	p := brokertest.NewProxy(t, b)
	far, near := p.Connect(), b.Connect()
	p.Deafen()
	type answer struct {
		value string
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		v, err := far.StateOnce(t.Context(), "log.key", []byte("mine"))
		done <- answer{string(v), err}
	}()
	require.Eventually(t, func() bool { return state(t, near, wire.StreamState).Msgs == 1 },
		brokertest.Patience, 5*time.Millisecond)
	require.Empty(t, done)
	p.Cut()
	p.Mend()
	require.Equal(t, answer{value: "mine"}, brokertest.Await(t, done, "the outcome"),
		"its writer looks at what is there")
}

func TestSilenceIsFollowedByARepeatWithTheSameBytes(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	var bodies []string
	answers(t, conn, func(m *nats.Msg, nth int) {
		bodies = append(bodies, string(m.Data)+" "+m.Header.Get("X"))
		if nth == 3 {
			respond(t, m, `{"stream":"FAKE","seq":7,"duplicate":true}`)
		}
	})
	begin := time.Now()
	r := brokertest.Await(t,
		publish(t, conn, &nats.Msg{Subject: "fake.a", Header: nats.Header{"X": {"y"}},
			Data: []byte("body")}), "the answer")
	require.NoError(t, r.err)
	require.Equal(t, broker.Ack{Stream: "FAKE", Seq: 7, Duplicate: true}, r.ack)
	require.Equal(t, []string{"body y", "body y", "body y"}, bodies)
	require.Greater(t, time.Since(begin), time.Second,
		"repeats come after 0.4 s and then after twice that")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	refusal := func(status, code int, sentence string) string {
		return fmt.Sprintf(
			`{"error":{"code":%d,"err_code":%d,"description":%q},"stream":"FAKE","seq":0}`,
			status, code, sentence)
	}
	for _, c := range []struct {
		name    string
		answers []string // to the first attempt, the second …; the last one stays
		want    string   // error; empty for none
		tries   int      // at least
	}{
		{"a full stream is the caller's to deal with",
			[]string{refusal(503, 10077, "maximum messages exceeded")},
			"broker refused: maximum messages exceeded (10077)", 1},
		{"so is a stream full of bytes",
			[]string{refusal(503, 10077, "maximum bytes exceeded")},
			"broker refused: maximum bytes exceeded (10077)", 1},
		{"and a message that no stream will ever take",
			[]string{refusal(503, 10077, "message too large")},
			"broker refused: message too large (10077)", 1},
		{"and a condition that does not hold",
			[]string{refusal(400, 10071, "wrong last sequence: 4")},
			"broker refused: wrong last sequence: 4 (10071)", 1},
		{"an election passes", []string{refusal(503, 10008,
			"JetStream system temporarily unavailable"), `{"stream":"FAKE","seq":1}`}, "", 2},
		{"a stream that is being recovered passes",
			[]string{refusal(500, 10074, "stream is offline"), `{"stream":"FAKE","seq":1}`}, "", 2},
		{"a repeat that comes while the message is being stored passes",
			[]string{refusal(409, 10158, "duplicate message id is in process"),
				`{"stream":"FAKE","seq":1}`},
			"", 2},
		{"what does not pass ends with its own error",
			[]string{refusal(503, 10023, "insufficient resources")},
			"broker refused: insufficient resources (10023)", 2},
		{"an answer nobody understands",
			[]string{"hello"},
			"unreadable answer to a publish: invalid character 'h' looking for beginning of value",
			1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.Bare(t).Connect()
			conn.Outbox.SetPatience(time.Second)
			tries := make(chan int, 100)
			answers(t, conn, func(m *nats.Msg, nth int) {
				tries <- nth
				respond(t, m, c.answers[min(nth, len(c.answers))-1])
			})
			r := brokertest.Await(t, publish(t, conn, nats.NewMsg("fake.a")), "the outcome")
			if c.want == "" {
				require.NoError(t, r.err)
			} else {
				require.EqualError(t, r.err, c.want)
			}
			require.GreaterOrEqual(t, len(tries), c.tries)
			if c.tries == 1 {
				require.Len(t, tries, 1)
			}
			require.Zero(t, conn.Outbox.Pending())
		})
	}
}

func TestAMissingStreamIsGivenTimeToAppear(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	conn.Outbox.SetPatience(brokertest.Patience)
	done := publish(t, conn, intent("id-1"))
	require.Empty(t, done)
	brokertest.Provision(t, conn, brokertest.Spec("wx1"))
	require.NoError(t, brokertest.Await(t, done, "the answer").err)

	conn.Outbox.SetPatience(500 * time.Millisecond)
	_, err := put(t, conn, "kefu.send.wx9.bulk.c")
	require.ErrorIs(t, err, broker.ErrNoStream)
}

func TestALongSilenceDoesNotUseUpThePatience(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	conn.Outbox.SetPatience(500 * time.Millisecond)
	answers(t, conn, func(m *nats.Msg, nth int) {
		switch nth {
		case 1, 2: // the broker is away: the third attempt is made after more than a second
		case 3: // and has no leader yet when it is back
			respond(t, m,
				`{"error":{"code":503,"err_code":10008,`+
					`"description":"JetStream system temporarily unavailable"}}`)
		default:
			respond(t, m, `{"stream":"FAKE","seq":1}`)
		}
	})
	require.NoError(t,
		brokertest.Await(t, publish(t, conn, nats.NewMsg("fake.a")), "the answer").err)
}

func TestWhatCannotBePublishedAtAll(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, "wx1")
	for _, c := range []struct {
		name string
		msg  *nats.Msg
		want error
	}{
		{"a message above what the connection takes",
			&nats.Msg{Subject: "kefu.send.wx1.bulk.c", Data: make([]byte, 2<<20)},
			nats.ErrMaxPayload},
		{"no subject", &nats.Msg{}, nats.ErrBadSubject},
		{"a subject with a blank",
			&nats.Msg{Subject: "kefu.send.wx1.bulk.a b"}, nats.ErrBadSubject},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// A caller may hold a lock that its done wants.
			var mu sync.Mutex
			done := make(chan error, 1)
			mu.Lock()
			conn.Outbox.Publish(c.msg, func(_ broker.Ack, err error) {
				mu.Lock()
				defer mu.Unlock()
				done <- err
			})
			mu.Unlock()
			require.ErrorIs(t, brokertest.Await(t, done, "the outcome"), c.want)
		})
	}
}

func TestTheOrderOfRepeatsAfterAnInterruption(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, "wx1")
	conn := b.Connect()
	gone := brokertest.Reconnected(t, conn)
	b.Stop()
	require.Eventually(t, func() bool { return !conn.Connected() }, brokertest.Patience,
		time.Millisecond)
	var last <-chan outcome
	for i := range 300 {
		last = publish(t, conn, intent(strconv.Itoa(i)))
	}
	require.Equal(t, 300, conn.Outbox.Pending())
	b.Start()
	brokertest.Await(t, gone, "the reconnect")
	require.NoError(t, brokertest.Await(t, last, "the last answer").err)
	for i, s := range stored(t, conn, queue, broker.ScanOptions{}) {
		require.Equal(t, strconv.Itoa(i), string(s.Data))
	}
}

func TestPublishWaitGivesUpWithItsContextAndRepeatsNoMore(t *testing.T) {
	t.Parallel()
	conn := brokertest.Bare(t).Connect()
	answers(t, conn, func(*nats.Msg, int) {})
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond,
		fmt.Errorf("no time left"))
	defer cancel()
	_, err := conn.Outbox.PublishWait(ctx, nats.NewMsg("fake.a"))
	require.EqualError(t, err, "publish to fake.a: no answer from the broker: no time left")
	require.Zero(t, conn.Outbox.Pending())
}

func TestCloseFailsWhatIsLeft(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		close func(*broker.Conn)
	}{
		{"by its owner", (*broker.Conn).Close},
		{"by its owner, twice", func(c *broker.Conn) { c.Close(); c.Close() }},
		{"by somebody who has the connection", func(c *broker.Conn) { c.NC.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.Bare(t).Connect()
			answers(t, conn, func(*nats.Msg, int) {})
			first, second := publish(t, conn, nats.NewMsg("fake.a")),
				publish(t, conn, nats.NewMsg("fake.b"))
			c.close(conn)
			require.ErrorIs(t, brokertest.Await(t, first, "the first outcome").err,
				broker.ErrClosed)
			require.ErrorIs(t, brokertest.Await(t, second, "the second outcome").err,
				broker.ErrClosed)
			require.ErrorIs(t, brokertest.Await(t, publish(t, conn, nats.NewMsg("fake.c")),
				"a late outcome").err, broker.ErrClosed)
			conn.Outbox.Publish(nats.NewMsg("fake.d"), nil)
		})
	}
}

func FuzzAcksAreReadQuicklyOnlyWhenThatIsRight(f *testing.F) {
	for _, s := range []string{
		`"KEFU_SEND_wx1","seq":42}`, `"A","seq":1,"duplicate":true}`, `"A","domain":"d","seq":1}`,
		`"A","seq":}`, `"A"`, `"`, ``,
		`"A","seq":18446744073709551615}`, `"A","seq":18446744073709551616}`,
		`"A","seq":99999999999999999999999}`, `"A\"B","seq":1}`, `"A","seq":01}`,
		"\"\x01\",\"seq\":1}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rest string) {
		quick, ok := broker.QuickAck([]byte(string(broker.AckPrefix) + rest))
		if !ok {
			return
		}
		var slow broker.Ack
		require.NoError(t, json.Unmarshal([]byte(string(broker.AckPrefix)+rest), &slow), rest)
		require.Equal(t, slow, quick)
		require.False(t, strings.Contains(quick.Stream, `"`))
	})
}

func TestSinceWhenAPublishHasNoAnswerIsKnown(t *testing.T) {
	t.Parallel()
	b := brokertest.Bare(t)
	conn := b.Connect()
	require.Zero(t, conn.Outbox.Oldest())
	var asked sync.Map
	answers(t, conn, func(m *nats.Msg, nth int) {
		asked.Store(nth, true)
		if nth == 3 {
			respond(t, m, `{"stream":"FAKE","seq":1}`)
		}
	})
	before := time.Now()
	done := publish(t, conn, nats.NewMsg("fake.a"))
	after := time.Now()
	require.Eventually(t, func() bool {
		_, repeated := asked.Load(2)
		return repeated
	}, brokertest.Patience, time.Millisecond)
	// zero: the third one was answered meanwhile
	if oldest := conn.Outbox.Oldest(); !oldest.IsZero() {
		require.False(t, oldest.Before(before) || oldest.After(after), "a repeat is no new message")
	}
	require.NoError(t, brokertest.Await(t, done, "the answer").err)
	require.Zero(t, conn.Outbox.Oldest())
}

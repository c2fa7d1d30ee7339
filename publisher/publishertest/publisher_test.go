package publishertest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/publisher/publishertest"
	"github.com/kefuhq/kefu/schema"
)

const app = "wx1"

func TestTheFakeHasTheMethodsOfTheRealOne(t *testing.T) {
	t.Parallel()
	actual := reflect.TypeFor[*publisher.Publisher]()
	fake := reflect.TypeFor[*publishertest.Publisher]()
	for i := range actual.NumMethod() {
		want := actual.Method(i)
		got, ok := fake.MethodByName(want.Name)
		require.True(t, ok, want.Name)
		signature := func(m reflect.Method) string {
			args := ""
			for i := 1; i < m.Type.NumIn(); i++ {
				args += m.Type.In(i).String() + ", "
			}
			for i := range m.Type.NumOut() {
				args += " " + m.Type.Out(i).String()
			}
			return args
		}
		require.Equal(t, signature(want), signature(got), want.Name)
		require.Equal(t, want.Type.IsVariadic(), got.Type.IsVariadic(), want.Name)
	}
}

// client is what the tests below ask of both.
type client interface {
	Publish(context.Context, string, json.Marshaler,
		...publisher.PublishOption) (publisher.Accepted, error)
	PublishBatch(context.Context, string, []publisher.Intent,
		...publisher.PublishOption) ([]publisher.Result, error)
	PublishCampaign(context.Context, string, publisher.Campaign, iter.Seq2[json.Marshaler, error],
		...publisher.PublishOption) (publisher.CampaignResult, error)
	Wait(context.Context, publisher.Accepted) (schema.Receipt, error)
	Receipt(context.Context, string, string) (schema.Receipt, error)
	Receipts(context.Context, string, publisher.ReceiptsOptions) iter.Seq2[publisher.Settled, error]
	Cancel(context.Context, string, string, ...publisher.CancelOption) error
	Close() error
}

// stage is one of both with what is on its other side.
type stage struct {
	client
	settle  func(schema.Receipt)
	setFull func(bool)
}

// both runs a test with the real publisher and with the fake.
func both(t *testing.T, test func(*testing.T, stage)) {
	t.Helper()
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		p, err := publisher.New(conn.JS)
		require.NoError(t, err)
		test(t, stage{p, func(r schema.Receipt) {
			r.Generation, r.Lane = 1, schema.LaneLive
			data, err := json.Marshal(r)
			require.NoError(t, err)
			_, err = conn.JS.Publish(t.Context(), schema.ReceiptSubject(app, r.State), data)
			require.NoError(t, err)
		}, func(full bool) {
			cfg := broker.SendStream(brokertest.App(app))
			cfg.Storage, cfg.Replicas = jetstream.FileStorage, 1
			if full {
				s, err := conn.JS.Stream(t.Context(), cfg.Name)
				require.NoError(t, err)
				cfg.MaxMsgs = int64(s.CachedInfo().State.Msgs)
			}
			_, err := conn.JS.UpdateStream(t.Context(), cfg)
			require.NoError(t, err)
		}})
	})
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		p := publishertest.New(app)
		test(t, stage{
			p, func(r schema.Receipt) { require.NoError(t, p.Settle(r)) },
			func(full bool) { p.SetFull(app, full) },
		})
	})
}

func text(content string) *schema.Packet {
	return &schema.Packet{ToUser: "oAlice", Body: &schema.Text{Content: content}}
}

func sent(id string) schema.Receipt {
	return schema.Receipt{ID: id, AppID: app, State: schema.StateSent, PublishedAt: time.Now()}
}

// failure is what an error says to a program.
type failure struct {
	ID        string
	Retryable bool
	Field     string
	Is        []error
}

func failureOf(err error) failure {
	var f failure
	e, field := new(publisher.Error), new(schema.FieldError)
	if errors.As(err, &e) {
		f.ID, f.Retryable = e.ID, e.Retryable()
	}
	if errors.As(err, &field) {
		f.Field = field.Field
	}
	for _, is := range []error{
		publisher.ErrUnknownApp, publisher.ErrQueueFull, publisher.ErrTooLarge,
		publisher.ErrForbidden, publisher.ErrNotQueued,
		publisher.ErrOutcomeOpen, publisher.ErrClosed, publisher.ErrNoReceipt,
		publisher.ErrUnreadable, context.Canceled,
	} {
		if errors.Is(err, is) {
			f.Is = append(f.Is, is)
		}
	}
	return f
}

func TestBothRefuseTheSame(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, p stage) {
		id := publisher.WithID("a")
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		publish := func(
			ctx context.Context, appID string, packet json.Marshaler,
			opts ...publisher.PublishOption,
		) error {
			_, err := p.Publish(ctx, appID, packet, append(opts, id)...)
			return err
		}
		for name, row := range map[string]struct {
			err  error
			want failure
		}{
			"a bad packet": {publish(t.Context(), app, text("")),
				failure{ID: "a", Field: "text.content"}},
			"bad JSON": {publish(t.Context(), app, json.RawMessage("{")),
				failure{ID: "a", Field: "packet"}},
			"no packet": {publish(t.Context(), app, nil),
				failure{ID: "a", Field: "packet"}},
			"a bad source": {publish(t.Context(), app, text("a"), publisher.WithSource(" ")),
				failure{ID: "a", Field: "Kefu-Source"}},
			"a bad campaign": {publish(t.Context(), app, text("a"), publisher.WithBulk("")),
				failure{ID: "a", Field: "campaign"}},
			"a bad app": {publish(t.Context(), "*", text("a")),
				failure{ID: "a", Field: "appid"}},
			"an unknown app": {publish(t.Context(), "wx2", text("a")),
				failure{ID: "a", Is: []error{publisher.ErrUnknownApp}}},
			"an ended context": {publish(ended, app, text("a")),
				failure{ID: "a", Retryable: true,
					Is: []error{publisher.ErrNotQueued, context.Canceled}}},
			"to cancel nowhere": {p.Cancel(t.Context(), "wx2", "a"),
				failure{ID: "a", Is: []error{publisher.ErrUnknownApp}}},
			"to cancel no id": {p.Cancel(t.Context(), app, ""), failure{Field: "id"}},
		} {
			require.Equal(t, row.want, failureOf(row.err), name)
		}
		_, err := p.Wait(ended, publisher.Accepted{AppID: app, ID: "a"})
		require.Equal(t,
			failure{ID: "a", Retryable: true,
				Is: []error{publisher.ErrNoReceipt, context.Canceled}}, failureOf(err))
		_, err = p.Receipt(t.Context(), app, "a")
		require.Equal(t, failure{ID: "a", Retryable: true, Is: []error{publisher.ErrNoReceipt}},
			failureOf(err))

		require.NoError(t, p.Close())
		require.Equal(t, failure{ID: "a", Is: []error{publisher.ErrNotQueued, publisher.ErrClosed}},
			failureOf(publish(t.Context(), app, text("a"))))
		_, waiting := p.Wait(t.Context(), publisher.Accepted{AppID: app, ID: "a"})
		_, looking := p.Receipt(t.Context(), app, "a")
		for name, err := range map[string]error{
			"cancel":  p.Cancel(t.Context(), app, "a"),
			"wait":    waiting,
			"receipt": looking,
		} {
			require.Equal(t, failure{ID: "a", Is: []error{publisher.ErrClosed}}, failureOf(err),
				name)
		}
		for _, err := range p.Receipts(t.Context(), app, publisher.ReceiptsOptions{}) {
			require.Equal(t, failure{Is: []error{publisher.ErrClosed}}, failureOf(err))
		}
	})
}

func TestBothKnowRepeatsAndFullQueues(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, p stage) {
		first, err := p.Publish(t.Context(), app, text("a"), publisher.WithID("a"))
		require.NoError(t, err)
		require.Equal(t,
			publisher.Accepted{ID: "a", AppID: app, Stream: "KEFU_SEND_wx1", Seq: 1, At: first.At},
			first)
		again, err := p.Publish(t.Context(), app, text("a"), publisher.WithID("a"))
		require.NoError(t, err)
		require.True(t, again.Duplicate)
		require.Equal(t, first.Seq, again.Seq)
		nameless, err := p.Publish(t.Context(), app, text("a"))
		require.NoError(t, err)
		require.NotEmpty(t, nameless.ID)

		p.setFull(true)
		intents := []publisher.Intent{
			{Packet: text("a"), Options: []publisher.PublishOption{publisher.WithID("a")}},
			{Packet: text("a"), Options: []publisher.PublishOption{publisher.WithID("b")}},
			{Packet: text(""), Options: []publisher.PublishOption{publisher.WithID("c")}},
		}
		results, err := p.PublishBatch(t.Context(), app, intents)
		require.Len(t, results, 3)
		require.True(t, results[0].Duplicate, "a repeat needs no room")
		var batch *publisher.BatchError
		require.ErrorAs(t, err, &batch)
		require.Equal(t, 3, batch.Total)
		require.Len(t, batch.Errors, 2)
		require.Equal(t, []int{1, 2}, []int{batch.Errors[0].Index, batch.Errors[1].Index})
		require.Equal(t, failure{ID: "b", Retryable: true, Is: []error{publisher.ErrQueueFull}},
			failureOf(batch.Errors[0]))
		require.Equal(t, failure{ID: "c", Field: "text.content"}, failureOf(batch.Errors[1]))

		p.setFull(false)
		_, err = p.PublishBatch(t.Context(), app, intents[:2])
		require.NoError(t, err)
	})
}

func TestBothTellWhatBecameOfAnIntent(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, p stage) {
		a, err := p.Publish(t.Context(), app, text("a"), publisher.WithID("a"),
			publisher.WithSource("shop"))
		require.NoError(t, err)
		b, err := p.Publish(t.Context(), app, text("b"), publisher.WithID("b"))
		require.NoError(t, err)
		died := sent("b")
		died.State, died.Reason = schema.StateDead, schema.ReasonRecipient
		p.settle(died)
		done := make(chan schema.Receipt, 1)
		go func() {
			if r, err := p.Wait(t.Context(), a); err == nil {
				done <- r
			}
		}()
		p.settle(sent("a"))
		require.Equal(t, schema.StateSent, brokertest.Await(t, done, "the receipt").State)
		for name, wait := range map[string]func() (schema.Receipt, error){
			"at once": func() (schema.Receipt, error) { return p.Wait(t.Context(), b) },
			"by its id": func() (schema.Receipt, error) {
				return p.Wait(t.Context(), publisher.Accepted{AppID: app, ID: "b"})
			},
			"if it ended": func() (schema.Receipt, error) {
				return p.Receipt(t.Context(), app, "b")
			},
			"of a repeat": func() (schema.Receipt, error) {
				again, err := p.Publish(t.Context(), app, text("b"), publisher.WithID("b"))
				require.NoError(t, err)
				return p.Wait(t.Context(), again)
			},
		} {
			r, err := wait()
			require.NoError(t, err, name)
			require.Equal(t, schema.ReasonRecipient, r.Reason, name)
		}

		var at publisher.Position
		all := publisher.ReceiptsOptions{Since: time.Unix(0, 0)}
		for s, err := range p.Receipts(t.Context(), app, all) {
			require.NoError(t, err)
			require.Equal(t, "b", s.ID)
			at = s.Position
			break
		}
		for s, err := range p.Receipts(t.Context(), app, publisher.ReceiptsOptions{After: at}) {
			require.NoError(t, err)
			require.Equal(t, "a", s.ID)
			break
		}
		dead := publisher.ReceiptsOptions{Since: all.Since, State: schema.StateDead}
		for s, err := range p.Receipts(t.Context(), app, dead) {
			require.NoError(t, err)
			require.Equal(t, schema.StateDead, s.State)
			break
		}
		for s, err := range p.Receipts(t.Context(), app, publisher.ReceiptsOptions{Progress: true}) {
			require.NoError(t, err)
			require.Empty(t, s.Receipt)
			require.False(t, s.Position.IsZero())
			require.Nil(t, s.Missed)
			break
		}
		for _, err := range p.Receipts(t.Context(), app,
			publisher.ReceiptsOptions{State: schema.StateQueued}) {
			require.Equal(t, "state", failureOf(err).Field)
		}
	})
}

func TestExpiredReceiptsAreMissed(t *testing.T) {
	t.Parallel()
	p := publishertest.New(app)
	p.AutoSend = true
	publish := func(ids ...string) {
		for _, id := range ids {
			_, err := p.Publish(t.Context(), app, text("hi"), publisher.WithID(id))
			require.NoError(t, err)
		}
	}
	next := func(o publisher.ReceiptsOptions) (next publisher.Settled) {
		for s, err := range p.Receipts(t.Context(), app, o) {
			require.NoError(t, err)
			next = s
			break
		}
		return next
	}
	publish("a", "b", "c")
	a := next(publisher.ReceiptsOptions{Since: time.Unix(0, 0)})
	require.Equal(t, "a", a.ID)
	p.ExpireReceipts(app)
	_, err := p.Receipt(t.Context(), app, "b")
	require.ErrorIs(t, err, publisher.ErrNoReceipt)
	publish("d")
	d := next(publisher.ReceiptsOptions{After: a.Position})
	require.Equal(t, "d", d.ID)
	require.NotNil(t, d.Missed)
	require.Equal(t, uint64(2), d.Missed.AtMost)
	require.Equal(t, a.Position.Time, d.Missed.After)
	told := next(publisher.ReceiptsOptions{After: a.Position, Progress: true})
	require.Empty(t, told.Receipt)
	require.Equal(t, d.Missed.AtMost, told.Missed.AtMost)
	d = next(publisher.ReceiptsOptions{After: told.Position})
	require.Equal(t, "d", d.ID)
	require.Nil(t, d.Missed)
}

func TestAutoSendAndRefusals(t *testing.T) {
	t.Parallel()
	p := publishertest.New(app)
	p.AutoSend = true
	p.Defaults = []publisher.PublishOption{publisher.WithSource("shop")}
	p.Limits = schema.Limits{TextBytes: 3}
	p.Refuse = func(in publishertest.Intent) error {
		switch in.ID {
		case "full":
			return publisher.ErrQueueFull
		case "open":
			return publisher.ErrOutcomeOpen
		}
		return nil
	}
	a, err := p.Publish(t.Context(), app, text("a"), publisher.WithBulk("spring"))
	require.NoError(t, err)
	r, err := p.Wait(t.Context(), a)
	require.NoError(t, err)
	require.Equal(t, "shop spring bulk sent",
		fmt.Sprint(r.Source, " ", r.Campaign, " ", r.Lane, " ", r.State))

	_, err = p.Publish(t.Context(), app, text("long"))
	require.Equal(t, "text.content", failureOf(err).Field)
	_, err = p.Publish(t.Context(), app, text("a"), publisher.WithID("full"))
	require.Equal(t, failure{ID: "full", Retryable: true, Is: []error{publisher.ErrQueueFull}},
		failureOf(err))
	_, err = p.Publish(t.Context(), app, text("a"), publisher.WithID("open"))
	require.Equal(t, failure{ID: "open", Retryable: true, Is: []error{publisher.ErrOutcomeOpen}},
		failureOf(err))
	again, err := p.Publish(t.Context(), app, text("a"), publisher.WithID("open"))
	require.NoError(t, err)
	require.True(t, again.Duplicate, "it was queued after all")
	require.Len(t, p.Intents(app), 2)
	require.Equal(t, "a", p.Intents(app)[0].Packet.Body.(*schema.Text).Content)
	require.Empty(t, p.Intents("wx2"))
}

func TestAnIDLivesAgainAfterTheDuplicateWindow(t *testing.T) {
	t.Parallel()
	p := publishertest.New(app)
	publish := func(id string) publisher.Accepted {
		a, err := p.Publish(t.Context(), app, text("a"), publisher.WithID(id))
		require.NoError(t, err)
		return a
	}
	for _, id := range []string{"dead", "sent", "waiting", "cancelled"} {
		publish(id)
	}
	require.NoError(t, p.Bury(app, "dead", schema.ReasonExpired))
	require.NoError(t, p.Send(app, "sent"))
	require.NoError(t, p.Cancel(t.Context(), app, "cancelled"))
	require.NoError(t, p.Cancel(t.Context(), app, "sent"), "too late, which only the receipt tells")
	p.EndDuplicateWindow(app)
	lives := map[string]publisher.Accepted{}
	for _, id := range []string{"dead", "sent", "waiting", "cancelled"} {
		lives[id] = publish(id)
		require.False(t, lives[id].Duplicate)
	}
	require.Len(t, p.Intents(app), 6)
	r, err := p.Wait(t.Context(), lives["sent"])
	require.NoError(t, err)
	require.Equal(t, 1, r.Generation)
	require.NoError(t, p.Send(app, "dead"))
	r, err = p.Wait(t.Context(), lives["dead"])
	require.NoError(t, err)
	require.Equal(t, 2, r.Generation)

	for what, err := range map[string]error{
		"no app wx2":            p.Send("wx2", "a"),
		"has no intent nobody":  p.Send(app, "nobody"),
		"intent dead has ended": p.Send(app, "dead"),
		"cannot end as \"waiting\"": p.Settle(
			schema.Receipt{AppID: app, ID: "waiting", State: schema.StateWaiting}),
	} {
		require.ErrorContains(t, err, what)
	}
}

func TestTheFakeRunsInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := publishertest.New(app)
		a, err := p.Publish(t.Context(), app, text("a"))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		_, err = p.Wait(ctx, a)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

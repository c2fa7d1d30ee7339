package publisher_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

// everything is since when all receipts are read that are stored.
var everything = publisher.ReceiptsOptions{Since: time.Unix(0, 0)}

// reads reads receipts in the background, until the loop ends with an error.
func reads(
	ctx context.Context, p *publisher.Publisher, o publisher.ReceiptsOptions,
) (<-chan publisher.Settled, <-chan error) {
	got, end := make(chan publisher.Settled, 10_000), make(chan error, 1)
	go func() {
		for s, err := range p.Receipts(ctx, app, o) {
			if err != nil {
				end <- err
				return
			}
			got <- s
		}
	}()
	return got, end
}

func TestReceiptsAreReadAsTheyCome(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	settle(t, conn.JS, sent("old"))
	settle(t, conn.JS, schema.Receipt{ID: "other", AppID: "wx2", State: schema.StateSent})
	got, end := reads(t.Context(), p, publisher.ReceiptsOptions{})
	require.Eventually(t, func() bool { return consumers(t, conn) == 1 }, brokertest.Patience,
		time.Millisecond)
	_, err := conn.JS.Publish(t.Context(), schema.ReceiptSubject(app, schema.StateSent),
		[]byte("no receipt"))
	require.NoError(t, err)
	settle(t, conn.JS, sent("a"))
	settle(t, conn.JS, sent("b"))
	for _, id := range []string{"a", "b"} {
		require.Equal(t, sent(id), brokertest.Await(t, got, "a receipt").Receipt)
	}
	require.NoError(t, p.Close())
	err = brokertest.Await(t, end, "the loop to end")
	require.ErrorIs(t, err, publisher.ErrClosed)
	require.Zero(t, consumers(t, conn))
}

func TestReceiptsGoOnWhereTheyWereLeft(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	settleMany(t, conn.JS, 10)
	var (
		ids  []string
		last publisher.Position
	)
	o := everything
	for len(ids) < 10 {
		n := 0
		for s, err := range p.Receipts(t.Context(), app, o) {
			require.NoError(t, err)
			ids, last = append(ids, s.ID), s.Position
			if n++; n == 3 || len(ids) == 10 {
				break
			}
		}
		text, err := json.Marshal(last) // as a program stores it
		require.NoError(t, err)
		o = publisher.ReceiptsOptions{}
		require.NoError(t, json.Unmarshal(text, &o.After))
	}
	require.Equal(t, crowdIDs(10), ids)
	require.Zero(t, consumers(t, conn), "each loop takes its consumer with it")

	t.Run("also when that one is not stored any more", func(t *testing.T) {
		s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
		require.NoError(t, err)
		require.NoError(t, s.Purge(t.Context()))
		settle(t, conn.JS, sent("new"))
		got, _ := reads(t.Context(), p, o)
		r := brokertest.Await(t, got, "the receipt")
		require.Equal(t, "new", r.ID)
		require.Nil(t, r.Missed, "nothing was stored behind it")
	})
	t.Run("and in a stream that was made anew", func(t *testing.T) {
		s, err := conn.JS.Stream(t.Context(), schema.StreamReceipt)
		require.NoError(t, err)
		require.NoError(t, conn.JS.DeleteStream(t.Context(), schema.StreamReceipt))
		_, err = conn.JS.CreateStream(t.Context(), s.CachedInfo().Config)
		require.NoError(t, err)
		settle(t, conn.JS, sent("anew"))
		got, _ := reads(t.Context(), p, o)
		r := brokertest.Await(t, got, "the receipt")
		require.Equal(t, "anew", r.ID)
		require.Equal(t, &publisher.Missed{After: o.After.Time, Before: r.Position.Time}, r.Missed,
			"nobody knows what the former stream held behind the position")
	})
}

func TestReceiptsOfACampaignAndOfASource(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	for i, campaign := range []string{"spring", "", "autumn"} {
		for j, source := range []string{"shop", "", "crm"} {
			r := sent(fmt.Sprint(3*i + j))
			r.Campaign, r.Source = campaign, source
			settle(t, conn.JS, r)
		}
	}
	settle(t, conn.JS, sent("last"))
	for want, o := range map[string]publisher.ReceiptsOptions{
		"[0 1 2 3 4 5 6 7 8 last]": {},
		"[0 1 2]":                  {Campaign: "spring"},
		"[2 5 8]":                  {Source: "crm"},
		"[8]":                      {Campaign: "autumn", Source: "crm"},
	} {
		o.Since = everything.Since
		got, _ := reads(t.Context(), p, o)
		var ids []string
		for fmt.Sprint(ids) != want {
			ids = append(ids, brokertest.Await(t, got, "a receipt").ID)
			require.LessOrEqual(t, len(fmt.Sprint(ids)), len(want), "%v", ids)
		}
	}
}

func TestTheReceiptOfACampaignAnswersForNoIntent(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	whole := schema.Receipt{ID: "spring", AppID: app, Generation: 1, State: schema.StateCancelled,
		Lane: schema.LaneBulk, Campaign: "spring", Count: 1_000_000}
	settle(t, conn.JS, whole)
	_, err := p.Receipt(t.Context(), app, "spring")
	require.ErrorIs(t, err, publisher.ErrNoReceipt)
	done := make(chan schema.Receipt, 1)
	go func() {
		if r, err := p.Wait(t.Context(), publisher.Accepted{AppID: app, ID: "spring"}); err == nil {
			done <- r
		}
	}()
	require.Eventually(t, func() bool { return p.Waiting(app) == 1 }, brokertest.Patience,
		time.Millisecond)
	whole.Count++
	settle(t, conn.JS, whole)
	settle(t, conn.JS, sent("spring"))
	require.Equal(t, sent("spring"), brokertest.Await(t, done, "the intent's receipt"))

	o := everything
	o.Campaign = "spring"
	got, _ := reads(t.Context(), p, o)
	require.Equal(t, 1_000_000, brokertest.Await(t, got, "the campaign's receipt").Count)
	require.Equal(t, whole, brokertest.Await(t, got, "the newest").Receipt)
}

func TestReceiptsOutliveTheBroker(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.Connect()
	got, _ := reads(t.Context(), newPublisher(t, conn.JS), everything)
	settle(t, conn.JS, sent("a"))
	require.Equal(t, "a", brokertest.Await(t, got, "a receipt").ID)
	b.Restart()
	settle(t, b.Connect().JS, sent("b")) // perhaps before the loop is back
	require.Equal(t, "b", brokertest.Await(t, got, "a receipt").ID)

	s, err := b.Connect().JS.Stream(t.Context(), schema.StreamReceipt)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return len(readers(t, s)) == 1 }, brokertest.Patience,
		time.Millisecond)
	require.NoError(t, s.DeleteConsumer(t.Context(), readers(t, s)[0]))
	settle(t, b.Connect().JS, sent("c"))
	require.Equal(t, "c", brokertest.Await(t, got, "a receipt").ID)
}

func TestReceiptsEndWithWhy(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		js    func(*testing.T) jetstream.JetStream
		ctx   func(context.Context) context.Context
		spoil func(*publisher.Publisher)
		want  error
	}{
		"no stream of receipts": {
			js: func(t *testing.T) jetstream.JetStream {
				t.Helper()
				return brokertest.Bare(t).Connect().JS
			},
			want: jetstream.ErrStreamNotFound,
		},
		"a closed publisher": {spoil: func(p *publisher.Publisher) { _ = p.Close() },
			want: publisher.ErrClosed},
		"a closed connection": {
			spoil: func(p *publisher.Publisher) { p.Conn().Close() },
			want:  nats.ErrConnectionClosed,
		},
		"a context that has ended": {
			ctx: func(ctx context.Context) context.Context {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				return ctx
			},
			want: context.Canceled,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			js := brokertest.New(t, app).JS
			if row.js != nil {
				js = row.js(t)
			}
			if row.ctx != nil {
				ctx = row.ctx(ctx)
			}
			p := newPublisher(t, js)
			if row.spoil != nil {
				row.spoil(p)
			}
			got, end := reads(ctx, p, publisher.ReceiptsOptions{})
			err := brokertest.Await(t, end, "the loop to end")
			require.ErrorIs(t, err, row.want)
			var e *publisher.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, app, e.AppID)
			require.Empty(t, got)
		})
	}
	t.Run("a context that ends meanwhile", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		ctx, cancel := context.WithCancel(t.Context())
		settle(t, conn.JS, sent("a"))
		got, end := reads(ctx, newPublisher(t, conn.JS), everything)
		brokertest.Await(t, got, "a receipt")
		cancel()
		require.ErrorIs(t, brokertest.Await(t, end, "the loop to end"), context.Canceled)
	})
	t.Run("a bad appid", func(t *testing.T) {
		t.Parallel()
		p := newPublisher(t, brokertest.New(t, app).JS)
		for _, err := range p.Receipts(t.Context(), "*", everything) {
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
		}
	})
}

func TestAPositionIsOneWord(t *testing.T) {
	t.Parallel()
	at := publisher.Position{Seq: 7,
		Time: time.Date(2026, 11, 24, 8, 15, 0, 5, time.FixedZone("CST", 8*3600))}
	require.Equal(t, "7@2026-11-24T00:15:00.000000005Z", at.String())
	var read publisher.Position
	require.NoError(t, read.UnmarshalText([]byte(at.String())))
	require.Equal(t, at.Seq, read.Seq)
	require.True(t, at.Time.Equal(read.Time))
	require.NoError(t, read.UnmarshalText([]byte("0@2026-11-24T00:15:00Z")))
	require.False(t, read.IsZero(), "before the first receipt of all")
	require.NoError(t, read.UnmarshalText(nil))
	require.True(t, read.IsZero())
	require.Empty(t, read.String())
	for _, text := range []string{
		"7", "@", "7@", "x@2026-11-24T00:15:00Z", "-1@2026-11-24T00:15:00Z", "7@yesterday",
	} {
		require.Error(t, read.UnmarshalText([]byte(text)), text)
	}
}

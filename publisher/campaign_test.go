package publisher_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/schema"
)

var sale = publisher.Campaign{Name: "sale"}

// followers yields a packet for each of n people, after it has told which.
func followers(n int, told ...func(i int)) iter.Seq2[json.Marshaler, error] {
	return func(yield func(json.Marshaler, error) bool) {
		for i := range n {
			for _, tell := range told {
				tell(i)
			}
			if !yield(text(follower(i), "hi"), nil) {
				return
			}
		}
	}
}

func follower(i int) string { return fmt.Sprintf("oUser%d", i) }

// these yields packets.
func these(packets ...json.Marshaler) iter.Seq2[json.Marshaler, error] {
	return func(yield func(json.Marshaler, error) bool) {
		for _, packet := range packets {
			if !yield(packet, nil) {
				return
			}
		}
	}
}

// saleIDs are the ids of the first n followers.
func saleIDs(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = schema.CampaignID(app, "sale", follower(i))
	}
	return out
}

// requireOnceEach says that the queue holds the intents of the first n followers, once each.
func requireOnceEach(t *testing.T, conn *broker.Conn, n int) {
	t.Helper()
	want, got := saleIDs(n), ids(queued(t, conn))
	slices.Sort(want)
	slices.Sort(got)
	require.Equal(t, want, got)
}

// stored is how many a queue has. A broker that is slow to answer is asked again, and then tells of a
// repeat.
func stored(done publisher.CampaignResult) int { return done.Published + done.Repeated }

func TestACampaignIsStoredOnceEachInOrder(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"by a stream that takes batches":        func(*jetstream.StreamConfig) {},
		"by one that takes single intents only": noBatches,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t)
			send(t, conn, change)
			const n = 5000
			var told publisher.CampaignResult
			c := sale
			c.Progress = func(done publisher.CampaignResult, waiting error) {
				require.NoError(t, waiting)
				require.Equal(t, stored(done), done.Next)
				told = done
			}
			ahead := func(i int) {
				require.LessOrEqual(t, i-told.Next, 2000, "what is read is kept in memory")
			}
			at := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
			done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, c,
				followers(n, ahead), publisher.WithSource("shop"), publisher.WithSendAt(at),
				publisher.WithExpiresIn(2*time.Hour))
			require.NoError(t, err)
			require.Equal(t, []int{n, n}, []int{stored(done), done.Next})
			require.Equal(t, done, told)
			queue := queued(t, conn)
			require.Equal(t, saleIDs(n), ids(queue))
			first, err := schema.ParseEnvelope(queue[0].Header)
			require.NoError(t, err)
			last, err := schema.ParseEnvelope(queue[n-1].Header)
			require.NoError(t, err)
			require.Equal(t, "kefu.send.wx1.bulk.sale", queue[n-1].Subject)
			require.Equal(t, []string{"shop", at.String()},
				[]string{last.Source, last.SendAt.String()})
			require.Equal(t, first.ExpiresAt, last.ExpiresAt, "it counts from the call")
		})
	}
}

func TestACampaignThatIsCutOffAndRunAgainIsStoredOnceEach(t *testing.T) {
	t.Parallel()
	const n = 5000
	for name, run := range map[string]func(*testing.T, *brokertest.Broker) error{
		"when its context ends": func(t *testing.T, b *brokertest.Broker) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done, err := newPublisher(t, b.Connect().JS).PublishCampaign(ctx, app, sale,
				followers(n, func(i int) {
					if i == n/2 {
						cancel()
					}
				}))
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, done.Next, n/2+1)
			require.Equal(t, done.Next, indexOf(t, err))
			return err
		},
		"when the broker falls silent": func(t *testing.T, b *brokertest.Broker) error {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			heard := 0
			e := &ear{lose: func(payload []byte) bool {
				if len(payload) > 2 {
					heard++
				}
				if heard < 400 { // of those that are not published in batches
					return false
				}
				cancel()
				return true
			}}
			send(t, b.Connect(), noBatches)
			done, err := newPublisher(t, e.connect(t, b.URL())).PublishCampaign(ctx, app, sale,
				followers(n))
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, done.Next, 400)
			return err
		},
		"when a connection is lost for good": func(t *testing.T, b *brokertest.Broker) error {
			js := b.Connect().JS
			p := newPublisher(t, js)
			_, err := p.PublishCampaign(t.Context(), app, sale, followers(n, func(i int) {
				if i == n/2 {
					js.Conn().Close()
				}
			}))
			return err
		},
		"when the publisher is closed": func(t *testing.T, b *brokertest.Broker) error {
			p := newPublisher(t, b.Connect().JS)
			_, err := p.PublishCampaign(t.Context(), app, sale, followers(n, func(i int) {
				if i == n/2 {
					require.NoError(t, p.Close())
				}
			}))
			require.ErrorIs(t, err, publisher.ErrClosed)
			return err
		},
		"when the iterator fails": func(t *testing.T, b *brokertest.Broker) error {
			broken := errors.New("the database is away")
			done, err := newPublisher(t, b.Connect().JS).PublishCampaign(t.Context(), app, sale,
				func(yield func(json.Marshaler, error) bool) {
					for packet, err := range followers(n / 2) {
						if !yield(packet, err) {
							return
						}
					}
					_ = yield(nil, broken) && yield(text("oNobody", "hi"), nil)
				})
			require.ErrorIs(t, err, broken)
			require.Equal(t, n/2, indexOf(t, err))
			require.Equal(t, []int{n / 2, n / 2}, []int{stored(done), done.Next})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := brokertest.Start(t, app)
			conn := b.Connect()
			require.Error(t, run(t, b))
			before := len(queued(t, conn))
			require.Less(t, before, n)

			done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, sale,
				followers(n))
			require.NoError(t, err)
			require.Equal(t, []int{n, n}, []int{stored(done), done.Next})
			require.GreaterOrEqual(t, done.Repeated, before)
			requireOnceEach(t, conn, n)
		})
	}
}

// indexOf is the place at which a campaign ended.
func indexOf(t *testing.T, err error) int {
	t.Helper()
	var failed *publisher.Error
	require.ErrorAs(t, err, &failed)
	return failed.Index
}

func TestACampaignWaitsForAFullQueue(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t)
	most := int64(30)
	grow := func(c *jetstream.StreamConfig) { c.MaxMsgs = most }
	send(t, conn, grow)
	c, waited := sale, 0
	c.Progress = func(_ publisher.CampaignResult, waiting error) {
		if waiting == nil {
			return
		}
		waited++
		require.ErrorIs(t, waiting, publisher.ErrQueueFull)
		most += 700
		send(t, conn, grow)
	}
	done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, c, followers(1500))
	require.NoError(t, err)
	require.Equal(t, []int{1500, 1500}, []int{stored(done), done.Next})
	require.GreaterOrEqual(t, waited, 3)
	requireOnceEach(t, conn, 1500)
}

func TestACampaignThatWaitsEndsWithItsContextOrDeadline(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		when string
		opts []publisher.PublishOption
		want error
	}{
		{"ctx ends", nil, context.Canceled},
		{"the deadline comes", []publisher.PublishOption{
			publisher.WithExpiresIn(500 * time.Millisecond)}, context.DeadlineExceeded},
	} {
		t.Run("when "+row.when, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t)
			send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgs = 30 })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c := sale
			c.Progress = func(_ publisher.CampaignResult, waiting error) {
				if waiting != nil && row.opts == nil {
					cancel()
				}
			}
			done, err := newPublisher(t, conn.JS).PublishCampaign(ctx, app, c, followers(5000),
				row.opts...)
			require.ErrorIs(t, err, row.want)
			var failed *publisher.Error
			require.ErrorAs(t, err, &failed)
			require.True(t, failed.Retryable())
			require.Equal(t, done.Next, failed.Index)
			require.LessOrEqual(t, done.Published, len(queued(t, conn)))
		})
	}
}

func TestPacketsThatBreakARuleAreLeftOut(t *testing.T) {
	t.Parallel()
	packets := these(text("oA", "hi"), text("oB", ""), text("oC", "hi"), nil,
		json.RawMessage("{"), raw("oD", "hi"), text("", "hi"), text("oE", "hi"))
	for _, row := range []struct {
		how  string
		stop error // that Invalid returns
		want publisher.CampaignResult
		told []int
	}{
		{"and told", nil,
			publisher.CampaignResult{Published: 4, Invalid: 4, Next: 8}, []int{1, 3, 4, 6}},
		{"until that is to end it", errors.New("enough"),
			publisher.CampaignResult{Published: 1, Invalid: 1, Next: 2}, []int{1}},
	} {
		t.Run(row.how, func(t *testing.T) {
			t.Parallel()
			conn := brokertest.New(t, app)
			c := sale
			var told []int
			c.Invalid = func(_ json.Marshaler, err *publisher.Error) error {
				var field *schema.FieldError
				require.ErrorAs(t, err, &field)
				told = append(told, err.Index)
				return row.stop
			}
			done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, c, packets)
			require.ErrorIs(t, err, row.stop)
			require.Equal(t, row.want, done)
			require.Equal(t, row.told, told)
			require.Len(t, queued(t, conn), done.Published)
		})
	}
	t.Run("and are an error at the end when nobody is told", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t, app)
		done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, sale, packets)
		require.EqualError(t, err, "4 of 8 recipients were left out; "+
			"the first is number 1, counted from 0: text.content: missing")
		require.Equal(t, 1, indexOf(t, err))
		require.Equal(t, publisher.CampaignResult{Published: 4, Invalid: 4, Next: 8}, done)
		require.Len(t, queued(t, conn), 4)
	})
	t.Run("also by a broker that takes less", func(t *testing.T) {
		t.Parallel()
		conn := brokertest.New(t)
		send(t, conn, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 500 })
		long := text("oB", strings.Repeat("a", 600))
		c := sale
		c.Invalid = func(packet json.Marshaler, err *publisher.Error) error {
			require.ErrorIs(t, err, publisher.ErrTooLarge)
			require.Equal(t, 1, err.Index)
			require.Equal(t, json.RawMessage(schema.Encode(long)), packet)
			return nil
		}
		done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, c,
			these(text("oA", "hi"), long, text("oC", "hi")))
		require.NoError(t, err)
		require.Equal(t, publisher.CampaignResult{Published: 2, Invalid: 1, Next: 3}, done)
	})
}

func TestARecipientWhoComesTwiceIsARepeat(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	again := func(yield func(json.Marshaler, error) bool) {
		_ = yield(text(follower(5), "hi"), nil) && yield(text(follower(7), "hi"), nil)
		for packet, err := range followers(1200) {
			if !yield(packet, err) {
				return
			}
		}
		_ = yield(text(follower(3), "hi"), nil)
	}
	done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, sale, again)
	require.NoError(t, err)
	require.Equal(t, []int{1203, 1203}, []int{stored(done), done.Next})
	require.GreaterOrEqual(t, done.Repeated, 3)
	requireOnceEach(t, conn, 1200)
}

func TestAnIteratorMayUseItsMemoryAgain(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	packet := &schema.Packet{Body: &schema.Text{Content: "hi"}}
	var line []byte
	done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, sale,
		func(yield func(json.Marshaler, error) bool) {
			for i := range 100 {
				packet.ToUser = follower(2 * i)
				line = packet.Append(line[:0])
				packet.ToUser = follower(2*i + 1)
				if !yield(json.RawMessage(line), nil) || !yield(packet, nil) {
					return
				}
			}
		})
	require.NoError(t, err)
	require.Equal(t, 200, stored(done))
	for i, s := range queued(t, conn) {
		p, err := schema.Decode(s.Data, schema.Limits{})
		require.NoError(t, err)
		require.Equal(t, follower(i), p.ToUser)
	}
}

func TestACampaignsIDsMayBeOthers(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	c := publisher.Campaign{Name: "sale", ID: func(openid string) string {
		if openid == follower(1) {
			return "öö"
		}
		return "sale-of-" + openid[len("oUser"):]
	}}
	done, err := newPublisher(t, conn.JS).PublishCampaign(t.Context(), app, c, followers(3))
	require.ErrorContains(t, err, "Nats-Msg-Id: must be printable ASCII")
	require.Equal(t, publisher.CampaignResult{Published: 2, Invalid: 1, Next: 3}, done)
	require.Equal(t, []string{"sale-of-0", "sale-of-2"}, ids(queued(t, conn)))
}

func TestACampaignIsCheckedBeforeAnybodyIsRead(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS, publisher.WithDefaults(publisher.WithBulk("other")))
	for _, row := range []struct {
		what  string
		app   string
		name  string
		opt   publisher.PublishOption
		field string
	}{
		{"an appid", "*", "sale", nil, "appid"},
		{"no name", app, "", nil, "campaign"},
		{"one id for all", app, "sale", publisher.WithID("a"), "id"},
		{"another campaign", app, "sale", publisher.WithBulk("sale"), "campaign"},
		{"a source", app, "sale", publisher.WithSource(" "), schema.HeaderSource},
		{"no time", app, "sale", publisher.WithExpiresIn(0), schema.HeaderExpiresAt},
		{"a deadline that has passed", app, "sale",
			publisher.WithExpiresAt(time.Now().Add(-time.Hour)), schema.HeaderExpiresAt},
	} {
		t.Run(row.what, func(t *testing.T) {
			t.Parallel()
			c := publisher.Campaign{Name: row.name}
			_, err := p.PublishCampaign(t.Context(), row.app, c,
				followers(1, func(int) { require.Fail(t, "it is read") }), row.opt)
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
			require.Equal(t, row.field, field.Field)
			require.EqualError(t, c.Check(row.app, row.opt), err.Error())
		})
	}
	require.NoError(t, sale.Check(app, publisher.WithSource("shop")))
	_, err := p.PublishCampaign(t.Context(), app, sale, nil)
	require.ErrorContains(t, err, "packet: missing")
	done, err := p.PublishCampaign(t.Context(), app, sale, followers(1))
	require.NoError(t, err)
	require.Equal(t, 1, done.Published, "the campaign's name goes before the publisher's default")
}

func TestACampaignThatCannotBePublishedEndsAtOnce(t *testing.T) {
	t.Parallel()
	conn := brokertest.New(t, app)
	p := newPublisher(t, conn.JS)
	done, err := p.PublishCampaign(t.Context(), "wxTypo", sale, followers(3000))
	require.ErrorIs(t, err, publisher.ErrUnknownApp)
	require.Zero(t, done)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	done, err = p.PublishCampaign(ended, app, sale, followers(3000))
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, publisher.ErrNotQueued)
	require.Zero(t, done)

	done, err = p.PublishCampaign(t.Context(), app, sale, followers(0))
	require.NoError(t, err)
	require.Zero(t, done)

	require.PanicsWithValue(t, "the iterator", func() {
		_, _ = p.PublishCampaign(t.Context(), app, sale, followers(3000, func(i int) {
			if i == 1500 {
				panic("the iterator")
			}
		}))
	}, "and it leaves nothing behind")
}

func TestACampaignOutlivesABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t, app)
	conn := b.ConnectWith(broker.Options{Name: "campaign"})
	p := newPublisher(t, conn.JS, publisher.WithTimeout(200*time.Millisecond))
	c, isAway, waited := sale, false, 0
	c.Progress = func(_ publisher.CampaignResult, waiting error) {
		if waiting != nil && isAway {
			waited++
			isAway = false
			b.Start()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), brokertest.Patience)
	defer cancel()
	done, err := p.PublishCampaign(ctx, app, c, followers(3000, func(i int) {
		if i == 1500 {
			b.Stop()
			isAway = true
		}
	}))
	require.NoError(t, err)
	require.Equal(t, 3000, stored(done))
	require.Equal(t, 1, waited)
	requireOnceEach(t, b.Connect(), 3000)
}

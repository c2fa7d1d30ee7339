package publishertest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/publisher"
	"github.com/kefuhq/kefu/publisher/publishertest"
	"github.com/kefuhq/kefu/schema"
)

var errSource = errors.New("the source is away")

// source yields the packets, and then the error if there is one.
func source(err error, packets ...json.Marshaler) iter.Seq2[json.Marshaler, error] {
	return func(yield func(json.Marshaler, error) bool) {
		for _, packet := range packets {
			if !yield(packet, nil) {
				return
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}

func to(openid, content string) *schema.Packet {
	return &schema.Packet{ToUser: openid, Body: &schema.Text{Content: content}}
}

func TestBothPublishCampaignsAlike(t *testing.T) {
	t.Parallel()
	enough := errors.New("enough")
	three := []json.Marshaler{to("oA", "hi"), to("oB", ""), to("oC", "hi")}
	for _, row := range []struct {
		name    string
		app     string
		ids     func(string) string
		invalid error // what Invalid returns
		untold  bool  // there is no Invalid
		packets iter.Seq2[json.Marshaler, error]
		opts    []publisher.PublishOption
		want    publisher.CampaignResult
		fails   failure
		is      error
		index   int
	}{
		{name: "with one who is left out", packets: source(nil, three...),
			want: publisher.CampaignResult{Published: 2, Invalid: 1, Next: 3}},
		{name: "with one who is left out and nobody is told of", packets: source(nil, three...),
			untold: true, want: publisher.CampaignResult{Published: 2, Invalid: 1, Next: 3},
			fails: failure{Field: "text.content"}, index: 1},
		{name: "until one is invalid", packets: source(nil, three...), invalid: enough,
			want: publisher.CampaignResult{Published: 1, Invalid: 1, Next: 2}, is: enough, index: 1},
		{name: "until the source fails", packets: source(errSource, three...),
			want: publisher.CampaignResult{Published: 2, Invalid: 1, Next: 3},
			is:   errSource, index: 3},
		{name: "with repeats", packets: source(nil, to("oA", "hi"), to("oA", "hi")),
			want: publisher.CampaignResult{Published: 1, Repeated: 1, Next: 2}},
		{name: "with other ids", packets: source(nil, three[0], to("oD", "hi")), untold: true,
			ids:   func(openid string) string { return openid[:len(openid)-len("A")] + "\n" },
			want:  publisher.CampaignResult{Invalid: 2, Next: 2},
			fails: failure{Field: schema.HeaderMsgID}},
		{name: "to an app that is unknown", app: "wx2", packets: source(nil, three[0]),
			fails: failure{ID: schema.CampaignID("wx2", "sale", "oA"),
				Is: []error{publisher.ErrUnknownApp}}},
		{name: "with a bad source", packets: source(nil, three...),
			opts:  []publisher.PublishOption{publisher.WithSource(" ")},
			fails: failure{Field: schema.HeaderSource}},
		{name: "with an id", packets: source(nil, three...),
			opts:  []publisher.PublishOption{publisher.WithID("a")},
			fails: failure{Field: "id"}},
		{name: "without recipients", fails: failure{Field: "packet"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			to := cmp.Or(row.app, app)
			both(t, func(t *testing.T, p stage) {
				var told publisher.CampaignResult
				c := publisher.Campaign{Name: "sale", ID: row.ids,
					Progress: func(done publisher.CampaignResult, _ error) { told = done }}
				if !row.untold {
					c.Invalid = func(_ json.Marshaler, err *publisher.Error) error {
						require.Equal(t, 1, err.Index)
						return row.invalid
					}
				}
				done, err := p.PublishCampaign(t.Context(), to, c, row.packets, row.opts...)
				require.Equal(t, row.want, done)
				if row.is == nil && row.fails.Field == "" && row.fails.Is == nil {
					require.NoError(t, err)
					require.Equal(t, done, told)
					return
				}
				require.Equal(t, row.fails, failureOf(err))
				if row.is != nil {
					require.ErrorIs(t, err, row.is)
				}
				failed := new(publisher.Error)
				require.ErrorAs(t, err, &failed)
				require.Equal(t, row.index, failed.Index)
			})
		})
	}
}

func TestBothPublishNoCampaignOnceItIsOver(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, p stage) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		sale := publisher.Campaign{Name: "sale"}
		_, err := p.PublishCampaign(ended, app, sale, source(nil, text("hi")))
		require.Equal(t, failure{Retryable: true,
			Is: []error{publisher.ErrNotQueued, context.Canceled}}, failureOf(err))
		require.NoError(t, p.Close())
		_, err = p.PublishCampaign(t.Context(), app, sale, source(nil, text("hi")))
		require.Equal(t, failure{Is: []error{publisher.ErrNotQueued, publisher.ErrClosed}},
			failureOf(err))
	})
}

func TestACampaignOfTheFakeWaitsInABubble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := publishertest.New(app)
		p.SetFull(app, true)
		time.AfterFunc(time.Hour, func() { p.SetFull(app, false) })
		var waiting error
		c := publisher.Campaign{Name: "sale", Progress: func(_ publisher.CampaignResult, why error) {
			waiting = errors.Join(waiting, why)
		}}
		packets := make([]json.Marshaler, 1500)
		for i := range packets {
			packets[i] = to(fmt.Sprint("o", i), "hi")
		}
		done, err := p.PublishCampaign(t.Context(), app, c, source(nil, packets...),
			publisher.WithExpiresIn(2*time.Hour))
		require.NoError(t, err)
		require.ErrorIs(t, waiting, publisher.ErrQueueFull)
		require.Equal(t, publisher.CampaignResult{Published: 1500, Next: 1500}, done)
		intents := p.Intents(app)
		require.Equal(t, schema.CampaignID(app, "sale", "o1499"), intents[1499].ID)
		require.Equal(t, schema.BulkSubject(app, "sale"), intents[1499].Subject)
		require.Equal(t, intents[0].Envelope.ExpiresAt, intents[1499].Envelope.ExpiresAt)

		p.SetFull(app, true)
		c.Name = "sale-2"
		done, err = p.PublishCampaign(t.Context(), app, c, source(nil, packets...),
			publisher.WithExpiresIn(2*time.Hour))
		require.ErrorIs(t, err, publisher.ErrQueueFull)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, done)
	})
}

package main_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// buried puts a letter into the box, as the worker did that buried its intent.
func buried(s *stage.Stage, id, openID string, sequence uint64, published time.Time) {
	s.T.Helper()
	l := &schema.Letter{
		ID: id, AppID: stage.App, Generation: 1, Lane: schema.LaneLive, OpenID: openID,
		Reason:  schema.ReasonExhausted,
		Subject: stage.Live + openID, Sequence: sequence, PublishedAt: published, DiedAt: published,
		Worker: "w",
		Headers: map[string][]string{"Nats-Msg-Id": {id},
			"Kefu-Expires-At": {time.Now().Add(time.Hour).Format(time.RFC3339)}},
	}
	wire.SetPacket(l, fmt.Appendf(nil,
		`{"touser":%q,"msgtype":"text","text":{"content":"your table is ready"}}`, openID))
	m, err := deadletter.Message(l)
	s.NoError(err)
	_, err = s.JS.PublishMsg(s.T.Context(),
		&nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
	s.NoError(err)
}

// TestTwoLettersOfOneIDAreTwoMessages is the story of an id that was used again after the ledger
// had forgotten it.
func TestTwoLettersOfOneIDAreTwoMessages(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	buried(s, "table-7", "oGuest", 7, time.Now().Add(-100*time.Hour))
	buried(s, "table-7", "oGuest", 8, time.Now().Add(-time.Hour))
	_, code := s.Kefu("dead", "replay", "--all", "--yes")
	s.Equal(4, code, "one of them has to wait")
	s.Drained()
	s.Equal(1, s.Posts()["oGuest"])
	s.Len(s.Letters(), 1)

	// The second must neither be taken for the first nor be told as sent and vanish.
	_, code = s.Kefu("dead", "replay", "--all", "--yes")
	s.Equal(1, code, "not under its id")
	s.Drained()
	s.Len(s.Letters(), 1, "it was never sent")
	s.Equal(1, s.Posts()["oGuest"])
	_, code = s.Kefu("dead", "replay", "--all", "--new-ids", "--yes")
	s.Zero(code)
	s.Drained()
	s.Equal(2, s.Posts()["oGuest"])
	s.Empty(s.Letters())
}

// TestALetterWhoseIDWentOnIsNotToldAsReplayed is the story of a producer who does not wait for the
// operator.
func TestALetterWhoseIDWentOnIsNotToldAsReplayed(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{Defaults: []string{"duplicate_window: 1s"}})
	s.Start()
	const packet = `{"touser":"oGuest","msgtype":"text","text":{"content":"hello"}}`
	refused := s.API.Add(sandbox.Rule{Call: "send", Errcode: 45015})
	s.Publish(stage.Live+"oGuest", packet, "Nats-Msg-Id", "order-1")
	s.Drained()
	s.Len(s.Letters(), 1)
	s.True(s.API.Remove(refused))
	s.Eventually(func() bool { // when the broker has forgotten the id
		ack, err := s.Offer(stage.Live+"oGuest", packet, "Nats-Msg-Id", "order-1")
		return err == nil && !ack.Duplicate
	}, stage.Patience, 50*time.Millisecond)
	s.Drained()
	posts := s.Posts()["oGuest"]

	out, code := s.Kefu("dead", "replay", "order-1", "--yes", "-o", "json")
	s.Equal(1, code, out)
	s.Drained()
	s.Equal(posts, s.Posts()["oGuest"])
	s.Len(s.Letters(), 1, "it was not sent: whether it still should be is the operator's to say")
	plan, code := s.Kefu("dead", "replay", "order-1", "--dry-run")
	s.Zero(code)
	s.Contains(plan, "cannot be replayed")
}

// TestAReplayWhoseCommandIsKilledGoesOn kills the command in the middle, and runs it again.
func TestAReplayWhoseCommandIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	s.Start()
	const people = 900
	for i := range people {
		buried(s, fmt.Sprint("order-", i), fmt.Sprint("o", i), uint64(i+1), time.Now())
	}
	replay := []string{"dead", "replay", "--all", "--rate", "0", "--yes"}
	for _, posts := range []int{1, 100, 400} {
		ctx, kill := context.WithCancel(t.Context())
		var watching sync.WaitGroup
		watching.Go(func() {
			_ = s.API.WaitFor(ctx, sandbox.Filter{Call: sandbox.CallSend}, posts)
			kill()
		})
		_, _ = s.KefuKilled(ctx, replay...) // on a fast machine it may have ended
		kill()
		watching.Wait()
	}
	_, code := s.Kefu(replay...)
	s.Contains([]int{0, 1, 3}, code, "3: an earlier run had replayed all; 1: it was doing so")
	s.Drained()
	s.Empty(s.Letters())
	got := s.Posts()
	s.Len(got, people, "nobody is left out")
	for to, n := range got {
		s.Equal(1, n, to)
	}
}

package main_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// TestAPlanComesTrue replays a box of letters of every fate, and compares what becomes of them with
// what the plan has said.
func TestAPlanComesTrue(t *testing.T) {
	t.Parallel()
	const held = "wx0000000000000002"
	s := stage.New(t, stage.Options{Apps: []string{stage.App, held}})
	s.Start()
	_, code := s.Kefu("app", "pause", held, "--reason", "holiday", "--yes")
	s.Zero(code)
	sequence := uint64(0)
	bury := func(app, prefix string, n int, change func(*schema.Letter)) {
		for i := range n {
			sequence++
			id := fmt.Sprint(prefix, i)
			l := &schema.Letter{
				ID: id, AppID: app, Generation: 1, Lane: schema.LaneLive, OpenID: id,
				Reason: schema.ReasonExhausted, Subject: schema.LiveSubject(app, id).String(),
				Sequence: sequence, PublishedAt: time.Now(), DiedAt: time.Now(), Worker: "w",
				Headers: map[string][]string{schema.HeaderMsgID: {id}},
			}
			wire.SetPacket(l, fmt.Appendf(nil,
				`{"touser":%q,"msgtype":"text","text":{"content":"hello"}}`, id))
			change(l)
			m, err := deadletter.Message(l)
			s.NoError(err)
			_, err = s.JS.PublishMsg(s.T.Context(), m)
			s.NoError(err)
		}
	}
	unchanged := func(*schema.Letter) {}
	// Two of which a command of an earlier version was killed: sent, and still in the box.
	bury(stage.App, "sent", 2, unchanged)
	for i := range 2 {
		id := fmt.Sprint("sent", i)
		m := nats.NewMsg("kefu.again." + stage.App + ".live." + id)
		m.Data = fmt.Appendf(nil, `{"touser":%q,"msgtype":"text","text":{"content":"hello"}}`, id)
		m.Header = wire.Envelope{Envelope: schema.Envelope{ID: id}, Generation: 2}.Header()
		_, err := s.JS.PublishMsg(t.Context(), m)
		s.NoError(err)
	}
	jobs, err := s.JS.KeyValue(t.Context(), wire.BucketJob)
	s.NoError(err)
	_, err = jobs.Put(t.Context(), "replay.killed", fmt.Appendf(nil,
		`{"letters":[{"seq":1,"at":%q},{"seq":2,"at":%[1]q}]}`,
		time.Now().UTC().Format(time.RFC3339)))
	s.NoError(err)
	s.Drained()
	bury(stage.App, "good", 5, unchanged)
	bury(held, "held", 3, unchanged)
	bury(stage.App, "closed", 2, func(l *schema.Letter) {
		l.Reason, l.Errcode = schema.ReasonRecipient, new(45015)
		s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: l.OpenID, Errcode: 45015})
	})
	bury(stage.App, "late", 2, func(l *schema.Letter) {
		l.Headers[schema.HeaderExpiresAt] = []string{"2026-01-01T00:00:00Z"}
	})
	bury(stage.App, "other", 1, func(l *schema.Letter) { l.Reason = schema.ReasonIDReuse })

	out, code := s.Kefu("dead", "replay", "--all", "--dry-run", "-o", "json")
	s.Zero(code, s.Output.Tail())
	var plan struct{ Fates map[string]int }
	s.NoError(json.Unmarshal([]byte(out), &plan))
	s.Equal(map[string]int{
		"will be sent": 5, "app held": 3, "replayed before": 2, "same again": 2, "expired": 2,
		"cannot be replayed": 1,
	}, plan.Fates)

	out, code = s.Kefu("dead", "replay", "--all", "--yes", "-o", "json")
	s.Equal(4, code, "three are left")
	var job struct{ Chosen, Published, Left, Gone int }
	s.NoError(json.Unmarshal([]byte(out), &job), out)
	s.Equal([]int{15, 12, 3, 0}, []int{job.Chosen, job.Published, job.Left, job.Gone})
	s.Eventually(func() bool { return s.Queued() == 3 }, stage.Patience, 20*time.Millisecond,
		"those of the held app wait")
	posts, left := s.Posts(), make(map[string]int)
	s.Eventually(func() bool { return len(s.Letters()) == 5 }, stage.Patience, 20*time.Millisecond)
	for _, l := range s.Letters() {
		left[l.ID] = l.Generation
	}
	s.Equal(map[string]int{"late0": 1, "late1": 1, "other0": 1, "closed0": 2, "closed1": 2}, left)
	for i := range 5 {
		s.Equal(1, posts[fmt.Sprint("good", i)])
	}
	for i := range 2 {
		s.Equal(1, posts[fmt.Sprint("sent", i)], "by the command that was killed")
	}
	_, code = s.Kefu("app", "resume", held, "--yes")
	s.Zero(code)
	s.Drained()
	for i := range 3 {
		s.Equal(1, s.Posts()[fmt.Sprint("held", i)])
	}
}

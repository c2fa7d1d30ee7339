package main_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func textTo(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"hello"}}`, openID)
}

func menuTo(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"msgmenu",`+
		`"msgmenu":{"head_content":"h","list":[{"id":"101","content":"a"}]}}`, openID)
}

// TestOneMessageNeverHoldsEverybody publishes a message that draws an account's
// answer for itself, and then texts to other people.
func TestOneMessageNeverHoldsEverybody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		rule   sandbox.Rule
		packet string
	}{
		{"40200 for one message type", sandbox.Rule{MsgType: "msgmenu", Errcode: 40200,
			Errmsg: "invalid account type"}, menuTo("oBad")},
		{"50002 for one openid", sandbox.Rule{OpenID: "oBad", Errcode: 50002}, textTo("oBad")},
		{"65400 for one kf_account", sandbox.Rule{Contains: "test1@kefu", Errcode: 65400},
			`{"touser":"oBad","msgtype":"text","text":{"content":"hello"},` +
				`"customservice":{"kf_account":"test1@kefu"}}`},
		{"40013 inside a miniprogrampage", sandbox.Rule{MsgType: "miniprogrampage", Errcode: 40013},
			`{"touser":"oBad","msgtype":"miniprogrampage","miniprogrampage":` +
				`{"title":"t","appid":"wxbad","pagepath":"p","thumb_media_id":"m"}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := stage.New(t, stage.Options{})
			c.rule.Call = "send"
			s.API.Add(c.rule)
			s.Start()
			receipts := s.Receipts()
			const texts = 50
			begin := time.Now()
			s.Publish(stage.Live+"oBad", c.packet, "Nats-Msg-Id", "bad")
			// Nothing else is known to be good after that: a text that is sent before tells
			// nothing.
			s.Eventually(func() bool { return s.Posts()["oBad"] > 0 }, stage.Patience,
				time.Millisecond, s.Output.Tail())
			for i := range texts {
				to := fmt.Sprint("oUser", i)
				s.Publish(stage.Live+to, textTo(to), "Nats-Msg-Id", to)
			}
			var last time.Time
			for _, r := range receipts(texts + 1) {
				if r.ID != "bad" {
					s.Equal(schema.StateSent, r.State, r.ID)
					s.Equal(1, r.Attempts)
					last = r.SettledAt
					continue
				}
				s.Equal(schema.StateDead, r.State)
				s.Equal(schema.ReasonRejected, r.Reason)
				s.Equal(c.rule.Errcode, *r.Errcode)
			}
			posts := s.Posts()
			t.Logf("last text sent after %s, posts of the bad one: %d",
				last.Sub(begin).Round(time.Millisecond), posts["oBad"])
			s.Less(last.Sub(begin), 20*time.Second)
			for to, n := range posts {
				if to == "oBad" {
					s.LessOrEqual(n, 3)
				} else {
					s.Equal(1, n, to)
				}
			}
			out, code := s.Kefu("app", "status")
			s.Zero(code)
			s.Regexp(`(?m)^state +open$`, out)
			s.NoError(s.Stop(syscall.SIGTERM))
		})
	}
}

// TestAnAppWhoseEveryMessageDrawsTheCodeLosesNothing is the other side of it.
func TestAnAppWhoseEveryMessageDrawsTheCodeLosesNothing(t *testing.T) {
	t.Parallel()
	// One that is about the app, and one that kefu does not know.
	for _, code := range []int{40200, 99999} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			s := stage.New(t, stage.Options{
				Defaults: []string{"concurrency: 4", "retry: {attempts: 6, first: 5s, cap: 5s}"},
			})
			rule := s.API.Add(sandbox.Rule{Call: "send", Errcode: code})
			s.Start()
			receipts := s.Receipts()
			const each = 20
			for i := range each {
				menu, text := fmt.Sprint("oMenu", i), fmt.Sprint("oText", i)
				s.Publish(stage.Live+menu, menuTo(menu), "Nats-Msg-Id", menu)
				s.Publish(stage.Bulk+"c", textTo(text), "Nats-Msg-Id", text)
			}
			type hold struct {
				Kind    string
				Errcode int
				Tries   int
				Drawn   []struct{ ID, What, Answer string }
			}
			var status struct {
				State string
				Holds []hold
			}
			posts := 0
			s.Eventually(func() bool { // trials, by messages that had not drawn it before
				posts = s.API.Stats().Sends // before the tries are read, which may be more by then
				out, _ := s.Kefu("app", "status", "-o", "json")
				s.NoError(json.Unmarshal([]byte(out), &status))
				return len(status.Holds) == 1 && status.Holds[0].Tries >= 3
			}, stage.Patience, 100*time.Millisecond, s.Output.Tail())
			h := status.Holds[0]
			s.Equal("config", h.Kind)
			s.Equal(code, h.Errcode)
			s.Equal(fmt.Sprint("errcode ", code), h.Drawn[0].Answer)
			t.Logf("%d tries, %d messages drew it, %d posts", h.Tries, len(h.Drawn), posts)
			s.LessOrEqual(posts, 4+2+h.Tries+1,
				"what was under way, after two that were no row yet if kefu does not know the "+
					"code, and a trial each")
			s.Empty(s.Letters())
			// One that moves from one to the other may be in both, or be counted in neither.
			s.Eventually(func() bool {
				return s.Queued()+s.Stored(wire.StreamLater) == 2*each
			}, stage.Patience, 20*time.Millisecond, "queued, or waiting for the second try")
			out, _ := s.Kefu("app", "status")
			newest := h.Drawn[len(h.Drawn)-1].ID
			s.Contains(out, newest, "an operator sees who draws it")
			s.True(strings.Contains(s.Output.String(), `"id":"`+newest+`"`), "and so does the log")

			s.True(s.API.Remove(rule))
			_, exit := s.Kefu("app", "probe")
			s.Zero(exit, s.Output.Tail())
			for _, r := range receipts(2 * each) {
				s.Equal(schema.StateSent, r.State, r.ID)
			}
			s.NoError(s.Stop(syscall.SIGTERM))
		})
	}
}

//go:build faults

package faults

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// errcodeRows are about errcodes of the API.
var errcodeRows = []row{
	{
		id:       "F72",
		fault:    "40164 on token calls, 61004 and 45035 on sends: the address is not on the list",
		expected: "held config, with the address that WeChat saw; other apps send; goes on",
		ends:     "8 sent", posts: span{1, 3}, options: apps(4),
		run: func(s *scene) {
			holdsAndLifts(gate.Config, sandbox.Rule{Call: sandbox.CallToken, Errcode: 40164},
				sandbox.Rule{Call: sandbox.CallSend, Errcode: 61004},
				sandbox.Rule{Call: sandbox.CallSend, Errcode: 45035})(s)
			s.Contains(strings.Join(s.notes, " "), "203.0.113.7")
		},
	},
	{
		id: "F73", fault: "45009: the day's quota is used up",
		expected: "held quota until midnight in Beijing; other apps send; no attempt spent",
		ends:     "4 sent", posts: span{1, 3}, options: apps(2),
		run: func(s *scene) {
			s.API.SetUsed(s.Apps()[0], sandbox.CallSend, 1_000_000)
			quotaHold(45009, gate.NextDay, 2*time.Second+2*time.Minute)(s)
		},
	},
	{
		id: "F73", fault: "45009, though the quota call says that there is some left",
		expected: "held quota until the next minute", ends: "4 sent", posts: span{1, 3},
		options: apps(2),
		run:     quotaHold(45009, gate.NextMinute, time.Second),
	},
	{
		id: "F74", fault: "45011: the minute's quota is used up",
		expected: "held quota until the next minute; other apps send; no attempt spent",
		ends:     "4 sent", posts: span{1, 3}, options: apps(2),
		run: quotaHold(45011, gate.NextMinute, time.Second),
	},
	{
		id: "F75", fault: "45015, 45047: the window is closed, the allowance used",
		expected: "letter recipient at once", ends: "2 dead recipient", posts: span{1, 1},
		run: always(codes(45015, 45047)...),
	},
	{
		id: "F76", fault: "40003; 40004 to 40009",
		expected: "letter recipient; letters rejected; at once",
		ends:     "1 dead recipient, 6 dead rejected", posts: span{1, 1},
		run: always(codes(40003, 40004, 40005, 40006, 40007, 40008, 40009)...),
	},
	{
		id: "F77", fault: "48001, 48004, 50002: no permission, banned, limited",
		expected: "held config; other apps send; goes on; no attempt spent", ends: "8 sent",
		posts: span{1, 3}, options: apps(4),
		run: holdsAndLifts(gate.Config, sandbox.Rule{Call: sandbox.CallSend, Errcode: 48001},
			sandbox.Rule{Call: sandbox.CallSend, Errcode: 48004},
			sandbox.Rule{Call: sandbox.CallSend, Errcode: 50002}),
	},
	{
		id: "F77", fault: "40200 to one msgmenu, before 50 texts to 50 users",
		expected: "texts go on within seconds; it is rejected after its second try, the " +
			"app stays open", ends: "1 dead rejected, 50 sent", posts: span{1, 3},
		run: oneBadMessage(selectiveAPI{40200, sandbox.Rule{MsgType: "msgmenu"}, menu}),
	},
	{
		id: "F77", fault: "50002 to one openid, 65400 to one kf_account, 48001 and 45103 to one " +
			"message type, 40013 inside a miniprogrampage",
		expected: "as 40200", ends: "5 dead rejected, 250 sent", posts: span{1, 3},
		options: apps(5),
		run: oneBadMessage(
			selectiveAPI{50002, sandbox.Rule{OpenID: "bad0"}, text},
			selectiveAPI{65400, sandbox.Rule{Contains: "test1@kefu"}, ofKFAccount},
			selectiveAPI{48001, sandbox.Rule{MsgType: "msgmenu"}, menu},
			selectiveAPI{45103, sandbox.Rule{MsgType: "msgmenu"}, menu},
			selectiveAPI{40013, sandbox.Rule{MsgType: "miniprogrampage"}, miniProgramPage}),
	},
	{
		id: "F77", fault: "40200 to every tenth of a campaign of 1,000",
		expected: "these are rejected, each after its second try; the others go on at their rate",
		ends:     "100 dead rejected, 900 sent", posts: span{1, 3}, run: tenthRefused,
		options: defaults("rate: {per_second: 200, burst: 20}"),
	},
	{
		id: "F77", fault: "40200, 48001 and 50002 to every send of an app each",
		expected: "held config, nothing dead; tried with growing pauses by messages that did not " +
			"draw it; then all sent", ends: "120 sent", posts: span{1, 3},
		options: stage.Options{Apps: tenApps[:3], Defaults: []string{"concurrency: 4"}},
		run:     everySendRefused(40200, 48001, 50002),
	},
	{
		id: "F78", fault: "−1 twice; −1 for ever",
		expected: "sent with the third attempt; exhausted with the sixth",
		ends:     "1 dead exhausted, 1 sent", posts: span{3, 6},
		run: func(s *scene) {
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "twice", Times: 2, Errcode: -1})
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "forever", Errcode: -1})
			s.Start()
			s.send("twice")
			s.sendBulk("forever")
			s.Drained()
		},
	},
	{
		id: "F79", fault: "errcode 99999, never seen before",
		expected: "two attempts, then rejected with the raw code", ends: "1 dead rejected",
		posts: span{2, 2},
		run: func(s *scene) {
			always(codes(99999)...)(s)
			s.Equal(99999, *s.Letters()[0].Errcode)
			s.Equal("2", metric(s, s.Worker(),
				fmt.Sprintf("kefu_api_calls_total{app=%q,outcome=\"unlisted\"}", stage.App)))
		},
	},
	{
		id:       "F79",
		fault:    "40234, 61014 and 99999, which is not listed, to every send of an app each",
		expected: "held config, the code named, nothing dead; then all sent", ends: "120 sent",
		posts: span{1, 3},
		options: stage.Options{Apps: tenApps[:3],
			Defaults: []string{"concurrency: 4",
				"retry: {attempts: 6, first: 5s, cap: 5s}"}},
		run: everySendRefused(40234, 61014, 99999),
	},
}

// holdsAndLifts has each rule hold an app of its own, and lifts that again. The last app, if there
// is one more than rules, sends meanwhile.
func holdsAndLifts(kind gate.Kind, rules ...sandbox.Rule) func(*scene) {
	return func(s *scene) {
		for i, r := range rules {
			r.AppID = s.Apps()[i]
			s.API.Add(r)
		}
		s.Start()
		each := 1
		if len(rules) < len(s.Apps()) || rules[0].Call == sandbox.CallToken {
			each = 2
		}
		for i, app := range s.Apps() {
			for n := range each {
				s.sendTo(app, fmt.Sprintf("app%duser%d", i, n))
			}
		}
		for i, r := range rules {
			h := s.held(s.Apps()[i], kind)
			if r.Errcode != 0 {
				s.Equal(r.Errcode, h.Errcode)
			}
			s.note("%s", h.Reason)
			s.EqualValues(each, s.Stored(schema.SendStream(s.Apps()[i])), "everything stays queued")
		}
		if free := s.Apps()[len(rules):]; len(free) > 0 {
			s.until("the other app has sent", func() bool {
				return s.Stored(schema.SendStream(free[0])) == 0
			})
		}
		s.restore(s.Apps()[:len(rules)]...)
	}
}

// selectiveAPI is an API that answers with an errcode to some messages only, and such a message.
type selectiveAPI struct {
	errcode int
	rule    sandbox.Rule
	packet  func(openID string) string
}

func menu(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"msgmenu",`+
		`"msgmenu":{"head_content":"h","list":[{"id":"101","content":"a"}]}}`, openID)
}

func ofKFAccount(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"hello"},`+
		`"customservice":{"kf_account":"test1@kefu"}}`, openID)
}

func miniProgramPage(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"miniprogrampage","miniprogrampage":`+
		`{"title":"t","appid":"wxbad","pagepath":"p","thumb_media_id":"m"}}`, openID)
}

// oneBadMessage has one bad message for each app, and then 50 texts.
func oneBadMessage(all ...selectiveAPI) func(*scene) {
	const texts = 50
	return func(s *scene) {
		for i, p := range all {
			p.rule.Call, p.rule.AppID, p.rule.Errcode = sandbox.CallSend, s.Apps()[i], p.errcode
			s.API.Add(p.rule)
		}
		s.Start()
		begin := time.Now()
		for i, p := range all {
			bad := fmt.Sprint("bad", i)
			s.accept(bad, schema.LiveSubject(s.Apps()[i], bad).String(), p.packet(bad))
		}
		for n := range texts {
			for i := range all {
				s.sendTo(s.Apps()[i], fmt.Sprintf("app%duser%d", i, n))
			}
		}
		s.Drained()
		var last time.Time
		for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
			if !strings.HasPrefix(r.OpenID, "bad") && r.At.After(last) {
				last = r.At
			}
		}
		s.note("the last text after %s", last.Sub(begin).Round(100*time.Millisecond))
		for _, l := range s.Letters() {
			s.Equal(all[slices.Index(s.Apps(), l.AppID)].errcode, *l.Errcode)
		}
		for i := range all {
			s.Regexp(`(?m)^state +open$`, s.kefu("app", "status", s.Apps()[i]))
		}
	}
}

func tenthRefused(s *scene) {
	const intents, perSecond = 1000, 200
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, MsgType: "msgmenu", Errcode: 40200})
	s.Start()
	begin := time.Now()
	for i := range intents {
		id := fmt.Sprint("user", i)
		if i%10 == 7 {
			s.accept(id, stage.Bulk+"campaign", menu(id))
		} else {
			s.sendBulk(id)
		}
	}
	s.Drained()
	took := time.Since(begin)
	s.Less(took, 4*intents*time.Second/perSecond, "it stands still")
	s.note("all within %s at %d/s, %.2f posts for each", took.Round(100*time.Millisecond),
		perSecond, float64(s.API.Stats().Sends)/intents)
}

// everySendRefused answers with an errcode to every send of an app each, and then no more.
func everySendRefused(codes ...int) func(*scene) {
	const slots, texts = 4, 20
	return func(s *scene) {
		for i, c := range codes {
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[i], Errcode: c})
		}
		s.Start()
		begin := time.Now()
		for n := range texts {
			for i, app := range s.Apps() {
				s.sendTo(app, fmt.Sprintf("app%duser%d", i, n))
				id := fmt.Sprintf("app%dmenu%d", i, n)
				s.accept(id, schema.BulkSubject(app, "campaign").String(), menu(id))
			}
		}
		tries := 3
		if *full {
			tries = 6
		}
		for i, c := range codes {
			var h gate.Hold
			posts := 0
			s.until(fmt.Sprintf("it was tried %d times", tries), func() bool {
				// Before the tries are read, which may be more by then.
				posts = s.API.CountBy(sandbox.ByAppID,
					sandbox.Filter{Call: sandbox.CallSend, AppID: s.Apps()[i]})[s.Apps()[i]]
				h = s.held(s.Apps()[i], gate.Config)
				return h.Tries >= tries
			})
			s.Equal(c, h.Errcode)
			s.NotEmpty(h.Refusals)
			s.LessOrEqual(posts, slots+2+h.Tries+1,
				"what was under way, after two that were no row yet if kefu does not know the "+
					"code, and a trial each")
			s.note("%d: %d posts in %s", c, posts, time.Since(begin).Round(time.Second))
		}
		// one that moves may be in both, or be counted in neither
		s.until("everything is queued, or waits for its second try", func() bool {
			return s.Queued()+s.Stored(wire.StreamLater) == uint64(2*texts*len(codes))
		})
		s.API.RemoveRules()
		for _, app := range s.Apps() {
			s.kefu("app", "resume", app)
		}
		s.Drained()
		s.Empty(s.Letters())
	}
}

// restore has the API answer as ever, and lets held apps try.
func (s *scene) restore(apps ...string) {
	s.T.Helper()
	s.API.RemoveRules()
	for _, app := range apps {
		s.kefu("app", "resume", app)
	}
	s.Drained()
	s.Empty(s.Letters())
	s.noAttemptSpent()
}

// lateReset reports whether a hold to the platform's midnight is tried again in a moment, since the
// midnight before was less than an hour ago: the hour at which this is run decides.
func lateReset(h gate.Hold, due time.Time) bool {
	midnight := gate.NextDay(h.Since)
	return due.Equal(midnight) && h.Since.Sub(midnight.AddDate(0, 0, -1)) < time.Hour &&
		h.Until.Sub(h.Since) <= time.Minute+time.Second
}

// quotaHold draws a quota hold and checks its end.
func quotaHold(code int, end func(time.Time) time.Time, slack time.Duration) func(*scene) {
	return func(s *scene) {
		s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[0], Errcode: code})
		s.Start()
		for i, app := range s.Apps() {
			for n := range 2 {
				s.sendTo(app, fmt.Sprintf("app%duser%d", i, n))
			}
		}
		h := s.held(s.Apps()[0], gate.Quota)
		s.Equal(code, h.Errcode)
		// not of Since: the minute may have ended, and the hold with it
		if due := end(h.Until.Add(-slack - 1)); !lateReset(h, due) {
			s.WithinRange(h.Until, due, due.Add(slack))
		}
		s.until("the other app has sent", func() bool {
			return s.Stored(schema.SendStream(s.Apps()[1])) == 0
		})
		if *full && slack == time.Second { // it ends by itself
			s.API.RemoveRules()
			s.Drained()
		}
		s.API.SetUsed(s.Apps()[0], sandbox.CallSend, 0)
		s.restore(s.Apps()[0])
	}
}

package sandbox

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhenARuleActs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		rule Rule
		want string // one letter per call: x acts, . does not
	}{
		{"a bare rule acts always", Rule{}, "xxxxxxxx"},
		{"after 3 it begins with the fourth", Rule{After: 3}, "...xxxxx"},
		{"times 2 it acts twice", Rule{Times: 2}, "xx......"},
		{"the fifth call alone", Rule{After: 4, Times: 1}, "....x..."},
		{"every third", Rule{Every: 3}, "..x..x.."},
		{"every 1 is each", Rule{Every: 1}, "xxxxxxxx"},
		{"every second after two, three times", Rule{After: 2, Every: 2, Times: 2}, "...x.x.."},
		{"a share of 1 is all", Rule{Share: 1}, "xxxxxxxx"},
		{"a share is drawn from the seed", Rule{Share: 0.5}, "x.....xx"},
		{"a share limited in times", Rule{Share: 0.5, Times: 2}, "x.....x."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newScript(7)
			s.add(tc.rule)
			got := ""
			for range 8 {
				if _, ok := s.match(&request{route: tokenRoute}); ok {
					got += "x"
				} else {
					got += "."
				}
			}
			require.Equal(t, tc.want, got)
		})
	}
}

func TestWhatARuleSelects(t *testing.T) {
	t.Parallel()
	q := request{
		route: sendRoute, appID: app, openID: "oUser1", msgType: "text",
		body: message("oUser1", "hello"),
	}
	for _, tc := range []struct {
		name string
		rule Rule
		want bool
	}{
		{"an empty rule selects everything", Rule{}, true},
		{"the call by name", Rule{Call: "send"}, true},
		{"the call by path", Rule{Call: "/cgi-bin/message/custom/send"}, true},
		{"another call", Rule{Call: "token"}, false},
		{"the app", Rule{AppID: app}, true},
		{"another app", Rule{AppID: "wx2"}, false},
		{"the recipient", Rule{OpenID: "oUser1"}, true},
		{"another recipient", Rule{OpenID: "oUser"}, false},
		{"the type", Rule{MsgType: "text"}, true},
		{"another type", Rule{MsgType: "news"}, false},
		{"a part of the body", Rule{Contains: `"hello"`}, true},
		{"no part of the body", Rule{Contains: "hallo"}, false},
		{"all conditions must hold",
			Rule{Call: "send", OpenID: "oUser1", Contains: "hallo"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tc.want, tc.rule.selects(&q))
		})
	}
}

func TestTheFirstRuleWhoseTurnItIsActsAlone(t *testing.T) {
	t.Parallel()
	b := start(t, Options{})
	b.Add(Rule{Call: CallSend, OpenID: "spared"})
	first := b.Add(Rule{Call: CallSend, Errcode: 45015, Times: 1})
	b.Add(Rule{Call: CallSend, Errcode: -1, Every: 2})
	require.Equal(t, 45015, b.send("oUser1", "1").code)
	require.Equal(t, 0, b.send("oUser1", "2").code)
	require.Equal(t, 0, b.send("spared", "3").code)
	require.Equal(t, -1, b.send("oUser1", "4").code)

	var seen, hits []int
	for _, r := range b.Rules() {
		seen, hits = append(seen, r.Seen), append(hits, r.Hits)
	}
	require.Equal(t, []int{1, 3, 2}, seen)
	require.Equal(t, []int{1, 1, 1}, hits)
	require.Equal(t, []int{2, 0, 1, 3},
		[]int{b.Received()[0].Rule, b.Received()[1].Rule, b.Received()[2].Rule,
			b.Received()[3].Rule})

	require.True(t, b.Remove(first))
	require.False(t, b.Remove(first))
	require.Len(t, b.Rules(), 2)
	b.Reset()
	require.Empty(t, b.Rules())
	require.Empty(t, b.Received())
	require.Zero(t, b.send("oUser1", "the token has survived").code)
}

func TestTheSameSeedGivesTheSameAnswers(t *testing.T) {
	t.Parallel()
	answers := func(seed uint64) (codes []int, delays []time.Duration) {
		s := New(Options{Seed: seed, Latency: Latency{time.Millisecond, time.Second}})
		s.Grant(app, "t")
		s.Add(Rule{Call: CallSend, Errcode: -1, Share: 0.3})
		s.Add(Rule{Call: CallSend, Errcode: 45047, Share: 0.3, Delay: time.Second,
			DelayMax: time.Minute})
		for range 200 {
			q := request{route: sendRoute, method: "POST", size: 1}
			hit, _ := s.script.match(&q)
			o := s.decide(&q, hit)
			codes, delays = append(codes, o.errcode), append(delays, o.delay)
		}
		return codes, delays
	}
	codes, delays := answers(1)
	again, delaysAgain := answers(1)
	other, _ := answers(2)
	require.Equal(t, codes, again)
	require.Equal(t, delays, delaysAgain)
	require.NotEqual(t, codes, other)
	for i, d := range delays {
		if codes[i] == 45047 {
			require.True(t, time.Second <= d && d <= time.Minute)
		} else {
			require.True(t, time.Millisecond <= d && d <= time.Second)
		}
	}
}

func TestAShareIsAShare(t *testing.T) {
	t.Parallel()
	s := newScript(0)
	s.add(Rule{Share: 0.05})
	for range 100_000 {
		s.match(&request{route: tokenRoute})
	}
	require.InDelta(t, 5000, s.status()[0].Hits, 250)
}

func TestImpossibleRulesAreRefused(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		rule Rule
		want string
	}{
		{"two endings",
			Rule{Hang: true, Reset: ResetAfter}, "rule: reset, hang exclude each other"},
		{"three endings", Rule{Truncate: 1, Drip: 1, PadBody: 1},
			"rule: truncate, drip, pad_body exclude each other"},
		{"an unknown reset", Rule{Reset: "later"}, "rule: reset: not unread, before or after"},
		{"an unread reset by recipient",
			Rule{Reset: ResetUnread, OpenID: "o"},
			"rule: reset: unread cannot go by openid, msgtype or contains, " +
				"which stand in the body"},
		{"a negative number", Rule{Times: -1}, "rule: after, times, every: below zero"},
		{"a share above one", Rule{Share: 5}, "rule: share: not within 0..1"},
		{"a range upside down", Rule{Delay: 2, DelayMax: 1}, "rule: delay_max: below delay"},
		{"a negative delay", Rule{Delay: -1}, "rule: delay, delay_max, drip: below zero"},
		{"an impossible status", Rule{HTTPStatus: 99}, "rule: http_status: not within 200..599"},
		{"an errmsg without errcode", Rule{Errmsg: "x"}, "rule: errmsg: without errcode"},
		{"two bodies", Rule{Errcode: 1, Body: "x"}, "rule: errcode, body: exclude each other"},
		{"raw bytes with a status",
			Rule{Raw: "x", HTTPStatus: 200},
			"rule: raw: excludes errcode, body, http_status, redirect and headers"},
		{"raw bytes cut off",
			Rule{Raw: "x", Truncate: 1}, "rule: truncate, raw exclude each other"},
		{"headers without end and a body",
			Rule{EndlessHeader: true, Body: "x"},
			"rule: endless_header: excludes errcode, body, http_status, redirect and headers"},
		{"headers without end and a hang",
			Rule{EndlessHeader: true, Hang: true}, "rule: hang, endless_header exclude each other"},
		{"to lose what a reset keeps away",
			Rule{Lose: true, Reset: ResetBefore},
			"rule: lose: the rule does not let the call be processed"},
		{"to lose behind another answer",
			Rule{Lose: true, Errcode: -1},
			"rule: lose: the rule does not let the call be processed"},
		{"to lose and deliver",
			Rule{Lose: true, Delivered: true}, "rule: lose, delivered: exclude each other"},
		{"a bomb with a body",
			Rule{GzipBomb: 1, Body: "x"}, "rule: gzip_bomb: excludes body and errcode"},
		{"a redirect that is none",
			Rule{Redirect: "/", HTTPStatus: 200}, "rule: redirect: http_status is not 3xx"},
		{"a delivery that was never read",
			Rule{Delivered: true, Reset: ResetBefore},
			"rule: delivered: not with a reset before processing"},
		{"a negative size",
			Rule{PadHeader: -1}, "rule: pad_header, pad_body, gzip_bomb, truncate: below zero"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			require.EqualError(t, tc.rule.Check(), tc.want)
			require.PanicsWithValue(t, "sandbox: "+tc.want, func() { New(Options{}).Add(tc.rule) })
		})
	}
}

func TestRulesInJSON(t *testing.T) {
	t.Parallel()
	full := Rule{
		Call: "send", AppID: app, OpenID: "o", MsgType: "text", Contains: "<", After: 1, Times: 2,
		Every: 3, Share: 0.5,
		Delay: 50 * time.Millisecond, DelayMax: 2 * time.Second, ExpireTokens: true, Errcode: -1,
		Errmsg: "m", Body: "b", HTTPStatus: 502,
		Redirect: "/", GzipBomb: 1, ContentType: "text/html", RetryAfter: "5",
		Headers: map[string]string{"A": "b"}, PadHeader: 1, PadBody: 2,
		Reset: "after", Hang: true, Truncate: 3, Drip: time.Second, HangUp: true, Delivered: true,
	}
	raw, err := json.Marshal(full)
	require.NoError(t, err)
	require.Contains(t, string(raw), `"delay":"50ms","delay_max":"2s","drip":"1s"`)
	var back Rule
	require.NoError(t, json.Unmarshal(raw, &back))
	require.Equal(t, full, back)

	raw, err = json.Marshal(Rule{Call: "send"})
	require.NoError(t, err)
	require.JSONEq(t, `{"call":"send"}`, string(raw))

	require.ErrorContains(t, json.Unmarshal([]byte(`{"open_id":"o"}`), &back),
		`unknown field "open_id"`)
	require.ErrorContains(t, json.Unmarshal([]byte(`{"delay":"soon"}`), &back),
		`"soon" is no duration such as 150ms or 2s`)
	require.Error(t, json.Unmarshal([]byte(`{"delay":50}`), &back), "fifty of what?")
}

//go:build faults

package faults

import (
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// packets publishes an intent for each recipient and waits for all ends.
func packets(byOpenID map[string]string) func(*scene) {
	return func(s *scene) {
		s.Start()
		for openID, packet := range byOpenID {
			s.accept(openID, stage.Live+openID, packet)
		}
		s.Drained()
	}
}

// packet returns a text message with further fields, or with a field in place of the text.
func packet(openID, rest string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text",%s}`, openID, rest)
}

var contentRows = []row{
	{
		id: "F90", fault: "bytes that are no UTF-8 in a text",
		expected: "letter invalid, with the very bytes", ends: "1 dead invalid", posts: span{0, 0},
		run: func(s *scene) {
			broken := packet("one", "\"text\":{\"content\":\"\xff\xfe\"}")
			packets(map[string]string{"one": broken})(s)
			s.Equal(broken, string(s.Letters()[0].Packet()))
		},
	},
	{
		id:       "F91",
		fault:    "keys that come twice, that differ in letter case, or only by Unicode's folding",
		expected: "letter invalid", ends: "4 dead invalid", posts: span{0, 0},
		run: packets(map[string]string{
			"twice":  packet("twice", `"text":{"content":"a"},"touser":"somebody"`),
			"case":   packet("case", `"text":{"content":"a"},"ToUser":"somebody"`),
			"inside": packet("inside", `"text":{"content":"a","Content":"b"}`),
			"kelvin": packet("kelvin", `"text":{"content":"a"},"kf":1,"`+"\u212a"+`f":2`),
		}),
	},
	{
		id: "F92", fault: "20,000 brackets deep, 6,000 keys, a number of 60,000 digits, a text " +
			"without an end",
		expected: "what is JSON by the rules is sent digit for digit, the rest is invalid",
		ends:     "2 dead invalid, 2 sent", posts: span{0, 1}, run: hostile,
	},
	{
		id:       "F93",
		fault:    "an unknown msgtype and required fields that are missing or of another type",
		expected: "letter invalid that names the field and holds no value in its reason",
		ends:     "5 dead invalid", posts: span{0, 0}, run: missingFields,
	},
	{
		id: "F94", fault: "markup, bidi marks and line breaks (\\n) in a text; raw line breaks, " +
			"NUL and escape characters in texts and headers",
		expected: "sent as given where legal, else invalid; nothing of it reaches log or terminal",
		ends:     "4 dead invalid, 1 sent", posts: span{0, 1}, run: inert,
	},
	{
		id: "F95", fault: "a deadline that has passed before, while the app is held, and before " +
			"the next attempt",
		expected: "letter expired, never sent late", ends: "3 dead expired", posts: span{0, 1},
		run:     deadlines,
		options: stage.Options{Defaults: []string{"retry: {attempts: 6, first: 100s, cap: 5m}"}},
	},
	{
		id: "F96", fault: "a header of a later version",
		expected: "letter invalid: a typo looks the same", ends: "1 dead invalid",
		posts: span{0, 0},
		run: func(s *scene) {
			s.Start()
			s.send("one", "Kefu-Schema", "2")
			s.Drained()
			s.Contains(s.Letters()[0].Detail, "Kefu-Schema")
		},
	},
	{
		id: "F97", fault: "texts of 2,048 and 2,049 bytes, in Chinese and in emoji",
		expected: "counted in bytes of UTF-8: sent, invalid", ends: "2 dead invalid, 2 sent",
		posts: span{0, 1},
		run: packets(map[string]string{
			"chinese": packet("chinese", `"text":{"content":"`+strings.Repeat("客", 682)+`ab"}`),
			"chineseover": packet("chineseover",
				`"text":{"content":"`+strings.Repeat("客", 683)+`"}`),
			"emoji":     packet("emoji", `"text":{"content":"`+strings.Repeat("🙂", 512)+`"}`),
			"emojiover": packet("emojiover", `"text":{"content":"`+strings.Repeat("🙂", 512)+`a"}`),
		}),
	},
}

func hostile(s *scene) {
	var keys strings.Builder
	for i := range 6_000 {
		fmt.Fprintf(&keys, `,"%x":0`, i)
	}
	digits := "1" + strings.Repeat("0", 60_000) + "e400"
	since := time.Now()
	packets(map[string]string{
		"deep": packet("deep",
			`"text":{"content":"a"},"x":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)),
		"keys":   packet("keys", `"text":{"content":"a"}`+keys.String()),
		"number": packet("number", `"text":{"content":"a"},"x":`+digits),
		"endless": strings.TrimSuffix(packet("endless",
			`"text":{"content":"a"},"x":"`+strings.Repeat(`\u4e2d`, 10_000)), "}"),
	})(s)
	got := s.API.Newest(sandbox.Filter{OpenID: "number"}, 1)
	s.Len(got, 1)
	s.True(strings.Contains(got[0].Body, digits), "the number is not what it was")
	s.note("all within %s", time.Since(since).Round(time.Second))
}

func missingFields(s *scene) {
	packets(map[string]string{
		"msgtype":  `{"touser":"msgtype","msgtype":"CANARYTYPE","text":{"content":"CANARYTEXT"}}`,
		"empty":    packet("empty", `"text":{}`),
		"number":   packet("number", `"text":{"content":7}`),
		"media":    `{"touser":"media","msgtype":"image","image":{"media":"CANARYTEXT"}}`,
		"articles": `{"touser":"articles","msgtype":"news","news":{"articles":[]}}`,
	})(s)
	fields := map[string]string{
		"msgtype": "msgtype", "empty": "text.content", "number": "text.content",
		"media": "image.media_id", "articles": "news.articles",
	}
	for _, l := range s.Letters() {
		s.True(strings.HasPrefix(l.Detail, fields[l.ID]+":"), "%s: %s", l.ID, l.Detail)
		s.NotContains(l.Detail, "CANARYTEXT")
	}
	s.NotContains(s.Output.String(), "CANARYTEXT")
}

func inert(s *scene) {
	const bidi = "\u202e"
	odd := `<b>&amp;</b><script>x</script>` + bidi + `\r\n\t`
	s.Start()
	for openID, text := range map[string]string{"odd": odd, "raw": "a\r\nb\tc", "nul": `a\u0000b`,
		"escape": `a\u001b[31mb`} {
		s.accept(openID, stage.Live+openID, packet(openID, `"text":{"content":"`+text+`"}`))
	}
	s.send("header", "Kefu-Source", "a\x1b[31m"+bidi)
	s.Drained()
	got := s.API.Newest(sandbox.Filter{OpenID: "odd"}, 1)
	s.Len(got, 1)
	s.JSONEq(packet("odd", `"text":{"content":"`+odd+`"}`), got[0].Body)
	for _, l := range s.Letters() {
		s.kefu("dead", "show", "--app", stage.App, l.ID)
		s.kefu("dead", "show", "--app", stage.App, "--reveal", l.ID)
	}
	s.kefu("dead", "list")
	for _, c := range []string{"\x00", "\x1b", bidi} {
		s.False(strings.Contains(s.Output.String(), c), "%q reached a log or a terminal", c)
	}
}

func deadlines(s *scene) {
	p := s.Start()
	at := func(d time.Duration) (time.Time, string) {
		t := time.Now().Add(d)
		return t, t.UTC().Format(time.RFC3339Nano)
	}
	_, past := at(-time.Second)
	s.send("past", "Kefu-Expires-At", past)
	// An attempt is made at once, the next one would come after 80 s at the earliest.
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, OpenID: "retry", Errcode: -1})
	_, soon := at(time.Minute)
	s.send("retry", "Kefu-Expires-At", soon)
	s.Drained()
	s.pause(p, stage.App)
	end, soon := at(time.Second)
	s.send("held", "Kefu-Expires-At", soon)
	s.until("its deadline has passed", func() bool { return time.Now().After(end) })
	s.EqualValues(1, s.Queued())
	s.kefu("app", "resume", stage.App)
	s.Drained()
	s.Equal(map[string]int{"retry": 1}, s.Posts())
}

package deadletter

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

func TestFilterMatch(t *testing.T) {
	t.Parallel()
	l := letter("order-1", bulk("double-11"), of(schema.ReasonRecipient), code(45015))
	l.Source, l.Errmsg, l.Generation = "shop", "Response out of time limit", 2
	tests := []struct {
		name   string
		filter Filter
		want   bool
	}{
		{"no filter chooses all", Filter{}, true},
		{"its app", Filter{AppID: app}, true},
		{"another app", Filter{AppID: "wx2"}, false},
		{"one of several ids", Filter{IDs: []string{"order-2", "order-1"}}, true},
		{"another id", Filter{IDs: []string{"order"}}, false},
		{"one of several reasons",
			Filter{Reasons: []schema.Reason{schema.ReasonExpired, schema.ReasonRecipient}}, true},
		{"another reason", Filter{Reasons: []schema.Reason{schema.ReasonExpired}}, false},
		{"its errcode", Filter{Errcodes: []int{45047, 45015}}, true},
		{"another errcode", Filter{Errcodes: []int{0}}, false},
		{"its lane", Filter{Lane: schema.LaneBulk}, true},
		{"the other lane", Filter{Lane: schema.LaneLive}, false},
		{"its campaign", Filter{Campaign: "double-11"}, true},
		{"a part of its campaign is not it", Filter{Campaign: "double"}, false},
		{"its source", Filter{Source: "shop"}, true},
		{"another source", Filter{Source: "crm"}, false},
		{"its recipient", Filter{OpenID: openid}, true},
		{"another recipient", Filter{OpenID: "oX"}, false},
		{"its generation", Filter{Generation: 2}, true},
		{"another generation", Filter{Generation: 1}, false},
		{"died at the begin of the time", Filter{Since: noon}, true},
		{"died before the time", Filter{Since: noon.Add(time.Second)}, false},
		{"died in the time", Filter{Until: noon.Add(time.Second)}, true},
		{"died at the end of the time, which is not in it", Filter{Until: noon}, false},
		{"a word of the errmsg in other case", Filter{Text: "OUT OF time"}, true},
		{"a word of the detail", Filter{Text: "busy"}, true},
		{"a word of neither", Filter{Text: "quota"}, false},
		{"all of several conditions",
			Filter{AppID: app, Lane: schema.LaneBulk, Text: "busy"}, true},
		{"one of several conditions fails",
			Filter{AppID: app, Lane: schema.LaneLive, Text: "busy"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, tt.filter.Match(l))
			if tt.want {
				body, err := encode(l, 0)
				require.NoError(t, err)
				require.True(t, tt.filter.quickMatch()(body), "a glance must let pass what matches")
			}
		})
	}
	require.False(t, Filter{Errcodes: []int{0}}.Match(letter("no-answer")),
		"no answer is not errcode 0")
}

func TestGlanceKnowsHowIDsAreWritten(t *testing.T) {
	t.Parallel()
	for _, id := range []string{`a"b\c`, `<&>`, "a b", "~"} {
		body, err := encode(letter(id), 0)
		require.NoError(t, err)
		require.True(t, Filter{IDs: []string{id}}.quickMatch()(body), id)
	}
	body, err := encode(letter("a"), 0)
	require.NoError(t, err)
	require.False(t, Filter{IDs: []string{"b"}}.quickMatch()(body))
	require.False(t, Filter{OpenID: "oX"}.quickMatch()(body))

	body, err = encode(letter("a", code(-1)), 0)
	require.NoError(t, err)
	require.True(t, Filter{Errcodes: []int{45015, -1}}.quickMatch()(body))
	require.False(t, Filter{Errcodes: []int{45015}}.quickMatch()(body))
	require.False(t, Filter{IDs: []string{"b"}, Errcodes: []int{-1}}.quickMatch()(body))
	require.True(t, Filter{Errcodes: []int{1, 2, 3, 4, 5, 6, 8, 9, 10}}.quickMatch()(body),
		"with so many it is quicker to look")
}

func TestFilterSubject(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		filter Filter
		want   string
	}{
		{"everything", Filter{}, "kefu.dead.*.*"},
		{"one app", Filter{AppID: app}, "kefu.dead." + app + ".*"},
		{"one reason",
			Filter{Reasons: []schema.Reason{schema.ReasonIDReuse}}, "kefu.dead.*.id-reuse"},
		{"several reasons have no common subject",
			Filter{Reasons: schema.Reasons()}, "kefu.dead.*.*"},
		{"a wildcard is no app", Filter{AppID: ">"}, "kefu.dead.*.*"},
		{"a crafted reason stays out", Filter{Reasons: []schema.Reason{"x.>"}}, "kefu.dead.*.*"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, tt.filter.Subject())
		})
	}
}

func TestFilterInWords(t *testing.T) {
	t.Parallel()
	require.True(t, Filter{}.IsZero())
	require.False(t, Filter{Lane: schema.LaneLive}.IsZero())
	f := Filter{
		AppID: app, IDs: []string{"a", "b"},
		Reasons:  []schema.Reason{schema.ReasonExpired, schema.ReasonUnknown},
		Errcodes: []int{-1},
		Lane:     schema.LaneBulk, Campaign: "c", Source: "s", OpenID: openid, Generation: 2,
		Since: noon, Until: noon.Add(time.Hour),
		Text: "about " + openid,
	}
	p := broker.NewPseudonyms([]byte("the pool's key"))
	hashed := "#" + p.Of(openid)
	words := f.Words(p)
	require.NotContains(t, words, openid)
	require.NotContains(t, f.Words(broker.NewPseudonyms([]byte("another key"))), hashed,
		"a plain hash could be reversed with the list of followers")
	require.Equal(t, "app="+app+
		" id=a,b reason=expired,unknown errcode=-1 lane=bulk campaign=c source=s openid="+hashed+
		" generation=2 since=2026-11-24T12:00:00Z until=2026-11-24T13:00:00Z text=\"about "+
		hashed+"\"", words)
	require.Contains(t, Filter{IDs: make([]string, 25)}.Words(p), " and 5 more")
}

func TestTheAttemptsOfALetter(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		numbers []int
		want    int
	}{
		"none was made":                       {nil, 0},
		"each is in the letter":               {[]int{1, 2}, 2},
		"what came of the first is forgotten": {[]int{2, 3}, 3},
		"they have no numbers":                {[]int{0, 0}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := letter("a")
			l.Attempts = nil
			for _, n := range tt.numbers {
				l.Attempts = append(l.Attempts, schema.Attempt{Number: n})
			}
			require.Equal(t, tt.want, AttemptsOf(l))
		})
	}
}

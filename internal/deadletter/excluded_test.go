package deadletter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestWhichConditionExcludesMost(t *testing.T) {
	t.Parallel()
	late := func(id string) *schema.Letter {
		return letter(id, of(schema.ReasonRecipient), code(45015))
	}
	box := []*schema.Letter{
		late("a"), late("b"), late("c"), letter("d", of(schema.ReasonRecipient), code(45047)),
		letter("e", code(-1), bulk("double-11")), letter("f", died(noon.Add(time.Hour))),
	}
	for _, tt := range []struct {
		name   string
		filter Filter
		want   Exclusion
	}{
		{"an errcode that none has", Filter{Errcodes: []int{40001}}, Exclusion{"errcode", "40001", 6, 6,
			[]string{"45015", "-1", "45047"},
			noon, noon.Add(time.Hour)}},
		{"an app that none is of", Filter{AppID: "wx2", Errcodes: []int{45015}},
			Exclusion{"app", "wx2", 6, 3, []string{app}, noon, noon}},
		{"the last of several, of what the others choose",
			Filter{Reasons: []schema.Reason{schema.ReasonRecipient}, Lane: schema.LaneBulk,
				Errcodes: []int{45015}}, Exclusion{"lane", "bulk", 5, 3, []string{"live"}, noon, noon}},
		{"no single one, and then of all",
			Filter{Lane: schema.LaneBulk, Source: "shop", Errcodes: []int{45047}},
			Exclusion{"source", "shop", 6, 0, nil, noon, noon.Add(time.Hour)}},
		{"what keeps out the one that is named", Filter{IDs: []string{"d"}, Errcodes: []int{45015}},
			Exclusion{"errcode", "45015", 3, 1, []string{"45047"}, noon, noon}},
		{"the id that none has", Filter{IDs: []string{"x"}, Errcodes: []int{45015}},
			Exclusion{"id", "x", 6, 3, nil, noon, noon}},
		{"a time", Filter{Until: noon}, Exclusion{"until", "2026-11-24T12:00:00Z", 6, 6, nil, noon,
			noon.Add(time.Hour)}},
		{"attempts", Filter{MinAttempts: 2},
			Exclusion{"min-attempts", "2", 6, 6, []string{"0"}, noon, noon.Add(time.Hour)}},
		{"a recipient, who is not named", Filter{OpenID: "oX"},
			Exclusion{"openid", "", 6, 6, nil, noon, noon.Add(time.Hour)}},
		{"nor in a text", Filter{Text: "of " + openid},
			Exclusion{"text", "", 6, 6, nil, noon, noon.Add(time.Hour)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := newExcluded(tt.filter)
			for _, l := range box {
				require.False(t, tt.filter.Match(l))
				e.add(l)
			}
			got := e.exclusions()
			require.Equal(t, len(box), got.Looked)
			most, ok := got.Most()
			require.True(t, ok)
			require.Equal(t, tt.want, most)
		})
	}
	_, ok := newExcluded(Filter{}).exclusions().Most()
	require.False(t, ok)
	_, ok = newExcluded(Filter{AppID: app}).exclusions().Most()
	require.False(t, ok, "no letter was looked at")
}

func TestExclusionsAddUp(t *testing.T) {
	t.Parallel()
	r := random{rand.New(rand.NewPCG(9, 10))}
	for range 200 {
		f := r.filter(r.letter())
		e := newExcluded(f)
		failed := 0
		for range 20 {
			l := r.letter()
			e.add(l)
			if !f.Match(l) {
				failed++
			}
		}
		alone := 0
		for _, x := range e.exclusions().Of {
			require.LessOrEqual(t, x.Alone, x.Count)
			require.LessOrEqual(t, x.Count, failed)
			alone += x.Alone
		}
		require.LessOrEqual(t, alone, failed)
	}
}

func TestWhatLettersHaveInsteadIsBounded(t *testing.T) {
	t.Parallel()
	e := newExcluded(Filter{Campaign: "spring"})
	for i := range 2 * mostValues {
		e.add(letter("x", bulk(fmt.Sprint("campaign-", i))))
	}
	require.Len(t, e.all[0].values, mostValues)
	require.Len(t, e.exclusions().Of[0].Instead, 3)
}

func TestExcludedLooksAtTheWholeBox(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.bury(letter("a"), letter("b", of(schema.ReasonExpired)))
	got, err := b.box.Excluded(t.Context(), Filter{AppID: "wx2"})
	b.NoError(err)
	most, _ := got.Most()
	b.Equal(2, got.Looked)
	b.Equal(2, most.Alone)
	b.Equal([]string{app}, most.Instead)
}

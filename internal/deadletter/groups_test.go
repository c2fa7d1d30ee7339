package deadletter

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func errmsg(text string) func(*schema.Letter) {
	return func(l *schema.Letter) { l.Errmsg = text }
}

func detail(text string) func(*schema.Letter) {
	return func(l *schema.Letter) { l.Detail = text }
}

func died(at time.Time) func(*schema.Letter) {
	return func(l *schema.Letter) { l.DiedAt = at }
}

func TestWhatDiffersBetweenLettersOfOneGroup(t *testing.T) {
	for _, row := range []struct{ when, a, b string }{
		{"the rid", "invalid media_id rid: 6b04f11a-15c6e625-a5c11325",
			"invalid media_id rid: 6b0a9df3-fb52f886-8cc83aaf"},
		{"the hint", "invalid credential hint: [QtLwXA0842vr30!] rid: 6b04f11a",
			"invalid credential hints: [ req_id: 7Hb ] rid: 6b0a9df3"},
		{"a number", "text.content: 2049 bytes, at most 2048", "text.content: 3000 bytes, at most 2048"},
		{"an openid", "no such user oABCDEFGHIJKLMNOPQRSTUVWXYZ0", "no such user oabcdefghijklmnopqrstuvwxyz_"},
		{"an id of a producer's", "order order-4711 is unknown", "order order-4712 is unknown"},
		{"quoted text", `msgtype "vocie" is none`, `msgtype "imgae" is none`},
		{"an address", "dial tcp 10.0.0.1:443: connection refused",
			"dial tcp 10.0.0.2:443: connection refused"},
	} {
		require.Equal(t, withoutIDs(row.a), withoutIDs(row.b), row.when)
		require.NotContains(t, withoutIDs(row.a), "rid", row.when)
	}
}

func TestWhatKeepsLettersApart(t *testing.T) {
	one := letter("a", code(45015), errmsg("response out of time limit"))
	for what, other := range map[string]*schema.Letter{
		"the app":     letter("a", code(45015), errmsg("response out of time limit"), func(l *schema.Letter) { l.AppID = "wx2" }),
		"the reason":  letter("a", code(45015), errmsg("response out of time limit"), of(schema.ReasonRecipient)),
		"the errcode": letter("a", code(45047), errmsg("response out of time limit")),
		"no errcode":  letter("a", errmsg("response out of time limit")),
		"the words":   letter("a", code(45015), errmsg("the user has blocked the account")),
	} {
		require.NotEqual(t, fingerprintOf(one).id(), fingerprintOf(other).id(), what)
	}
	// The detail of a letter that has an answer is kefu's, and may change with a version.
	same := letter("b", code(45015), errmsg("response out of time limit"), detail("another sentence"))
	require.Equal(t, fingerprintOf(one), fingerprintOf(same))
}

func TestTheIDOfAGroupNeverChanges(t *testing.T) {
	l := letter("a", code(45015), errmsg("response out of time limit rid: 6b04f11a-15c6e625"))
	require.Equal(t, "7fb47d95", fingerprintOf(l).id(), "scripts and jobs keep it")
}

func TestLettersAreGroupedByWhatTheyDiedOf(t *testing.T) {
	b := newBed(t, 100)
	now := noon.Add(3 * time.Hour)
	for i := range 5 {
		b.bury(letter(fmt.Sprintf("late-%d", i), of(schema.ReasonRecipient), code(45015),
			errmsg(fmt.Sprintf("response out of time limit rid: 6b04f11%d", i)),
			died(now.Add(-time.Duration(i)*30*time.Minute))))
	}
	b.bury(letter("long", of(schema.ReasonInvalid), detail("text.content: 2049 bytes, at most 2048")),
		letter("longer", of(schema.ReasonInvalid), detail("text.content: 9999 bytes, at most 2048")),
		letter("busy"))

	got, err := b.box.Groups(t.Context(), Filter{}, now)
	b.NoError(err)
	b.Len(got, 3)
	late := got[0]
	b.Equal(5, late.Count)
	b.Equal("response out of time limit", late.Errmsg)
	b.Equal(45015, *late.Errcode)
	b.Equal(2, late.LastHour, "0 and 30 minutes ago")
	b.Equal(2, late.HourBefore, "60 and 90 minutes ago")
	b.Equal(now.Add(-2*time.Hour), late.First)
	b.Equal(now, late.Last)
	b.Equal("late-0", late.Example)

	b.Equal(2, got[1].Count)
	b.Equal("text.content: # bytes, at most #", got[1].Errmsg)
	b.Nil(got[1].Errcode)
	b.Equal("the API was busy six times", got[2].Errmsg)

	got, err = b.box.Groups(t.Context(), Filter{Reasons: []schema.Reason{schema.ReasonInvalid}}, now)
	b.NoError(err)
	b.Len(got, 1)
}

func TestAMillionDifferentWordsFitIntoMemory(t *testing.T) {
	g := groups{now: noon, known: make(map[fingerprint]*Group)}
	word := func(i int) string { // without a digit
		return string([]rune{rune('一' + i%1000), rune('一' + i/1000)})
	}
	for i := range mostGroups + 100 {
		g.add(letter("x", errmsg(word(i))))
	}
	got := g.sorted()
	require.Len(t, got, mostGroups+1)
	require.Equal(t, otherWords, got[0].Errmsg)
	require.Equal(t, 100, got[0].Count)
}

func TestTheRIDAtTheEndNeedsNoSecondLook(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	pieces := []string{"no quota", "rid: ", " rid: ", "RID:", "6b04f11a-15c6", " ", "\"", "hint: [a b]", "[", "]",
		"hints", "5", "\t", "\u00a0", "接口", ":", "x", "oABCDEFGHIJKLMNOPQRSTUVWXYZ0", "ſ", "\v"}
	for range 10_000 {
		s := ""
		for range 1 + r.IntN(7) {
			s += pieces[r.IntN(len(pieces))]
		}
		memory := new(folded)
		require.Equal(t, withoutIDs(s), memory.withoutIDs(s), "%q", s)
		require.Equal(t, withoutIDs(s), memory.withoutIDs(s), "%q, the second time", s)
	}
	require.Equal(t, "response out of time limit",
		withoutLastRID("response out of time limit rid: 6b04f11a-15c6e625"))
}

func TestWhatIsRememberedOfTextsIsBounded(t *testing.T) {
	t.Parallel()
	memory := new(folded)
	for i := range 2 * mostFolded {
		require.Equal(t, "no quota for #", memory.withoutIDs(fmt.Sprint("no quota for ", i)))
	}
	require.Len(t, memory.known, mostFolded)
}

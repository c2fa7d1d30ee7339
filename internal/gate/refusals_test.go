package gate

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func refused(id string) Refusal { return Refusal{ID: id, Kind: "msgmenu", Answer: "errcode 40200"} }

// TestWhoWasRefusedWhat tells stories of refusals and sends. A step is an intent that is refused,
// or one that is sent whose permission was given after so many refusals.
func TestWhoWasRefusedWhat(t *testing.T) {
	t.Parallel()
	type step struct {
		refused string
		sent    uint64 // with refused == ""
		want    Standing
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"different messages in a row", []step{
			{refused: "a", want: Standing{InRow: 1}},
			{refused: "b", want: Standing{InRow: 2}},
			{refused: "a", want: Standing{Before: true, InRow: 2}},
			{refused: "c", want: Standing{InRow: 3}},
		}},
		{"refused again after another was sent", []step{
			{refused: "a", want: Standing{InRow: 1}},
			{sent: 1},
			{refused: "a", want: Standing{Before: true, Proven: true, Selective: true, Lately: true, OfKind: true}},
		}},
		{"one that was under way at the refusal proves nothing, though it ends the row", []step{
			{refused: "a", want: Standing{InRow: 1}},
			{sent: 0},
			{refused: "a", want: Standing{Before: true, InRow: 1}},
			{refused: "b", want: Standing{InRow: 2}},
		}},
		{"nor for those that were refused after it had begun", []step{
			{refused: "a", want: Standing{InRow: 1}},
			{refused: "b", want: Standing{InRow: 2}},
			{sent: 1},
			{refused: "b", want: Standing{Before: true, InRow: 1, Selective: true, Lately: true, OfKind: true}},
			{refused: "a", want: Standing{Before: true, Proven: true, InRow: 1, Selective: true, Lately: true, OfKind: true}},
		}},
		{"an account that turns bad for all of them, after only some were refused", []step{
			{refused: "a", want: Standing{InRow: 1}},
			{sent: 1},
			{refused: "b", want: Standing{InRow: 1, Selective: true, Lately: true, OfKind: true}},
			{refused: "c", want: Standing{InRow: 2, Selective: true, Lately: true, OfKind: true}},
			{refused: "b", want: Standing{Before: true, InRow: 2, Selective: true, Lately: true, OfKind: true}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var s refusals
			for i, st := range c.steps {
				if st.refused == "" {
					s.sent(st.sent, "text", noon)
					continue
				}
				require.Equal(t, st.want, s.note(refused(st.refused), noon), "step %d", i)
			}
		})
	}
}

func TestDrawsOfOneAnswerSayNothingOfAnother(t *testing.T) {
	t.Parallel()
	var s refusals
	other := Refusal{ID: "a", Answer: "errcode 65400"}
	s.note(refused("a"), noon)
	require.Equal(t, Standing{InRow: 1}, s.note(other, noon))
	require.True(t, s.sent(1, "text", noon))
	require.Equal(t, Standing{Before: true, InRow: 1}, s.note(other, noon))
	require.Equal(t, Standing{Before: true, Proven: true, Selective: true, Lately: true,
		OfKind: true}, s.note(refused("a"), noon))
}

func TestAKindIsRefusedAsLongAsNoneOfItIsSent(t *testing.T) {
	t.Parallel()
	var s refusals
	s.note(refused("a"), noon)
	s.sent(1, "text", noon)
	require.True(t, s.note(refused("b"), noon).OfKind)

	s.note(Refusal{ID: "c", Kind: "text", Answer: "errcode 40200"}, noon)
	require.False(t, s.note(refused("b"), noon).OfKind,
		"a text draws it as well: it may be about the app")
	s.sent(0, "image", noon)
	require.True(t, s.note(refused("b"), noon).OfKind)

	require.True(t, s.sent(0, "msgmenu", noon))
	require.False(t, s.note(refused("b"), noon).OfKind, "one of them was sent")
	require.True(t, s.note(refused("b"), noon).Selective)
}

func TestOneOfAKindThatIsSentProvesNothingAgainstTheKind(t *testing.T) {
	t.Parallel()
	var s refusals
	s.note(refused("a"), noon) // to somebody who may not be written to
	s.sent(1, "msgmenu", noon)
	require.Equal(t, Standing{InRow: 1, Selective: true, Lately: true}, s.note(refused("b"), noon))
}

func TestThatOthersAreSentIsSoonOld(t *testing.T) {
	t.Parallel()
	var s refusals
	s.note(refused("a"), noon)
	s.sent(1, "text", noon)
	require.True(t, s.note(refused("b"), noon.Add(lately-1)).Lately)
	require.Equal(t, Standing{Before: true, InRow: 1, Selective: true, OfKind: true},
		s.note(refused("b"), noon.Add(lately)))
	s.sent(2, "text", noon.Add(time.Minute)) // after b
	require.True(t, s.note(refused("c"), noon.Add(time.Minute)).Lately)
}

func TestWhatIsKnownOfAnAnswerEnds(t *testing.T) {
	t.Parallel()
	var s refusals
	s.note(refused("a"), noon)
	s.sent(1, "text", noon)
	require.True(t, s.note(refused("b"), noon.Add(selectiveFor-time.Second)).Selective)
	require.False(t, s.note(refused("c"), noon.Add(selectiveFor)).Selective)
	s.forget("a")
	require.Equal(t, Standing{InRow: 3}, s.note(refused("a"), noon.Add(selectiveFor)),
		"an id that is used again begins anew")
}

func TestWhatWasProvenEndsWithWhatIsKnownOfTheAnswer(t *testing.T) {
	t.Parallel()
	var s refusals
	s.note(refused("a"), noon)
	s.sent(1, "text", noon)
	require.True(t, s.note(refused("a"), noon.Add(selectiveFor-time.Second)).Proven)
	require.Equal(t, Standing{InRow: 1}, s.note(refused("a"), noon.Add(selectiveFor)),
		"a replay a day later, of an account that is limited now")

	s.sent(3, "text", noon.Add(selectiveFor))
	require.True(t, s.any())
	s.sent(3, "text", noon.Add(3*selectiveFor))
	require.False(t, s.any(),
		"nobody has to tell that its intent has ended: that may be another worker's")

	g, _ := alone(Rate{})
	g.learnSelective(Selective{Answers: map[string]Known{refused("a").Answer: {At: noon.Add(-selectiveFor)}}, Refusals: []Refusal{refused("a")}})
	require.Equal(t, Standing{InRow: 1}, g.NoteRefusal(refused("a"), noon),
		"nor does a word that stands in the pool since then")
}

func TestARowOfMessagesThatAreBuried(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	for i, id := range []string{"a", "b", "c"} {
		g.NoteRefusal(refused(id), noon)
		require.Equal(t, Standing{Before: true, InRow: i + 1}, g.NoteRefusal(refused(id), noon))
		g.Forget(id)
	}
	p, _ := g.Permit(schema.LaneLive, noon)
	p.Sent, p.MessageKind = true, "text"
	g.Done(p, true)
	require.Equal(t, Standing{InRow: 1}, g.NoteRefusal(refused("d"), noon),
		"one that was sent ends it, and proves nothing against those")
	g.Forget("d") // it was sent itself
	p, _ = g.Permit(schema.LaneLive, noon)
	p.Sent, p.MessageKind = true, "msgmenu"
	g.Done(p, true)
	require.False(t, g.HasRefusals() && g.refusals.any(), "nothing is left of them")
}

func TestWhatOthersDrewIsTakenOver(t *testing.T) {
	t.Parallel()
	var s refusals
	s.merge([]Refusal{refused("a"), refused("b")}, false)
	require.Equal(t, Standing{InRow: 3}, s.note(refused("c"), noon))
	require.Equal(t, Standing{Before: true, InRow: 3}, s.note(refused("a"), noon))
	s.know(refused("a").Answer, Known{At: noon})
	s.merge([]Refusal{refused("a")}, true)
	require.True(t, s.note(refused("a"), noon).Proven)
	s.merge([]Refusal{refused("a")}, false)
	require.True(t, s.note(refused("a"), noon).Proven, "an older word does not take that back")
}

func TestAMessageCountsOnceInARow(t *testing.T) {
	t.Parallel()
	var s refusals
	s.note(refused("a"), noon)
	s.forget("a") // it is buried
	s.merge([]Refusal{refused("a")}, false)
	require.Equal(t, Standing{InRow: 2}, s.note(refused("b"), noon),
		"another worker does not know that it has ended")
	require.Equal(t, Standing{InRow: 2}, s.note(refused("a"), noon), "a replay of it")
	s.forget("a")
	s.merge([]Refusal{refused("a")}, true)
	require.Equal(t, Standing{Before: true, InRow: 1}, s.note(refused("b"), noon),
		"others were sent after it")
}

func TestDrawsAreBounded(t *testing.T) {
	t.Parallel()
	var s refusals
	for i := range 10 * mostRefusals {
		s.note(refused(fmt.Sprint(i)), noon)
	}
	require.Len(t, s.list, mostRefusals)
	require.Len(t, s.newest(false, mostShared), mostShared)
	require.Equal(t, fmt.Sprint(10*mostRefusals-1), s.newest(false, mostShared)[mostShared-1].ID,
		"the newest")
}

func TestKindsAreBounded(t *testing.T) {
	t.Parallel()
	var s refusals
	for i := range 10 * mostShared { // a campaign on behalf of employees who have left
		s.note(Refusal{ID: fmt.Sprint(i), Kind: fmt.Sprint("text ", i), Answer: "errcode 65400"},
			noon)
		s.sent(uint64(i+1), "text", noon)
	}
	kinds := s.known["errcode 65400"].Kinds
	require.Len(t, kinds, mostShared)
	require.Equal(t, fmt.Sprint("text ", 10*mostShared-1), kinds[mostShared-1], "the newest")
}

// drewHold holds a gate by the answer to a message.
func drewHold(g *Gate, id, what string, p Permission, now time.Time) Hold {
	d := Refusal{ID: id, Kind: what, Answer: "errcode 40200"}
	g.NoteRefusal(d, now)
	g.Hold(Hold{Kind: Config, Reason: "errcode 40200", Errcode: 40200, Refusals: []Refusal{d}}, p,
		time.Time{}, now)
	g.Done(p, false)
	h, _ := g.Held()
	return h
}

func TestAHoldThatAMessageDrewIsTriedByAnother(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	p, _ := g.Permit(schema.LaneLive, noon)
	drewHold(g, "menu1", "msgmenu", p, noon)
	_, due := g.Choice(noon.Add(novelPause - 1))
	require.False(t, due)
	require.True(t, g.Closed(noon.Add(novelPause-1)))

	c, due := g.Choice(noon.Add(novelPause))
	require.True(t, due)
	require.Equal(t, Novel, c.Rank("text1", "text"))
	require.Equal(t, Another, c.Rank("menu2", "msgmenu"))
	require.Equal(t, Refused, c.Rank("menu1", "msgmenu"))
	require.Equal(t, noon.Add(novelPause), c.From(Novel))
	require.Equal(t, noon.Add(anotherPause), c.From(Another))
	require.Equal(t, noon.Add(30*time.Second), c.From(Refused))

	trial, _ := g.Permit(schema.LaneLive, noon.Add(novelPause))
	require.True(t, trial.Trial)
	require.False(t, g.Revoked(trial, noon.Add(novelPause)))
	require.True(t, g.Revoked(Permission{OK: true}, noon.Add(novelPause)),
		"what was permitted before the hold is no trial")
	trial.Sent = true
	g.Done(trial, true)
	require.False(t, held(g))
	require.True(t, g.NoteRefusal(refused("menu1"), noon).Proven)
	require.Equal(t, Standing{InRow: 1, Selective: true, Lately: true, OfKind: true},
		g.NoteRefusal(refused("menu2"), noon))
}

func TestATrialThatIsNotSentProvesNothing(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	p, _ := g.Permit(schema.LaneLive, noon)
	h := drewHold(g, "menu1", "msgmenu", p, noon)
	trial, _ := g.Permit(schema.LaneLive, h.Until)
	g.Done(trial, true) // busy, or a closed window
	require.True(t, held(g))
	again, _ := g.Permit(schema.LaneLive, h.Until)
	require.True(t, again.Trial, "the next intent has its turn at once")
}

// TestAnAccountThatIsLimitedIsTriedRarely counts the posts of an app whose every message draws the
// code, with any number of them queued, for a day.
func TestAnAccountThatIsLimitedIsTriedRarely(t *testing.T) {
	t.Parallel()
	for _, kinds := range []int{1, 3} {
		t.Run(fmt.Sprint(kinds, " kinds of message"), func(t *testing.T) {
			t.Parallel()
			g, _ := alone(Rate{})
			now := noon
			p, _ := g.Permit(schema.LaneLive, now)
			drewHold(g, "i0", "kind 0", p, now)
			posts := map[time.Duration]int{time.Minute: 1, time.Hour: 1, 24 * time.Hour: 1}
			for i := 1; now.Before(noon.Add(24 * time.Hour)); i++ {
				h, _ := g.Held()
				now = h.Until
				c, due := g.Choice(now)
				require.True(t, due)
				id, what := fmt.Sprint("i", i), fmt.Sprint("kind ", min(i, kinds-1))
				if now.Before(c.From(c.Rank(id, what))) {
					now = c.From(c.Rank(id, what))
				}
				p, _ = g.Permit(schema.LaneLive, now)
				require.True(t, p.Trial)
				drewHold(g, id, what, p, now)
				for within := range posts {
					if now.Sub(noon) < within {
						posts[within]++
					}
				}
			}
			require.LessOrEqual(t, posts[time.Minute], 8)
			require.LessOrEqual(t, posts[time.Hour], 20)
			require.LessOrEqual(t, posts[24*time.Hour], 160)
		})
	}
}

func TestThoseThatDrewAHoldAtOnceAreAllKnown(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	one, _ := g.Permit(schema.LaneLive, noon)
	two, _ := g.Permit(schema.LaneLive, noon)
	drewHold(g, "a", "text", one, noon)
	h := drewHold(g, "b", "text", two, noon.Add(10*time.Millisecond))
	require.Len(t, h.Refusals, 2)
	require.Zero(t, h.Tries)
	require.Equal(t, noon.Add(novelPause), h.Until, "it is the same hold")
}

func TestARefusalDuringATrialIsKeptFromThePool(t *testing.T) {
	t.Parallel()
	g, shared := alone(Rate{})
	slow, _ := g.Permit(schema.LaneLive, noon)
	g.apply(false, &Hold{Kind: Config, Refusals: []Refusal{refused("a")}, Trying: true,
		Until: noon.Add(trialLease)}, noon)
	before := *shared
	h := drewHold(g, "b", "msgmenu", slow, noon)
	require.Len(t, h.Refusals, 2)
	require.Equal(t, before, *shared,
		"whoever tries the hold would take it for another trial, and its own for over")
}

func TestTheTrialOfAQuotasHoldIsAnotherMessageIfThereIsOne(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	p, _ := g.Permit(schema.LaneLive, noon)
	d := Refusal{ID: "a", Kind: "text", Answer: "errcode 45011"}
	g.NoteRefusal(d, noon)
	g.Hold(Hold{Kind: Quota, Refusals: []Refusal{d}}, p, noon.Add(time.Minute), noon)
	require.True(t, g.Closed(noon.Add(novelPause-1)))
	c, due := g.Choice(noon.Add(novelPause))
	require.True(t, due)
	require.Equal(t, noon.Add(novelPause), c.From(Novel), "it may be only that kind's limit")
	require.Equal(t, noon.Add(time.Minute), c.From(Another))
	require.Equal(t, noon.Add(time.Minute+samePause), c.From(Refused))
}

func TestAnEarlyTrialOfALimitMakesItNoLonger(t *testing.T) {
	t.Parallel()
	g, _ := alone(Rate{})
	refuse := func(id, what string, p Permission, hint, now time.Time) Hold {
		d := Refusal{ID: id, Kind: what, Answer: "errcode 45009"}
		g.NoteRefusal(d, now)
		g.Hold(Hold{Kind: Quota, Refusals: []Refusal{d}}, p, hint, now)
		h, _ := g.Held()
		return h
	}
	p, _ := g.Permit(schema.LaneLive, noon)
	midnight := NextDay(noon)
	refuse("a", "text", p, midnight, noon)
	now := noon.Add(novelPause)
	p, _ = g.Permit(schema.LaneLive, now)
	require.True(t, p.Trial)
	require.False(t, g.Revoked(p, now))
	h := refuse("b", "image", p, midnight, now)
	require.Zero(t, h.Tries, "its end was not what was tried")
	require.Equal(t, midnight, h.Until)

	p, _ = g.Permit(schema.LaneLive, midnight)
	require.True(t, p.Trial)
	h = refuse("c", "text", p, time.Time{}, midnight)
	require.Equal(t, 1, h.Tries)
	require.Equal(t, midnight.Add(2*time.Minute), h.Until)

	trying := h
	trying.Trying, trying.Until = true, midnight.Add(trialLease)
	require.Equal(t, trying.Until, trying.first(), "others leave it to whoever tries it")

	p, _ = g.Permit(schema.LaneLive, midnight.Add(novelPause))
	require.True(t, p.Trial)
	p.Sent, p.MessageKind = true, "image"
	g.Done(p, true)
	require.False(t, held(g))
}

func TestAnEndOfAHoldIsTheWallClocks(t *testing.T) {
	t.Parallel()
	// A reading of the monotonic clock would count only while the machine is awake.
	now := time.Now()
	require.Contains(t, now.String(), "m=")
	for _, kind := range []Kind{Config, Quota, Upstream} {
		for _, hint := range []time.Time{{}, now.Add(time.Hour)} {
			g, _ := alone(Rate{})
			p, _ := g.Permit(schema.LaneLive, now)
			d := refused("a")
			g.NoteRefusal(d, now)
			g.Hold(Hold{Kind: kind, Refusals: []Refusal{d}}, p, hint, now)
			h, _ := g.Held()
			for _, at := range []time.Time{h.Since, h.Until, h.NovelAt, h.AnotherAt, h.SameAt} {
				require.NotContains(t, at.String(), "m=", "%s", kind)
			}
		}
	}
}

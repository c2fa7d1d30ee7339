package ledger

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

const (
	summer Campaign = 100
	winter Campaign = 200
	unsaid Campaign = 300 // what a worker of an earlier version writes
)

func (a act) because(r schema.Reason) act { a.m.Reason = r; return a }
func (a act) after(e End) act             { a.m.Before = e; return a }
func (a act) to(c Campaign) act           { a.m.Campaign = c; return a }
func (a act) job(j Job) act               { a.m.Job = j; return a }

func buried(by string, seq uint64, spent uint8) act {
	return dead(by, seq, spent).because(schema.ReasonRecipient)
}

// closed is a death for `recipient` because the window for replies was closed.
func closed(by string, seq uint64, spent uint8) act {
	a := buried(by, seq, spent)
	a.m.Closed = true
	return a
}

// words is an end in words, its errcode among them.
func words(e End) string {
	if e.Errcode() != 0 {
		return fmt.Sprint(e, " ", e.Errcode())
	}
	return e.String()
}

// counting has an index tell what campaigns and jobs count, by the words of their
// ends.
func counting(x *index) map[owner]map[string]int {
	counts := make(map[owner]map[string]int)
	x.ended = func(o owner, before, after End) {
		if counts[o] == nil {
			counts[o] = make(map[string]int)
		}
		for end, n := range map[End]int{before: -1, after: +1} {
			if end == 0 {
				continue
			}
			if counts[o][words(end)] += n; counts[o][words(end)] == 0 {
				delete(counts[o], words(end))
			}
		}
	}
	return counts
}

// TestWhatACampaignCounts is the specification of settle, in stories as those of
// the ledger's rules. What names no campaign belongs to summer.
func TestWhatACampaignCounts(t *testing.T) {
	t.Parallel()
	gone, shut := endRecipient, endClosed
	for _, c := range []struct {
		name  string
		story []act
		want  map[string]int
	}{
		{"what is sent", []act{start("a", 10, 1), sent("a", 10, 1)}, map[string]int{"sent": 1}},
		{"what dies without a call", []act{buried("a", 10, 0)},
			map[string]int{"dead recipient": 1}},
		{"what dies after one", []act{
			start("a", 10, 1), doomed("a", 10, 1), buried("a", 10, 1),
		}, map[string]int{"dead recipient": 1}},
		{"what is cancelled", []act{cancelled("a", 10)}, map[string]int{"cancelled": 1}},
		{"nothing that has no end", []act{
			start("a", 10, 1), cleared("a", 10, 1), later("a", 10, 2), suspect("b", 20),
			harmless("b", 20),
			doomed("b", 20, 1),
		}, nil},

		// Once, whatever is redelivered and written again.
		{"an end that is written again", []act{
			start("a", 10, 1), sent("a", 10, 1), start("b", 10, 1), sent("a", 10, 1),
		}, map[string]int{"sent": 1}},
		{"a burial that another worker goes through again", []act{
			start("a", 10, 1), doomed("a", 10, 1), buried("a", 10, 1), doomed("b", 10, 1),
			buried("b", 10, 1),
		}, map[string]int{"dead recipient": 1}},
		{"a producer's repeat", []act{
			start("a", 10, 1), sent("a", 10, 1), start("a", 15, 1),
		}, map[string]int{"sent": 1}},
		{"the first of two ends that are written for one life", []act{
			buried("a", 10, 0), dead("b", 10, 0).because(schema.ReasonExpired), cancelled("c", 10),
		}, map[string]int{"dead recipient": 1}},
		{"a slow worker's burial of what was sent", []act{
			start("a", 10, 1), sent("a", 10, 1), buried("b", 10, 1),
		}, map[string]int{"sent": 1}},

		// Sent overrules.
		{"what was buried by one worker and sent by another", []act{
			start("a", 10, 1), start("b", 10, 2), doomed("b", 10, 2), buried("b", 10, 2),
			sent("a", 10, 1),
		}, map[string]int{"sent possible_duplicate": 1}},

		// Possible duplicates, as the receipts have them.
		{"sent after an attempt of unknown outcome", []act{
			start("a", 10, 1), start("b", 10, 2).of(1), sent("b", 10, 2).of(1),
		}, map[string]int{"sent possible_duplicate": 1}},
		{"sent by a worker that was taken for dead", []act{
			start("a", 10, 1), start("b", 10, 2).of(1), sent("a", 10, 1),
		}, map[string]int{"sent possible_duplicate": 1}},
		{"of unknown outcome at last", []act{
			start("a", 10, 1), dead("a", 10, 1).because(schema.ReasonUnknown),
		}, map[string]int{"dead unknown possible_duplicate": 1}},
		{"cancelled after an attempt of unknown outcome", []act{
			start("a", 10, 1), cleared("a", 10, 1).of(1), cancelled("a", 10).of(1),
		}, map[string]int{"cancelled possible_duplicate": 1}},

		// A new life takes the place of the one before when it ends.
		{"a replay under way counts as dead", []act{
			buried("a", 10, 0), start("a", 20, 1).again().gen(2).after(gone),
		}, map[string]int{"dead recipient": 1}},
		{"a replay that is sent", []act{
			buried("a", 10, 0), start("a", 20, 1).again().gen(2).after(gone),
			sent("a", 20, 1).again().gen(2).after(gone),
		}, map[string]int{"sent": 1}},
		{"a replay that is sent after another worker's crash", []act{
			buried("a", 10, 0), start("a", 20, 1).again().gen(2).after(gone),
			suspect("b", 20).again().gen(2).after(gone), start("b", 20, 2).again().gen(2).of(1),
			sent("b", 20, 2).again().gen(2).of(1),
		}, map[string]int{"sent possible_duplicate": 1}},
		{"a replay that dies for another reason", []act{
			buried("a", 10, 0),
			dead("a", 20, 0).again().gen(2).after(gone).because(schema.ReasonExpired),
		}, map[string]int{"dead expired": 1}},
		{"a producer's second try after its first was cancelled", []act{
			cancelled("a", 10), start("a", 15, 1), sent("a", 15, 1).gen(2),
		}, map[string]int{"sent": 1}},
		{"a replay of what the ledger has forgotten", []act{
			start("a", 20, 1).again().gen(2).after(gone),
			sent("a", 20, 1).again().gen(2).after(gone),
		}, map[string]int{"dead recipient": -1, "sent": 1}},
		{"a replay under an id of its own", []act{
			sent("a", 20, 1).again().after(gone),
		}, map[string]int{"dead recipient": -1, "sent": 1}},
		{"a replay that comes before the mark of the death", []act{
			start("a", 10, 1), start("b", 20, 1).again().gen(2).after(gone), buried("a", 10, 0),
			sent("b", 20, 1).again().gen(2).after(gone),
		}, map[string]int{"sent": 1}},
		{"the same, of what was never started and whose death is not known to be marked", []act{
			start("b", 20, 1).again().gen(2), buried("a", 10, 0), sent("b", 20, 1).again().gen(2),
		}, map[string]int{"sent": 1}},
		{"a third life", []act{
			buried("a", 10, 0), buried("a", 20, 0).again().gen(2).after(gone),
			start("a", 21, 1).again().gen(3).after(gone),
			cancelled("a", 21).again().gen(3).after(gone),
		}, map[string]int{"cancelled": 1}},

		// Closed windows.
		{"what dies because the window is closed", []act{
			start("a", 10, 1), doomed("a", 10, 1), closed("a", 10, 1),
		}, map[string]int{"dead recipient 45015": 1}},
		{"its death, marked again by a worker that does not know the answer", []act{
			start("a", 10, 1), doomed("a", 10, 1), closed("a", 10, 1), buried("b", 10, 1),
		}, map[string]int{"dead recipient 45015": 1}},
		{"its death, after an attempt of unknown outcome", []act{
			start("a", 10, 1), start("b", 10, 2).of(1), closed("b", 10, 2).of(1),
		}, map[string]int{"dead recipient possible_duplicate 45015": 1}},
		{"a replay of it that is sent", []act{
			closed("a", 10, 0), start("a", 20, 1).again().gen(2).after(gone),
			sent("a", 20, 1).again().gen(2).after(gone),
		}, map[string]int{"sent": 1}},
		{"a replay of it that dies because the user has left", []act{
			closed("a", 10, 0), start("a", 20, 1).again().gen(2).after(shut),
			buried("a", 20, 1).again().gen(2).after(shut),
		}, map[string]int{"dead recipient": 1}},
		{"a replay of it that the ledger has forgotten", []act{
			start("a", 20, 1).again().gen(2).after(shut),
			closed("a", 20, 1).again().gen(2).after(shut),
			start("a", 21, 1).again().gen(3).after(shut),
			sent("a", 21, 1).again().gen(3).after(shut),
		}, map[string]int{"dead recipient 45015": -1, "sent": 1}},
		{"a word on closed windows in a mark of another reason", []act{
			closed("a", 10, 0).because(schema.ReasonRejected),
		}, map[string]int{"dead rejected": 1}},

		// Others.
		{"what a worker of an earlier version writes", []act{
			start("a", 10, 1).to(unsaid), sent("a", 10, 1).to(unsaid),
		}, nil},
		{"a live intent", []act{start("a", 10, 1).to(NoCampaign), sent("a", 10, 1).to(NoCampaign)},
			nil},
		{"an id that comes again in another campaign: each has its end", []act{
			buried("a", 10, 0).to(winter), start("a", 15, 1), sent("a", 15, 1).gen(2),
		}, map[string]int{"sent": 1}},
		{"an id that was a live intent's", []act{
			buried("a", 10, 0).to(NoCampaign), start("a", 15, 1), sent("a", 15, 1).gen(2),
		}, map[string]int{"sent": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newIndex(time.Hour)
			counts := counting(x)
			for _, a := range c.story {
				switch a.m.Campaign {
				case 0:
					a.m.Campaign = summer
				case unsaid:
					a.m.Campaign = 0
				}
				x.mark(a.m, x.worker(a.by))
			}
			got := counts[summer.owner()]
			if len(got) == 0 {
				got = nil
			}
			require.Equal(t, c.want, got)
		})
	}
}

func TestAStartTellsHowTheLifeBeforeEnded(t *testing.T) {
	t.Parallel()
	x := newIndex(time.Hour)
	w, v := x.worker("a"), x.worker("b")
	mark := func(a act, w uint16) Standing { a.m.Campaign = summer; return x.mark(a.m, w) }
	require.Zero(t, mark(start("a", 10, 1), w).Before)
	mark(buried("a", 10, 1), w)
	again := start("b", 15, 1)
	again.m.Campaign = winter
	require.Zero(t, x.peek(again.m).Before, "another campaign does not count it")
	again.m.Campaign = summer
	require.Equal(t, deadFor(schema.ReasonRecipient), x.peek(again.m).Before)
	require.Equal(t, deadFor(schema.ReasonRecipient), mark(again, v).Before)
	require.Equal(t, deadFor(schema.ReasonRecipient), mark(again, w).Before,
		"whoever takes over is told as well")
}

// TestAnIdCountsAsOneEnd holds whatever is written, by whom, in which order.
func TestAnIdCountsAsOneEnd(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 8))
		x := newIndex(time.Hour)
		counts := counting(x)
		for range 400 {
			m := randomMark(r, 3)
			m.Campaign = summer
			if m.Kind == Dead {
				m.Reason, m.Closed = storedReasons[r.IntN(len(storedReasons))], r.IntN(2) == 0
			}
			x.mark(m, x.worker([]string{"a", "b", "c"}[r.IntN(3)]))
			want, got := make(map[string]int), counts[summer.owner()]
			for k := range Key(3) {
				if e, _ := x.get(k); e.account() != 0 {
					want[words(e.account())]++
				}
			}
			if len(got) == 0 {
				got = map[string]int{}
			}
			require.Equal(t, want, got)
		}
	}
}

func TestEndsAreWrittenAndReadAgain(t *testing.T) {
	t.Parallel()
	ends := 0
	for e := range End(1) << 7 {
		if e.valid() == 0 {
			continue
		}
		ends++
		require.Equal(t, e, ParseEnd(e.String()))
		require.Equal(t, e, Entry{tally: 0xff}.accounted(e).account())
	}
	require.Equal(t, 2*(2+len(storedReasons)), ends)
	for _, e := range []End{endClosed, endClosed | duplicate} {
		require.Equal(t, e, ParseEnd(e.String()).DiedOf(e.Errcode()))
		require.Equal(t, e, Entry{tally: 0xff}.accounted(e).account())
		require.Equal(t, e.stored(), ParseEnd(e.String()), "as an earlier version reads it")
	}
	require.Equal(t, endRecipient, endRecipient.DiedOf(43004))
	require.Equal(t, endSent, endSent.DiedOf(CodeClosed))
	require.Less(t, deadFor(storedReasons[len(storedReasons)-1]), endClosed)
	for _, s := range []string{
		"", "dead", "dead x", "possible_duplicate", "sent x", "queued", "dead recipient twice",
	} {
		require.Zero(t, ParseEnd(s), s)
	}
	require.Equal(t, "dead recipient possible_duplicate",
		(deadFor(schema.ReasonRecipient) | duplicate).String())
}

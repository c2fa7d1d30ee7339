package replay

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The rules of what a replay may do with a letter of generation 1, whose message would be
// generation 2 of its id.
func TestNextMove(t *testing.T) {
	t.Parallel()
	ago := noon.Add(-time.Minute)
	ended := func(generation int) Life { return Life{Generation: generation, Ended: true} }
	same := func(generation int) Life {
		return Life{Generation: generation, Ended: true, Same: true}
	}
	for what, c := range map[string]struct {
		e    evidence
		want action
		why  refusal
	}{
		"nothing is known":              {evidence{}, publishLetter, ""},
		"the ledger knows that it died": {evidence{known: true, life: ended(1)}, publishLetter, ""},
		"the ledger has not caught up with it": {
			evidence{known: true, life: ended(0)}, publishLetter, "",
		},
		"its message is in the queue": {evidence{queued: 2, stored: true}, removeLetter, ""},
		"its message is in the queue, the ledger knows it": {
			evidence{queued: 2, stored: true, known: true, life: same(2)}, removeLetter, "",
		},
		"another one of the same generation is in the queue": {
			evidence{queued: 2}, keepLetter, refuseContinued,
		},
		"a retry of the generation before is in the queue": {
			evidence{queued: 1}, publishLetter, "",
		},
		"its producer published it again": {
			evidence{known: true, life: same(2)}, keepLetter, refuseContinued,
		},
		"and again": {evidence{known: true, life: same(3)}, keepLetter, refuseContinued},
		"its id is another message's by now": {
			evidence{known: true, life: ended(2)}, keepLetter, refuseContinued,
		},
		"a replay that was killed sent it": {
			evidence{known: true, life: same(2), doubt: ago}, removeLetter, "",
		},
		"and it died again, and was replayed": {
			evidence{known: true, life: same(3), doubt: ago}, removeLetter, "",
		},
		"a replay that was killed left it, another packet went": {
			evidence{known: true, life: ended(2), doubt: ago}, keepLetter, refuseContinued,
		},
		"a replay that was killed left it, another one waits": {
			evidence{queued: 2, doubt: ago}, keepLetter, refuseContinued,
		},
		"a replay that was killed had not come to it": {
			evidence{known: true, life: ended(1), doubt: ago}, publishLetter, "",
		},
		"nobody can tell whether a killed replay has sent it": {
			evidence{doubt: ago, inDoubt: true}, keepLetter, refuseMayDouble,
		},
		"and the user accepts that": {
			evidence{doubt: ago, inDoubt: true, accepted: true}, publishLetter, "",
		},
		"the ledger can tell however long ago it was": {
			evidence{known: true, life: same(2), doubt: ago, inDoubt: true}, removeLetter, "",
		},
		"another letter of this run has the id": {
			evidence{idTaken: true}, keepLetter, refuseSameID,
		},
		"the id is used again, and that message is not sent yet": {
			evidence{known: true, life: Life{Generation: 1}}, keepLetter, refuseInFlight,
		},
	} {
		do, why := c.e.next(2, false)
		require.Equal(t, c.want, do, what)
		require.Equal(t, c.why, why, what)
	}
	// Under an id of its own nobody else's message can be meant.
	for what, c := range map[string]struct {
		e    evidence
		want action
	}{
		"nothing is known":    {evidence{}, publishLetter},
		"the ledger knows it": {evidence{known: true, life: ended(1)}, removeLetter},
		"it is under way": {
			evidence{known: true, life: Life{Generation: 1}}, removeLetter,
		},
		"it waits in the queue":       {evidence{queued: 1}, removeLetter},
		"a killed run had it in mind": {evidence{doubt: ago}, publishLetter},
	} {
		do, _ := c.e.next(1, true)
		require.Equal(t, c.want, do, what)
	}
}

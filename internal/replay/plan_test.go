package replay

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter/lettertest"
	"github.com/kefuhq/kefu/schema"
)

func (b *bed) plan(r Request, now time.Time) Plan {
	b.t.Helper()
	p, err := NewPlan(b.t.Context(), b.conn, r, b.known, now)
	b.NoError(err)
	return p
}

func TestAPlanSaysWhatWillBecomeOfEachLetter(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.bury(
		letter("ok-1"), letter("ok-2", of(schema.ReasonUnknown), func(l *schema.Letter) {
			l.PossibleDuplicate = true
		}),
		letter("refused-1", of(schema.ReasonRecipient), code(45015)),
		letter("refused-2", of(schema.ReasonRecipient), code(45015)),
		letter("late", published(noon.Add(-100*time.Hour))),
		letter("stranger", lettertest.OfApp("wx2")),
	)
	b.known.Apps = map[string]App{app: {ExpireAfter: 48 * time.Hour}}
	p := b.plan(Request{Rate: 2}, noon)
	b.Equal(6, p.Total)
	b.Equal(4, p.Replayable)
	b.Equal(map[Fate]int{WillBeSent: 2, SameAgain: 2, WillExpire: 1, CannotBe: 1}, p.Fates)
	b.Equal(map[schema.Reason]int{schema.ReasonExhausted: 3, schema.ReasonUnknown: 1,
		schema.ReasonRecipient: 2}, p.Reasons)
	b.Equal(map[string]int{app: 5, "wx2": 1}, p.Apps)
	b.Equal(1, p.PossibleDuplicates)
	b.Equal(2*time.Second, p.Takes)
	b.Equal(uint64(6), p.Through)
	b.Equal([]string{"refused-1", "refused-2"}, p.Notes[0].IDs)
	b.Equal(2, p.Notes[0].Count)
	b.Len(p.Notes, 3)

	p = b.plan(Request{Limit: 1}, noon)
	b.Equal(1, p.Replayable)
	b.Equal(uint64(1), p.Through)
	b.Len(b.ids(), 6, "a plan changes nothing")
	b.Empty(b.queued())
}

func TestAPlanNeedsABox(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10)
	b.NoError(b.conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	_, err := NewPlan(t.Context(), b.conn, Request{}, b.known, time.Now())
	b.ErrorContains(err, "kefu setup")
}

// killed leaves what a version of kefu that replayed from within its command leaves when it is
// killed.
func (b *bed) killed(run string, letters ...handed) {
	b.t.Helper()
	body, err := json.Marshal(handover{Letters: letters})
	b.NoError(err)
	_, err = b.conn.Outbox.PublishWait(b.t.Context(),
		broker.PutJob(handoverPrefix+run, body, time.Hour))
	b.NoError(err)
}

func TestAReplayOfAnEarlierVersionThatWasKilledIsGoneOnWith(t *testing.T) {
	t.Parallel()
	const keep = 72 * time.Hour
	sentBefore := remembering{"a": {Generation: 2, Ended: true, Same: true},
		"b": {Generation: 1, Ended: true}}
	for what, c := range map[string]struct {
		ago      time.Duration
		queued   bool   // what it had published is still in the queue
		ledger   Ledger // what it knows by now
		accepted bool
		want     []int // published, left, gone
		before   int   // of these, by the run that was killed, as the plan says
		messages int   // in the queue in the end
		doubles  int   // as the plan says
	}{
		"at once": {ago: time.Second, queued: true, want: []int{2, 0, 0}, before: 1, messages: 2},
		"while its message waits in the queue, for days": {
			ago: 4 * keep, queued: true, ledger: remembering{}, want: []int{2, 0, 0}, before: 1,
			messages: 2,
		},
		"when its message was sent": {
			ago: time.Hour, ledger: sentBefore, want: []int{2, 0, 0}, before: 1, messages: 1,
		},
		"when the ledger has forgotten": {
			ago: keep, ledger: remembering{}, want: []int{1, 1, 0}, messages: 1, doubles: 1,
		},
		"when the ledger has forgotten, accepted": {
			ago: keep, ledger: remembering{}, accepted: true, want: []int{2, 0, 0}, messages: 2,
			doubles: 1,
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 1000)
			b.known = Known{Ledger: c.ledger, Remembered: keep}
			b.bury(letter("a"), letter("b"))
			first := b.items()[0]
			b.killed("dead", handed{Seq: first.Seq, At: time.Now().Add(-c.ago)})
			if c.queued {
				b.handOver(first)
			}
			plan := b.plan(Request{}, time.Now())
			b.Equal([]int{2, c.before, c.doubles},
				[]int{plan.Replayable, plan.Fates[WasSent], plan.MayDouble})
			s := b.replay(Filter{}, Options{AllowDoubles: c.accepted})
			b.Equal(c.want, counts(s))
			b.Len(b.ids(), c.want[1])
			b.Len(b.queued(), c.messages)
			if c.want[1] > 0 {
				b.Equal(string(refuseMayDouble), s.Notes[0].Text)
			}
		})
	}
}

func TestEachIDThatAKilledReplayMayHaveUsedIsInDoubt(t *testing.T) {
	t.Parallel()
	const keep = 72 * time.Hour
	oldID, newID := handed{Seq: 1, At: time.Now().Add(-3 * keep)},
		handed{Seq: 1, At: time.Now().Add(-2 * keep), NewID: true}
	for what, c := range map[string]struct {
		killed []handed // letters of runs that were killed, in order
		reason schema.Reason
		ledger remembering
		newIDs bool
		want   refusal // "": it is published
	}{
		"under the old id": {[]handed{oldID}, schema.ReasonExhausted, nil, false, refuseMayDouble},
		"under the old id, then under a new one, which is its only one": {
			[]handed{oldID, newID}, schema.ReasonIDReuse, nil, true, refuseMayDouble,
		},
		"under the old id, then under a new one, and the old one went on": {
			[]handed{oldID, newID}, schema.ReasonExhausted,
			remembering{"a": {Generation: 3, Ended: true}}, true, refuseMayDouble,
		},
		"under a new id, then under the old one": {
			[]handed{newID, oldID}, schema.ReasonExhausted, nil, false, refuseMayDouble,
		},
		"under a new id, which is not used this time": {
			[]handed{newID}, schema.ReasonExhausted, nil, false, "",
		},
		"under the old id, which is not used this time": {
			[]handed{oldID}, schema.ReasonIDReuse, nil, true, "",
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 1000)
			b.known = Known{Ledger: c.ledger, Remembered: keep}
			b.bury(letter("a", of(c.reason)), letter("good"))
			for i, l := range c.killed {
				b.killed(fmt.Sprint("dead-", i), l)
			}
			s := b.replay(Filter{}, Options{NewIDs: c.newIDs})
			if c.want == "" {
				b.Equal([]int{2, 0, 0}, counts(s))
				return
			}
			b.Equal([]int{1, 1, 0}, counts(s))
			b.Equal(string(c.want), s.Notes[0].Text)
		})
	}
}

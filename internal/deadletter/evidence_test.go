package deadletter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
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

// died leaves what a replay that was killed leaves: its note about letters, some time ago, and
// their messages if sent is true.
func (b *bed) died(ago time.Duration, sent bool, items ...Item) {
	b.t.Helper()
	h := handover{run: "dead", By: "ann@desk"}
	for _, item := range items {
		h.Letters = append(h.Letters, handed{Seq: item.Seq, At: time.Now().Add(-ago)})
		if sent {
			msg, err := again(Options{}, &item, time.Now())
			b.NoError(err)
			_, err = b.conn.Outbox.PublishWait(b.t.Context(), msg)
			b.NoError(err)
		}
	}
	b.NoError(h.write(b.t.Context(), b.conn))
}

func (b *bed) items() (all []Item) {
	b.t.Helper()
	b.NoError(b.box.List(b.t.Context(), Filter{}, func(i Item) error {
		all = append(all, i)
		return nil
	}))
	return all
}

func (b *bed) handovers() []handover {
	b.t.Helper()
	info, err := b.box.info(b.t.Context())
	b.NoError(err)
	all, err := readHandovers(b.t.Context(), b.conn, madeAt(info))
	b.NoError(err)
	return all
}

func TestAReplayThatWasKilledIsGoneOnWith(t *testing.T) {
	t.Parallel()
	const keep = 72 * time.Hour
	sentBefore := remembering{"a": {Generation: 2, Ended: true, Same: true},
		"b": {Generation: 1, Ended: true}}
	for what, c := range map[string]struct {
		ago      time.Duration
		queued   bool   // what it had published is still in the queue
		ledger   Ledger // what it knows by now
		accepted bool
		replayed int // of two letters, the first of which it had published
		before   int // of these, by the run that was killed
		left     int
		messages int // in the queue in the end
		doubles  int // as the plan says
	}{
		"at once": {ago: time.Second, queued: true, replayed: 2, before: 1, messages: 2},
		"while its message waits in the queue, for days": {
			ago: 4 * keep, queued: true, ledger: remembering{}, replayed: 2, before: 1, messages: 2,
		},
		"when its message was sent": {
			ago: time.Hour, ledger: sentBefore, replayed: 2, before: 1, messages: 1,
		},
		"when the ledger has forgotten": {
			ago: keep, ledger: remembering{}, replayed: 1, left: 1, messages: 1, doubles: 1,
		},
		"when the ledger has forgotten, accepted": {
			ago: keep, ledger: remembering{}, accepted: true, replayed: 2, messages: 2, doubles: 1,
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 1000)
			b.bury(letter("a"), letter("b"))
			b.died(c.ago, c.queued, b.items()[0])
			o := Options{Ledger: c.ledger, Remembered: keep, AllowDoubles: c.accepted}
			plan, err := b.box.Plan(t.Context(), Filter{}, o, time.Now())
			b.NoError(err)
			b.Equal([]int{2, c.before, c.doubles},
				[]int{plan.Replayable, plan.Fates[WasSent], plan.MayDouble})
			o.Through = plan.Through
			result := b.replay(Filter{}, o)
			b.Equal([]int{c.replayed, c.before, c.left},
				[]int{result.Replayed, result.Duplicates, result.Skipped})
			b.Len(b.ids(Filter{}), c.left)
			b.Len(b.queued(), c.messages)
			b.Len(b.handovers(), c.left, "what is settled is in doubt no more")
			if c.left > 0 {
				b.Equal(string(refuseMayDouble), result.Notes[0].Text)
			}
		})
	}
}

func TestANoteAboutAnotherBoxCastsNoDoubt(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	o := Options{Remembered: time.Hour}
	b.bury(letter("a"))
	r := newReplay(b.box, o)
	var err error
	r.records, err = b.box.records(t.Context(), Filter{}, o, true)
	b.NoError(err)
	b.NoError(r.writeDown(t.Context(), chosen{b.items()[0], targetOf(&b.items()[0], false)}))
	b.Len(b.handovers(), 1) // and then it was killed

	b.NoError(b.conn.JS.DeleteStream(t.Context(), schema.StreamDead))
	brokertest.Provision(t, b.conn, brokertest.Spec(app))
	b.bury(letter("b"))
	b.Equal(uint64(1), b.items()[0].Seq)
	plan, err := b.box.Plan(t.Context(), Filter{}, o, time.Now().Add(2*o.Remembered))
	b.NoError(err)
	b.Equal(map[Fate]int{WillBeSent: 1}, plan.Fates)
	b.Zero(plan.MayDouble)
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
			b.bury(letter("a", of(c.reason)))
			for i, l := range c.killed {
				h := handover{run: fmt.Sprint("dead-", i), Letters: []handed{l}}
				b.NoError(h.write(t.Context(), b.conn))
			}
			result := b.replay(Filter{},
				Options{Ledger: c.ledger, Remembered: keep, NewIDs: c.newIDs})
			if c.want == "" {
				b.Equal(1, result.Replayed)
				return
			}
			b.Equal(1, result.Skipped)
			b.Equal(string(c.want), result.Notes[0].Text)
		})
	}
}

func TestAReplayWritesDownWhatItPublishes(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	for i := range maxUnsettled + 10 {
		b.bury(letter(fmt.Sprint("order-", i)))
	}
	most := 0
	b.replay(Filter{}, Options{Progress: func(Progress) {
		all := b.handovers()
		b.Len(all, 1)
		most = max(most, len(all[0].Letters))
		open := make(map[uint64]bool)
		for _, l := range all[0].Letters {
			open[l.Seq] = true
		}
		queued := b.queued()
		for _, item := range b.items() { // whatever is both in the queue and in the box
			for _, s := range queued {
				if s.Header.Get(schema.HeaderMsgID) == targetOf(&item, false).msgID {
					b.True(open[item.Seq], "%s is not written down", item.Letter.ID)
				}
			}
		}
	}})
	b.GreaterOrEqual(most, maxUnsettled)
	b.LessOrEqual(most, 2*maxUnsettled)
	b.Empty(b.handovers(), "at its end nothing is in doubt")
	b.Empty(b.ids(Filter{}))
}

func TestAnInterruptedReplayLeavesNothingInDoubt(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	for i := range 10 {
		b.bury(letter(fmt.Sprint("order-", i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := b.box.Replay(ctx, Filter{}, Options{Rate: 20, Progress: func(p Progress) {
		if p.Replayed == 3 {
			cancel()
		}
	}})
	b.ErrorIs(err, context.Canceled)
	b.Empty(b.handovers(), "its turn had not come, or it is settled")
}

func TestALetterThatCannotBeTakenOutIsKnownToTheNextRun(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"))
	r := newReplay(b.box, Options{})
	var err error
	r.records, err = b.box.records(t.Context(), Filter{}, r.o, true)
	b.NoError(err)
	b.NoError(r.writeDown(t.Context(), chosen{b.items()[0], targetOf(&b.items()[0], false)}))
	r.sent(1)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	r.remove(gone, b.items()[0], false) // the box does not answer
	b.Equal([]int{1, 1}, []int{r.result.Replayed, r.result.Kept})
	b.NoError(r.close(t.Context()))
	b.Len(b.handovers(), 1)

	result := b.replay(Filter{},
		Options{Ledger: remembering{"a": {Generation: 2, Ended: true, Same: true}}})
	b.Equal([]int{1, 1}, []int{result.Replayed, result.Duplicates})
	b.Empty(b.queued(), "it was sent already")
	b.Empty(b.ids(Filter{}))
	b.Empty(b.handovers())
}

func TestAReplayThatCannotBeWrittenDownPublishesNothing(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"))
	s, err := b.conn.JS.Stream(t.Context(), wire.StreamJobRecords)
	b.NoError(err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgSize = 10
	_, err = b.conn.JS.UpdateStream(t.Context(), cfg)
	b.NoError(err)
	result, err := b.box.Replay(t.Context(), Filter{}, Options{})
	b.ErrorContains(err, "write down what is replayed")
	b.False(errors.Is(err, context.Canceled))
	b.Zero(result.Replayed)
	b.Empty(b.queued())
	b.Len(b.ids(Filter{}), 1)
}

// learning is a ledger that learns something while a replay runs.
type learning struct {
	remembering
	reads int
}

func (l *learning) Read(context.Context) error {
	if l.reads++; l.reads == 2 {
		l.remembering["b"] = Life{Generation: 2, Ended: true, Same: true}
	}
	return nil
}

func TestALongReplayLearnsWhatBecameOfIDsMeanwhile(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"), letter("b"))
	r := newReplay(b.box, Options{Ledger: &learning{remembering: remembering{}}})
	var err error
	r.records, err = b.box.records(t.Context(), Filter{}, r.o, true)
	b.NoError(err)
	items, now := b.items(), time.Now()
	for i, want := range []action{publishLetter, publishLetter} {
		p, err := r.records.assess(t.Context(), &items[i], true, now)
		b.NoError(err)
		b.Equal(want, p.action)
		r.records.notePublished(&items[i], p.target)
	}
	p, err := r.records.assess(t.Context(), &items[1], true, now.Add(refresh))
	b.NoError(err)
	b.Equal([]any{keepLetter, refuseContinued}, []any{p.action, p.refusal},
		"its producer published it again")
}

// knowing is a ledger that is told something while a replay runs.
type knowing struct {
	remembering
	mu   sync.Mutex
	more remembering // from the next Read on
}

func (k *knowing) learn(id string, life Life) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.more = remembering{id: life}
}

func (k *knowing) Read(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.Copy(k.remembering, k.more)
	return nil
}

// What the id of a letter goes on to while the letter waits for its turn.
func TestALetterIsJudgedAgainWhenItsTurnComes(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		life    Life
		newIDs  bool
		result  []int // replayed, duplicates, skipped
		sent    []string
		waiting []string
	}{
		"its producer published it again": {
			Life{Generation: 2, Ended: true, Same: true}, false, []int{1, 0, 1}, []string{"a"},
			[]string{"b"},
		},
		"likewise, and it may go under an id of its own": {
			Life{Generation: 2, Ended: true, Same: true}, true, []int{2, 0, 0},
			[]string{"a", "b~7"}, nil,
		},
		"another message under its id is under way": {
			Life{Generation: 1}, false, []int{1, 0, 1}, []string{"a"}, []string{"b"},
		},
		"nothing": {
			Life{Generation: 1, Ended: true}, false, []int{2, 0, 0}, []string{"a", "b"}, nil,
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 1000)
			b.bury(letter("a"), letter("b"))
			k := &knowing{remembering: remembering{}}
			o := Options{Rate: 0.8, NewIDs: c.newIDs, Ledger: k, Progress: func(p Progress) {
				if p.Replayed == 1 {
					k.learn("b", c.life)
				}
			}}
			result := b.replay(Filter{}, o)
			b.Equal(c.result, []int{result.Replayed, result.Duplicates, result.Skipped})
			b.Equal(c.sent, b.queuedIDs())
			b.Equal(c.waiting, b.ids(Filter{}))
			b.Empty(b.handovers())
		})
	}
}

func TestALetterBeforeAFullQueueIsJudgedAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.publish("kefu.send."+app+".bulk.c", "x", nats.Header{"Nats-Msg-Id": {"first"}})
	b.bury(letter("a"))
	k := &knowing{remembering: remembering{}}
	result := b.replay(Filter{}, Options{Ledger: k, Progress: func(p Progress) {
		if p.Waiting != "" {
			k.learn("a", Life{Generation: 2, Ended: true, Same: true})
		}
	}})
	b.Equal([]int{0, 1, 0}, []int{result.Replayed, result.Skipped, result.Failed})
	b.Equal(string(refuseContinued), result.Notes[0].Text)
	b.Equal([]string{"a"}, b.ids(Filter{}))
	b.Empty(b.handovers(), "the queue has certainly no message of it")
}

func TestALetterBeforeAFullQueueMayChangeItsID(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.publish("kefu.send."+app+".bulk.c", "x", nats.Header{"Nats-Msg-Id": {"first"}})
	b.bury(letter("a"))
	k := &knowing{remembering: remembering{}}
	result := b.replay(Filter{}, Options{NewIDs: true, Ledger: k, Progress: func(p Progress) {
		if p.Waiting == "" {
			return
		}
		k.learn("a", Life{Generation: 2, Ended: true, Same: true})
		if all := b.handovers(); len(all) > 0 && all[0].Letters[0].NewID {
			b.consume()
		}
	}})
	b.Equal([]int{1, 0, 0}, []int{result.Replayed, result.Skipped, result.Failed})
	b.Equal([]string{"a~7"}, b.queuedIDs())
	b.Empty(b.ids(Filter{}))
	b.Empty(b.handovers())
}

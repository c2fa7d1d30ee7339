package deadletter

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestReplaySendsAgainAndEmptiesTheBox(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	for i := range 100 {
		b.bury(letter(fmt.Sprintf("order-%02d", i)))
	}
	b.bury(letter("other", of(schema.ReasonExpired)))
	var seen []Progress
	result := b.replay(Filter{Reasons: []schema.Reason{schema.ReasonExhausted}},
		Options{By: "ann@desk", Progress: func(p Progress) { seen = append(seen, p) }})
	b.Equal(100, result.Replayed)
	b.Zero(result.Skipped + result.Failed + result.Duplicates + result.Kept)
	b.Empty(result.Stopped)
	b.Equal([]string{"other"}, b.ids(Filter{}))
	b.Len(seen, 100)
	b.Equal(Progress{Replayed: 100}, seen[99])

	queued := b.queued()
	b.Len(queued, 100)
	for i, s := range queued { // one recipient: in the order in which they died
		env, err := wire.ParseEnvelope(s.Header, true)
		b.NoError(err)
		b.Equal(fmt.Sprintf("order-%02d", i), env.ID)
		b.Equal(2, env.Generation)
	}
	entries := b.audited()
	b.Len(entries, 2)
	b.Equal("begins", entries[0].Detail)
	b.Equal("replayed 100, skipped 0, failed 0", entries[1].Detail)
	b.Equal(100, entries[1].Count)
	b.Equal("reason=exhausted", entries[1].Filter)
	b.Equal("ann@desk", entries[1].Actor)
}

func TestReplayLeavesWhatCannotBeSent(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(
		letter("no-subject", of(schema.ReasonInvalid),
			func(l *schema.Letter) { l.Subject = "kefu.send." + app + ".live.ö" }),
		letter("typo", of(schema.ReasonInvalid), header("Kefu-Expire-At", "x")),
		letter("late", header("Kefu-Expires-At", "2020-01-01T00:00:00Z")),
		letter("reused", of(schema.ReasonIDReuse)),
		letter("elsewhere",
			func(l *schema.Letter) { l.AppID, l.Subject = "wx2", "kefu.send.wx2.bulk.c" }),
		letter("good", bulk("c")),
	)
	result := b.replay(Filter{}, Options{})
	b.Equal(1, result.Replayed)
	b.Equal(5, result.Skipped)
	b.Len(result.Notes, 5)
	b.Equal([]string{"no-subject", "typo", "late", "reused", "elsewhere"}, b.ids(Filter{}))

	result = b.replay(Filter{IDs: []string{"late", "reused"}},
		Options{NewIDs: true, ExpiresIn: time.Hour})
	b.Equal(2, result.Replayed)
	b.Equal([]string{"no-subject", "typo", "elsewhere"}, b.ids(Filter{}))
	env, err := wire.ParseEnvelope(b.queued()[2].Header, true)
	b.NoError(err)
	b.Equal("reused~7", env.ID)
}

func TestReplayAfterAnInterruption(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"), letter("b"))
	// The run before was killed between the queue's word and the deletion.
	msg, err := again(Options{}, &Item{Letter: *letter("a"), Seq: 1}, time.Now())
	b.NoError(err)
	_, err = b.conn.Outbox.PublishWait(t.Context(), msg)
	b.NoError(err)

	result := b.replay(Filter{}, Options{})
	b.Equal(2, result.Replayed)
	b.Equal(1, result.Duplicates)
	b.Empty(b.ids(Filter{}))
	b.Len(b.queued(), 2)
}

func TestReplayTellsTwoLettersOfOneIDApart(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	other := func(l *schema.Letter) { l.Sequence = 8; wire.SetPacket(l, []byte("another")) }
	b.bury(letter("a", of(schema.ReasonInvalid)), letter("a", of(schema.ReasonInvalid), other))
	result := b.replay(Filter{}, Options{})
	b.Equal(1, result.Replayed)
	b.Equal(1, result.Skipped)
	b.Equal(string(refuseSameID), result.Notes[0].Text)
	b.Len(b.ids(Filter{}), 1, "the second must not vanish as a repeat of the first")

	result = b.replay(Filter{}, Options{}) // another run, within the broker's window
	b.Equal(0, result.Replayed)
	b.Equal(string(refuseContinued), result.Notes[0].Text,
		"the first one's message is in the queue")
	b.Len(b.ids(Filter{}), 1)

	b.consume()
	result = b.replay(Filter{}, Options{Ledger: remembering{"a": {Generation: 2, Ended: true}}})
	b.Equal(0, result.Replayed)
	b.Equal(string(refuseContinued), result.Notes[0].Text,
		"and then known to the ledger, which would not let another one through")

	result = b.replay(Filter{},
		Options{Ledger: remembering{"a": {Generation: 2, Ended: true}}, NewIDs: true})
	b.Equal([]int{1, 0}, []int{result.Replayed, result.Duplicates})
	b.Empty(b.ids(Filter{}))
	b.Equal("another", string(b.queued()[0].Data))
	env, err := wire.ParseEnvelope(b.queued()[0].Header, true)
	b.NoError(err)
	b.Equal("a~8", env.ID)
}

func TestReplayWithoutALedgerTakesNoAnswerForAnothers(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	// the same packet under the same id, a month later
	again := func(l *schema.Letter) { l.Sequence = 8 }
	b.bury(letter("a"), letter("a", again))
	result := b.replay(Filter{}, Options{})
	b.Equal([]int{1, 1}, []int{result.Replayed, result.Skipped})
	b.consume()
	result = b.replay(Filter{}, Options{}) // within the broker's window
	b.Equal([]int{1, 0}, []int{result.Replayed, result.Duplicates})
	b.Len(b.queued(), 1, "published, and not taken for the first")
	b.Empty(b.ids(Filter{}))
}

func TestReplayWaitsForAFullQueue(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1)
	b.publish("kefu.send."+app+".bulk.c", "x", nats.Header{"Nats-Msg-Id": {"first"}})
	b.bury(letter("a"))
	waiting := make(chan string, 100)
	done := make(chan Result, 1)
	go func() {
		result, _ := b.box.Replay(t.Context(), Filter{}, Options{Progress: func(p Progress) {
			if p.Waiting != "" {
				waiting <- p.Waiting
			}
		}})
		done <- result
	}()
	b.Equal("the queue of "+app+" is full", <-waiting)
	b.Equal([]string{"a"}, b.ids(Filter{}), "the letter stays until the queue has the message")
	s, err := b.conn.JS.Stream(t.Context(), schema.SendStream(app))
	b.NoError(err)
	b.NoError(s.Purge(t.Context()))
	result := <-done
	b.Equal(1, result.Replayed)
	b.Empty(b.ids(Filter{}))
}

func TestReplayInterruptedLeavesTheRest(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	for i := range 10 {
		b.bury(letter(fmt.Sprint("order-", i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	result, err := b.box.Replay(ctx, Filter{}, Options{Rate: 20, Progress: func(p Progress) {
		if p.Replayed == 3 {
			cancel()
		}
	}})
	b.ErrorIs(err, context.Canceled)
	b.GreaterOrEqual(result.Replayed, 3)
	b.Len(b.queued(), result.Replayed, "what was published is settled")
	b.Len(b.ids(Filter{}), 10-result.Replayed)
	b.Contains(b.audited()[1].Detail, "interrupted")
	second := b.replay(Filter{}, Options{})
	b.Equal(10, result.Replayed+second.Replayed)
	b.Len(b.queued(), 10)
}

func TestReplayKeepsItsRate(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	for i := range 12 {
		b.bury(letter(fmt.Sprint("order-", i)))
	}
	result := b.replay(Filter{}, Options{Rate: 20}) // two at once, then one each 50 ms
	b.Equal(12, result.Replayed)
	b.GreaterOrEqual(result.Took, 480*time.Millisecond)
}

func TestReplayStopsAtItsLimits(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	b.bury(letter("a"), letter("b", of(schema.ReasonIDReuse)), letter("c"), letter("d"))
	plan, err := b.box.Plan(t.Context(), Filter{}, Options{}, noon)
	b.NoError(err)
	b.bury(letter("later"))
	result := b.replay(Filter{}, Options{Limit: 1, Through: plan.Through})
	b.Equal(1, result.Replayed)
	b.Equal([]string{"b", "c", "d", "later"}, b.ids(Filter{}))
	result = b.replay(Filter{}, Options{Through: plan.Through})
	b.Equal(2, result.Replayed)
	b.Equal([]string{"b", "later"}, b.ids(Filter{}), "what died after the plan is not of it")
}

func TestReplayStopsWhenNothingGoesThrough(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	s, err := b.conn.JS.Stream(t.Context(), schema.SendStream(app))
	b.NoError(err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgSize = 10
	_, err = b.conn.JS.UpdateStream(t.Context(), cfg)
	b.NoError(err)
	for i := range 200 {
		b.bury(letter(fmt.Sprint("order-", i)))
	}
	result := b.replay(Filter{}, Options{})
	b.Zero(result.Replayed)
	b.GreaterOrEqual(result.Failed, maxInRow)
	b.Less(result.Failed, 200)
	b.Contains(result.Stopped, "20 letters in a row")
	b.Contains(result.Stopped, fmt.Sprint(broker.CodeTooLarge))
	b.Len(b.ids(Filter{}), 200)
}

func TestReplayGoesOnAfterTheBrokerWasAway(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1000)
	for i := range 6 {
		b.bury(letter(fmt.Sprint("order-", i)))
	}
	cut := false
	result := b.replay(Filter{}, Options{Rate: 10, Progress: func(p Progress) {
		if !cut && p.Replayed == 2 {
			cut = true
			b.NoError(b.conn.NC.ForceReconnect())
		}
	}})
	b.Equal(6, result.Replayed)
	b.Empty(b.ids(Filter{}))
	b.Len(b.queued(), 6)
}

// cutting is the ledger, read over a proxy that is cut before a read and mended as soon as it has
// failed.
type cutting struct {
	*ledger.Lookup
	bed    *bed
	proxy  *brokertest.Proxy
	reads  int
	at     int // this read it is cut
	failed int
}

func (c *cutting) Read(ctx context.Context) error {
	if c.reads++; c.reads == c.at {
		c.bed.cut(c.proxy)
	}
	err := c.Lookup.Read(ctx)
	if err != nil {
		c.failed++
		c.proxy.Mend()
	}
	return err
}

func (c *cutting) Life(appID, id string, _ []byte) (Life, bool) {
	_, ok := c.Get(appID, id)
	return Life{}, ok
}

func TestReplayGoesOnAfterTheLedgerCouldNotBeRead(t *testing.T) {
	t.Parallel()
	const letters = maxUnsettled + 16
	b, proxy := newBedBehindAProxy(t)
	for i := range letters {
		b.bury(letter(fmt.Sprint("order-", i)))
	}
	c := &cutting{Lookup: ledger.NewLookup(b.conn), bed: b, proxy: proxy, at: 2}
	// a batch takes longer than what is known of the ledger is good for
	result := b.replay(Filter{}, Options{Rate: maxUnsettled / 2, Ledger: c})
	b.Positive(c.failed)
	b.Equal([]int{letters, 0, 0}, []int{result.Replayed, result.Skipped, result.Failed})
	b.LessOrEqual(len(b.ids(Filter{})), result.Kept,
		"what was taken out while the broker was away may count as kept")
	b.Len(b.queued(), letters)
}

func TestALetterIsJudgedAfterTheBrokerWasAway(t *testing.T) {
	t.Parallel()
	b, proxy := newBedBehindAProxy(t)
	b.bury(letter("a"))
	r := newReplay(b.box, Options{})
	var err error
	r.records, err = b.box.records(t.Context(), Filter{}, r.o, true)
	b.NoError(err)
	item := b.items()[0]
	for what, mayAsk := range map[string]func(){
		"whether there is a queue": func() { r.queues.known = nil },
		"what is in the queue":     func() { clear(r.records.looked) },
	} {
		_, err = r.judge(t.Context(), &item)
		b.NoError(err)
		mayAsk()
		b.cut(proxy)
		_, err = r.verdict(t.Context(), &item)
		b.Error(err, what)
		proxy.Mend()
		v, err := r.judge(t.Context(), &item)
		b.NoError(err, what)
		b.Equal(publishLetter, v.action, what)
	}
}

func TestAReplayTellsHowTheLifeBeforeEndedIfThatIsCounted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		died   time.Duration // ago
		change func(l *schema.Letter)
		ledger Ledger
		newIDs bool
		want   string
	}{
		{"there is no ledger", 0, nil, nil, false, "dead recipient"},
		{
			"the ledger knows", 0, nil,
			remembering{"a": {Generation: 1, Ended: true}}, false, "dead recipient",
		},
		{"the ledger has forgotten", 2 * marksLate, nil, remembering{}, false, "dead recipient"},
		{"the ledger does not know yet", 0, nil, remembering{}, false, ""},
		{
			"it may have been sent", 2 * marksLate,
			func(l *schema.Letter) { l.Reason, l.PossibleDuplicate = schema.ReasonUnknown, true },
			remembering{}, false, "dead unknown possible_duplicate",
		},
		{
			"under an id of its own, as its id went on", 0, nil,
			remembering{"a": {Generation: 2, Ended: true}}, true, "",
		},
		{
			"under an id of its own, which it never had", 0,
			func(l *schema.Letter) { l.Reason = schema.ReasonIDReuse },
			remembering{"a": {Generation: 2, Ended: true}}, true, "dead id-reuse",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t, 100)
			l := letter("a")
			l.Reason, l.PublishedAt, l.DiedAt = schema.ReasonRecipient, time.Now(),
				time.Now().Add(-c.died)
			if c.change != nil {
				c.change(l)
			}
			b.bury(l)
			b.Equal(1, b.replay(Filter{}, Options{Ledger: c.ledger, NewIDs: c.newIDs}).Replayed)
			env, err := wire.ParseEnvelope(b.queued()[0].Header, true)
			b.NoError(err)
			b.Equal(c.want, env.Before)
		})
	}
}

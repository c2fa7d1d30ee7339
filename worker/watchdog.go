package worker

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/pool"
)

// The watchdog tells of demand without progress, whatever its cause: work that
// is ready, asks for something, and gets no answer. Everything that an intent
// can wait for is one of four kinds, and the rule is one: the oldest of a kind
// must not wait longer than can be explained (aged). What waits is read from
// atomics and short locks, so that the answer comes while the broker holds up
// everything else.

// waitKind is what is waited for.
type waitKind string

const (
	waitPermission waitKind = "permission" // an intent with a slot, for the right to be sent
	waitStart      waitKind = "start"      // a mark, for the ledger's answer
	waitPublish    waitKind = "publish"    // a message, for the broker's word that it is stored
	waitRead       waitKind = "read"       // a followed stream, for a message or a sign of life
)

var waitKinds = []waitKind{waitPermission, waitStart, waitPublish, waitRead}

const (
	// publishMost is how long a publish may be without an answer: an election is
	// over by then. A cluster without a quorum answers nothing at all.
	publishMost = 15 * time.Second

	// waitMost is the same for the other kinds: after a lease whatever the broker
	// had to sort out is sorted out.
	waitMost = pool.Lease

	// turnsBefore is how many turns another worker may have before this one, on
	// average of one each: who of several is first with a slot is by chance, and
	// this worker stays without one for so long one time in three thousand.
	turnsBefore = 8

	watchEvery = time.Second
)

// wait is the oldest of a kind that has no answer.
type wait struct {
	kind  waitKind
	what  string // whose: an app, or a stream
	since time.Time
	most  time.Duration // how long can be explained
	why   string        // known cause; "" for none

	// set by aged
	age  time.Duration
	late bool
}

// aged says of each wait how old it is at now, and whether that is longer than
// can be explained. connected is since when the broker has been there
// (broker.Conn.Since): before that there was nobody to answer, and while it is
// away (zero) nothing is late but the broker.
func aged(waits []wait, connected, now time.Time) []wait {
	if connected.IsZero() {
		return nil
	}
	out := slices.Clone(waits)
	for i := range out {
		from := out[i].since
		if from.Before(connected) {
			from = connected
		}
		out[i].age = max(now.Sub(from), 0)
		out[i].late = out[i].age > out[i].most
	}
	return out
}

// oldestOf is the longest wait of a kind, and whether any of it is late.
func oldestOf(waits []wait, kind waitKind) (age time.Duration, late bool) {
	for _, x := range waits {
		if x.kind == kind {
			age, late = max(age, x.age), late || x.late
		}
	}
	return age, late
}

// permissionMost is how long a worker may wait for a permission, where most is
// what can be explained of any other wait: a slot of the rate comes every
// 1/perSecond, one more may be lost with a worker that was killed, and others of
// the pool may be first. While those send half of the rate there is no end to it:
// their live intents go before this one's bulk.
func permissionMost(most time.Duration, perSecond float64, others int,
	theirs float64) time.Duration {
	switch {
	case perSecond <= 0:
		return most
	case others > 0 && theirs >= perSecond/2:
		return math.MaxInt64
	}
	slots := float64(2 + turnsBefore*others)
	seconds := min(slots/perSecond, (1000 * time.Hour).Seconds())
	return most + time.Duration(seconds*float64(time.Second))
}

// sentence is what people are reported.
func (x wait) sentence() string {
	s := ""
	switch age := x.age.Round(time.Second); x.kind {
	case waitPermission:
		s = fmt.Sprintf("app %s: intents are ready and none has been permitted for %s, "+
			"though the app is not held and its rate would allow it", x.what, age)
	case waitStart:
		const sentence = "the ledger has not confirmed a mark for %s: nothing is sent without it"
		s = fmt.Sprintf(sentence, age)
	case waitPublish:
		s = fmt.Sprintf("the broker has not answered a publish for %s", age)
	case waitRead:
		s = fmt.Sprintf("%s has not been readable for %s", x.what, age)
	}
	if x.why != "" {
		s += ": " + x.why
	}
	return s
}

// watchdog looks at what waits, every now and then.
type watchdog struct {
	*services
	started func() bool
	apps    func() []*app
	every   time.Duration
	most    time.Duration // that any wait but those for a permission or a publish can be explained
}

// waits is the oldest of each kind. It never blocks.
func (w *watchdog) waits() []wait {
	if !w.started() {
		return nil
	}
	var out []wait
	add := func(x wait) {
		if !x.since.IsZero() {
			out = append(out, x)
		}
	}
	add(wait{kind: waitPublish, since: w.conn.Outbox.Oldest(), most: publishMost})
	add(wait{kind: waitStart, since: w.ledger.Oldest(), most: w.most})
	for _, u := range w.conn.Unread() {
		add(wait{kind: waitRead, what: u.Stream, since: u.Since, most: w.most, why: u.Why})
	}
	for _, a := range w.apps() {
		since := earlierKnown(a.unpermitted.at(), a.engine.waiters.oldest())
		if _, held := a.gate.Held(); held || since.IsZero() {
			continue
		}
		cfg := a.cfg()
		others, theirs := w.pool.Others(cfg.ID)
		most := permissionMost(w.most, cfg.Rate.PerSecond, others, theirs.PerSecond)
		add(wait{kind: waitPermission, what: cfg.ID, since: since, most: most})
	}
	return out
}

// watch tells of what waits longer than can be explained until ctx ends.
func (w *watchdog) watch(ctx context.Context) {
	t := time.NewTicker(w.every)
	defer t.Stop()
	var reported []string
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			reported = w.report(reported, aged(w.waits(), w.conn.Since(), now))
		}
	}
}

// report makes what is late a trouble, and clears those that were reported before
// and are late no more. It returns the subjects that are reported now. Of several
// waits of one subject the oldest is reported.
func (w *watchdog) report(before []string, waits []wait) (reported []string) {
	slices.SortFunc(waits, func(x, y wait) int { return cmp.Compare(y.age, x.age) })
	for _, x := range waits {
		subject := "unanswered " + string(x.kind) + " " + x.what
		if x.late && !slices.Contains(reported, subject) {
			w.troubles.set(subject, x.sentence())
			reported = append(reported, subject)
		}
	}
	for _, subject := range before {
		if !slices.Contains(reported, subject) {
			w.troubles.set(subject, "")
		}
	}
	return reported
}

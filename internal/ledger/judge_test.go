package ledger

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// act is one mark of a story, and what the ledger must say to it.
type act struct {
	by       string
	m        Mark
	want     Ruling
	life     int // generation the answer must name; 0 for any
	attempts int // spent, that the answer must name; -1 for any
	unknown  int // attempts of unknown outcome, that the answer must name; -1 for any
	suspects int
	whose    string // worker that the answer must name
	heir     bool   // the answer must say that the first message is gone
	carrier  uint64 // message that the answer must name as the one that goes on; 0 for any
}

func mark(by string, kind Kind, seq uint64, attempt uint8) act {
	return act{by: by, m: Mark{Key: 1, Kind: kind, Seq: seq, Attempt: attempt, Body: 7},
		attempts: -1, unknown: -1}
}

// The verbs of the stories. A producer's Start names no generation, all others do.
func start(by string, seq uint64, attempt uint8) act { return mark(by, Start, seq, attempt) }
func suspect(by string, seq uint64) act              { return mark(by, Suspect, seq, 1) }
func cleared(by string, seq uint64, spent uint8) act { return mark(by, Clear, seq, spent).gen(1) }
func later(by string, seq uint64, next uint8) act    { return mark(by, Later, seq, next).gen(1) }
func sent(by string, seq uint64, spent uint8) act    { return mark(by, Sent, seq, spent).gen(1) }
func dead(by string, seq uint64, spent uint8) act    { return mark(by, Dead, seq, spent).gen(1) }
func doomed(by string, seq uint64, spent uint8) act {
	return mark(by, Dying(schema.ReasonRecipient), seq, spent).gen(1)
}
func harmless(by string, seq uint64) act  { return mark(by, Harmless, seq, 1) }
func vanished(by string, seq uint64) act  { return mark(by, Gone, seq, 0).gen(1) }
func cancelled(by string, seq uint64) act { return mark(by, Cancelled, seq, 0).gen(1) }

func (a act) gen(n uint16) act { a.m.Generation = n; return a }

// in names the queue that the sequence counts in, by when it was made.
func (a act) in(queue int64) act { a.m.Stream = queue; return a }

// of is a mark that says how many attempts had an unknown outcome.
func (a act) of(unknown uint8) act { a.m.Unknown = unknown; return a }
func (a act) body(n uint32) act {
	a.m.Body = n
	return a
}

// again is a message that came by kefu.again, which knows its generation.
func (a act) again() act {
	a.m.Again, a.m.Generation = true, max(a.m.Generation, 1)
	return a
}

func (a act) is(r Ruling) act         { a.want = r; return a }
func (a act) inLife(n int) act        { a.life = n; return a }
func (a act) withSpent(n int) act     { a.attempts = n; return a }
func (a act) withUnknown(n int) act   { a.unknown = n; return a }
func (a act) inherits() act           { a.heir = true; return a }
func (a act) counts(n int) act        { a.suspects = n; return a }
func (a act) waitsFor(seq uint64) act { a.carrier = seq; return a }
func (a act) startedBy(w string) act  { a.whose = w; return a }

// TestTheRulesOfTheLedger is the specification of apply: the ledger's paragraph
// of contract.md, section 2, in stories. Sequences are those of an app's
// stream: 10 is the producer's message, 15 a producer's repeat of its id, 20
// and later what came by kefu.again.
func TestTheRulesOfTheLedger(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		story []act
	}{
		// The usual way.
		{"what nobody has marked may be sent", []act{
			start("a", 10, 1).is(Go).inLife(1).withSpent(0),
		}},
		{"a redelivery of what was sent is acknowledged", []act{
			start("a", 10, 1).is(Go), sent("a", 10, 1),
			start("b", 10, 1).is(Ended).withSpent(1),
		}},
		{"a redelivery of what died is acknowledged: dead is final", []act{
			start("a", 10, 1).is(Go), dead("a", 10, 1),
			start("b", 10, 1).is(Ended).inLife(1),
		}},
		{"a redelivery of what was cancelled is acknowledged", []act{
			cancelled("a", 10), start("b", 10, 1).is(Ended),
		}},
		{"a redelivery of what was put off is acknowledged: it waits in KEFU_LATER", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2),
			start("b", 10, 1).is(Ended),
		}},

		// A crash.
		{"a redelivery of what was started and has no end is the question of its worker's life",
			[]act{
				start("a", 10, 1).is(Go),
				start("b", 10, 1).is(Started).startedBy("a").withSpent(1),
			}},
		{"it stays so however often it is asked", []act{
			start("a", 10, 1).is(Go),
			start("b", 10, 1).is(Started), start("c", 10, 1).is(Started).startedBy("a"),
			start("b", 10, 1).is(Started),
		}},
		{"whoever takes over goes on with the next attempt", []act{
			start("a", 10, 1).is(Go), start("b", 10, 1).is(Started),
			start("b", 10, 2).is(Go).withSpent(1),
			start("c", 10, 2).is(Started).startedBy("b"),
		}},
		{"of two that take over, one does", []act{
			start("a", 10, 1).is(Go), start("b", 10, 1).is(Started), start("c", 10, 1).is(Started),
			start("c", 10, 2).is(Go), start("b", 10, 2).is(Started).startedBy("c"),
		}},
		{"one that was taken for dead gets nothing more", []act{
			start("a", 10, 1).is(Go), start("b", 10, 2).is(Go),
			start("a", 10, 2).is(Started).startedBy("b"),
		}},
		{"what it sends nevertheless may be sent twice, whoever is asked then", []act{
			start("a", 10, 1).is(Go), start("b", 10, 1).is(Started),
			start("b", 10, 2).of(1).is(Go), sent("a", 10, 1),
			start("c", 10, 1).is(Ended).withUnknown(1),
		}},
		{"whoever takes over may put it off", []act{
			start("a", 10, 1).is(Go), start("b", 10, 1).is(Started), later("b", 10, 2),
			start("c", 20, 2).again().is(Go),
		}},
		{"whoever takes over may say that the attempt is over", []act{
			start("a", 10, 1).is(Go), start("b", 10, 1).is(Started), cleared("b", 10, 1),
			start("c", 10, 1).is(Go),
		}},
		{"but not that nothing was sent", []act{
			start("a", 10, 1).is(Go), cleared("b", 10, 0),
			start("b", 10, 1).is(Started).startedBy("a"),
		}},

		// Certainly not sent.
		{"what was given back before it was sent may be sent", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 0),
			start("b", 10, 1).is(Go).withSpent(0),
		}},
		{"what was given back before it was started may be sent", []act{
			suspect("a", 10).counts(1), cleared("a", 10, 0), start("b", 10, 1).is(Go),
		}},
		{"after an attempt that is spent comes the next one", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 1),
			start("a", 10, 2).is(Go).withSpent(1),
		}},
		{"whoever starts it may not know what was spent before: the answer says so", []act{
			start("a", 10, 1).is(Go), start("a", 10, 2).is(Go), cleared("a", 10, 2),
			start("b", 10, 1).is(Go).withSpent(2), start("c", 10, 1).is(Started).withSpent(3),
		}},
		{"giving back never says less than what was learned", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 1).of(1), suspect("b", 10).counts(1),
			cleared("b", 10, 0),
			start("c", 10, 1).is(Go).withSpent(1).withUnknown(1),
		}},
		{"nor does taking back a start: what came before it stays", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 1).of(1), start("b", 10, 2).of(1).is(Go),
			cleared("b", 10, 0),
			start("c", 10, 1).is(Go).withSpent(1).withUnknown(1),
		}},
		{"a slow worker cannot take back what its successor started", []act{
			start("a", 10, 1).is(Go), start("b", 10, 2).is(Go), cleared("a", 10, 0),
			start("c", 10, 2).is(Started).startedBy("b"),
		}},
		{"nor say that its attempt is over", []act{
			start("a", 10, 1).is(Go), start("b", 10, 2).is(Go), cleared("a", 10, 1),
			start("c", 10, 2).is(Started).startedBy("b"),
		}},
		{"giving back changes nothing about an end", []act{
			start("a", 10, 1).is(Go), sent("a", 10, 1), cleared("b", 10, 0),
			start("c", 10, 1).is(Ended),
		}},
		{"nor about what was put off: its redelivery is given back, it itself waits", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2), cleared("b", 10, 0),
			start("b", 10, 1).is(Ended), start("c", 20, 2).again().is(Go),
		}},
		{"giving back a repeat does not take back what came first", []act{
			start("a", 10, 1).is(Go), cleared("a", 15, 0),
			start("b", 10, 1).is(Started),
		}},

		// One worker's own.
		{"in the same hands the next attempt follows at once", []act{
			start("a", 10, 1).is(Go), start("a", 10, 2).is(Go),
		}},
		{"but not the same one: what had begun and has no end is unknown, whoever forgot it", []act{
			start("a", 10, 1).is(Go), start("a", 10, 1).is(Started).startedBy("a").withSpent(1),
			start("a", 10, 2).of(1).is(Go).withSpent(1).withUnknown(1),
		}},
		{"nor an earlier one", []act{
			start("a", 10, 2).is(Go), start("a", 10, 1).is(Started),
		}},

		// Retries through KEFU_LATER.
		{"the retry that was waited for goes on", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2),
			start("b", 20, 2).again().is(Go).withSpent(1), sent("b", 20, 2),
			start("c", 20, 2).again().is(Ended).withSpent(2),
		}},
		{"a second copy of a retry is a repeat", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2),
			start("b", 20, 2).again().is(Go), start("c", 21, 2).again().is(Repeat),
		}},
		{"a copy of an earlier retry is a repeat", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2), start("a", 20, 2).again().is(Go),
			later("a", 20, 3),
			start("b", 21, 2).again().is(Repeat),
			start("c", 30, 3).again().is(Go),
		}},
		{"the message that was put off, handed out again after its retry was sent, is a repeat",
			[]act{
				start("a", 10, 1).is(Go), later("a", 10, 2), start("b", 20, 2).again().is(Go),
				sent("b", 20, 2),
				start("c", 10, 1).is(Repeat),
			}},
		{"and after its retry died it does not begin a new life", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2), start("b", 20, 2).again().is(Go),
			dead("b", 20, 2),
			start("c", 10, 1).is(Repeat).inLife(1),
		}},
		{"a retry whose predecessor's end was not written goes on", []act{
			start("a", 10, 1).is(Go), start("b", 20, 2).again().is(Go),
		}},
		{"then the predecessor's redelivery is a repeat", []act{
			start("a", 10, 1).is(Go), start("b", 20, 2).again().is(Go),
			start("c", 10, 1).is(Repeat),
		}},
		{"a slow worker cannot put off what its successor has begun", []act{
			start("a", 10, 1).is(Go), start("b", 10, 2).is(Go), later("a", 10, 2),
			start("c", 10, 2).is(Started).startedBy("b"),
		}},
		{"an intent that waits for its time is started when it comes back", []act{
			later("a", 10, 1), start("b", 20, 1).again().is(Go).withSpent(0),
		}},
		{"a retry goes on though the stream was made anew and its sequence is lower", []act{
			start("a", 1000, 1).is(Go), later("a", 1000, 2), start("b", 3, 2).again().is(Go),
		}},
		{"a retry that is given back may be started by whoever gets it", []act{
			later("a", 10, 2), start("b", 20, 2).again().is(Go), cleared("b", 20, 1).again(),
			start("c", 20, 2).again().is(Go),
		}},
		{"a second copy of it waits for the first", []act{
			later("a", 10, 2), start("b", 20, 2).again().is(Go), cleared("b", 20, 1).again(),
			start("c", 21, 1).again().is(Repeat),
		}},

		// A producer's repeats.
		{"a repeat while the first is on its way is acknowledged", []act{
			start("a", 10, 1).is(Go), start("b", 15, 1).is(Repeat),
		}},
		{"a repeat while the first waits for its retry is acknowledged", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2), start("b", 15, 1).is(Repeat),
		}},
		{"a repeat while the first is held is acknowledged", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 0), start("b", 15, 1).is(Repeat),
			start("b", 10, 1).is(Go),
		}},
		{"a repeat of what was sent is acknowledged", []act{
			start("a", 10, 1).is(Go), sent("a", 10, 1), start("b", 15, 1).is(Repeat),
		}},
		{"another body under the id of what is on its way is a letter", []act{
			start("a", 10, 1).is(Go), start("b", 15, 1).body(8).is(Reuse),
		}},
		{"another body under the id of what was sent is a letter", []act{
			start("a", 10, 1).is(Go), sent("a", 10, 1), start("b", 15, 1).body(8).is(Reuse),
		}},
		{"the first goes on whatever is said of its repeats", []act{
			start("a", 10, 1).is(Go), start("b", 15, 1).is(Repeat), dead("b", 15, 0),
			cancelled("b", 16), later("b", 17, 1),
			start("c", 10, 1).is(Started).startedBy("a"),
		}},

		// A queue that is deleted and made anew counts from 1 again, and whatever it held is gone.
		{"a repeat goes on in the place of the first, which is gone with its queue", []act{
			start("a", 10, 1).in(1).is(Go), cleared("a", 10, 0).in(1),
			start("b", 3, 1).in(2).is(Go).inLife(1).withSpent(0).inherits(), sent("b", 3, 1).in(2),
			start("c", 3, 1).in(2).is(Ended), start("c", 4, 1).in(2).is(Repeat),
		}},
		{"with what the first has cost", []act{
			start("a", 10, 1).in(1).is(Go), cleared("a", 10, 1).of(1).in(1),
			start("b", 3, 1).in(2).is(Go).withSpent(1).withUnknown(1).inherits(),
		}},
		{"it may have the sequence of the first", []act{
			start("a", 10, 1).in(1).is(Go), cleared("a", 10, 1).in(1),
			start("b", 10, 1).in(2).is(Go).withSpent(1).inherits(),
			start("c", 10, 1).in(2).is(Started).startedBy("b"),
		}},
		{"the one after it is a repeat again", []act{
			start("a", 10, 1).in(1).is(Go), cleared("a", 10, 0).in(1),
			start("b", 3, 1).in(2).is(Go).inherits(), cleared("b", 3, 0).in(2),
			start("c", 4, 1).in(2).is(Repeat),
		}},
		{"it goes on for a retry as well, which was in the queue", []act{
			later("a", 10, 2).in(1), start("b", 20, 2).again().in(1).is(Go),
			cleared("b", 20, 1).again().in(1),
			start("c", 3, 1).in(2).is(Go).withSpent(1).inherits(),
		}},
		{"a first that had begun and has no end is the question of its worker's life", []act{
			start("a", 10, 1).in(1).is(Go),
			start("b", 3, 1).in(2).is(Started).startedBy("a").withSpent(1).inherits(),
			cleared("b", 3, 1).of(1).in(2),
			start("b", 3, 2).in(2).is(Go).withSpent(1).withUnknown(1),
		}},
		{"in the same hands too: the call of the first may be under way there", []act{
			start("a", 10, 1).in(1).is(Go),
			start("a", 3, 1).in(2).is(Started).startedBy("a").inherits(),
		}},
		{"and giving it back does not say that the first was not sent", []act{
			start("a", 10, 1).in(1).is(Go), cleared("a", 3, 0).in(2),
			start("b", 3, 1).in(2).is(Started).startedBy("a").inherits(),
		}},
		{"whoever takes over may go on at once", []act{
			start("a", 10, 1).in(1).is(Go), start("b", 3, 1).in(2).is(Started).inherits(),
			start("b", 3, 2).in(2).is(Go).inherits(),
			start("c", 3, 2).in(2).is(Started).startedBy("b"),
		}},
		{"the end of the first, told late, is the end of both", []act{
			start("a", 10, 1).in(1).is(Go), start("b", 3, 1).in(2).is(Started).inherits(),
			sent("a", 10, 1).in(1),
			start("b", 3, 1).in(2).is(Repeat),
		}},
		{"a slow worker of the queue that is gone changes nothing but by having sent it", []act{
			start("a", 10, 1).in(1).is(Go), start("b", 3, 2).in(2).is(Go).inherits(),
			cleared("a", 10, 1).in(1), later("a", 10, 2).in(1), doomed("a", 10, 1).in(1),
			dead("a", 10, 1).in(1),
			start("a", 10, 1).in(1).is(Repeat), start("c", 3, 2).in(2).is(Started).startedBy("b"),
			sent("a", 10, 1).in(1), start("c", 3, 2).in(2).is(Repeat),
		}},
		{"a repeat of what waits for its retry is a repeat: KEFU_LATER is another stream", []act{
			start("a", 10, 1).in(1).is(Go), later("a", 10, 2).in(1),
			start("b", 3, 1).in(2).is(Repeat), dead("b", 3, 0).in(2), cleared("b", 3, 0).in(2),
			start("c", 4, 2).again().in(2).is(Go).withSpent(1),
		}},
		{"a repeat of what was sent is a repeat, whatever its sequence", []act{
			start("a", 10, 1).in(1).is(Go), sent("a", 10, 1).in(1),
			start("b", 10, 1).in(2).is(Repeat),
		}},
		{"after dead the id begins a new life, whatever its sequence", []act{
			start("a", 10, 1).in(1).is(Go), dead("a", 10, 1).in(1),
			start("b", 10, 1).in(2).is(Go).inLife(2), sent("b", 10, 1).gen(2).in(2),
			start("c", 10, 1).in(2).is(Ended).inLife(2),
		}},
		{"also when its retry died in the new queue", []act{
			start("a", 10, 1).in(1).is(Go), later("a", 10, 2).in(1),
			start("b", 3, 2).again().in(2).is(Go), dead("b", 3, 2).again().in(2),
			start("c", 10, 1).in(2).is(Go).inLife(2),
		}},
		{"but no message of the old queue begins one", []act{
			start("a", 3, 1).in(2).is(Go), dead("a", 3, 1).in(2),
			start("b", 10, 1).in(1).is(Repeat).inLife(1),
		}},
		{"a burial that was begun is finished", []act{
			start("a", 10, 1).in(1).is(Go), doomed("a", 10, 1).in(1),
			start("b", 3, 1).in(2).is(Doomed).startedBy("a").withSpent(1).inherits(),
			dead("b", 3, 1).in(2),
			start("c", 3, 1).in(2).is(Ended), start("c", 4, 1).in(2).is(Go).inLife(2),
		}},
		{"another body is a letter there too", []act{
			start("a", 10, 1).in(1).is(Go), cleared("a", 10, 0).in(1),
			start("b", 3, 1).in(2).body(8).is(Reuse),
		}},
		{"marks of workers that do not say which queue they mean are of the same one", []act{
			start("old", 10, 1).is(Go), cleared("old", 10, 1),
			start("new", 10, 1).in(2).is(Go).withSpent(1),
			start("old", 10, 1).is(Started).startedBy("new"), cleared("new", 10, 2).in(2),
			start("old", 10, 1).is(Go).withSpent(2), cleared("old", 10, 3),
			start("new", 15, 1).in(2).is(Repeat),
			start("new", 3, 1).in(3).is(Go).withSpent(3).inherits(),
		}},

		// A message that was purged or deleted: the queue is the same, and its sequences go on.
		{"a repeat goes on in the place of a first that was held and purged", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 0),
			start("b", 15, 1).is(Repeat).waitsFor(10), vanished("b", 10),
			start("b", 15, 1).is(Go).inLife(1).withSpent(0).inherits(), sent("b", 15, 1),
			start("c", 15, 1).is(Ended), start("c", 16, 1).is(Repeat),
		}},
		{"with what a purged first has cost", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 1).of(1), vanished("b", 10),
			start("b", 15, 1).is(Go).withSpent(1).withUnknown(1).inherits(),
		}},
		{"whoever comes first takes the place, and there is one to take", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 0), vanished("b", 10), vanished("c", 10),
			start("c", 16, 1).is(Go).inherits(), start("b", 15, 1).is(Repeat).waitsFor(16),
			vanished("d", 10),
			start("d", 17, 1).is(Repeat).waitsFor(16), start("e", 16, 1).is(Started).startedBy("c"),
		}},
		{"whoever has the purged message in hand may be the first to come", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 0), vanished("b", 10),
			start("a", 10, 1).is(Go),
			start("b", 15, 1).is(Started).startedBy("a").inherits(), sent("a", 10, 1),
			start("b", 15, 1).is(Repeat),
		}},
		{"or the second", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 0), vanished("b", 10),
			start("b", 15, 1).is(Go).inherits(),
			start("a", 10, 1).is(Repeat).waitsFor(15), later("a", 10, 2), cleared("a", 10, 1),
			dead("a", 10, 1),
			start("c", 15, 1).is(Started).startedBy("b"), sent("b", 15, 1),
			start("a", 10, 1).is(Repeat),
		}},
		{"what is given back of a purged message is free at once", []act{
			start("a", 10, 1).is(Go), vanished("b", 10), start("b", 15, 1).is(Started).inherits(),
			cleared("a", 10, 0),
			start("b", 15, 1).is(Go).withSpent(0).inherits(),
		}},
		{"a purged first that had begun and has no end is the question of its worker's life", []act{
			start("a", 10, 1).is(Go), start("b", 15, 1).is(Repeat).waitsFor(10), vanished("b", 10),
			start("b", 15, 1).is(Started).startedBy("a").withSpent(1).inherits(),
			cleared("b", 15, 1).of(1), start("b", 15, 2).is(Go).withSpent(1).withUnknown(1),
		}},
		{"giving a repeat back does not say that a purged first was not sent", []act{
			start("a", 10, 1).is(Go), vanished("a", 10), cleared("a", 15, 0),
			start("b", 15, 1).is(Started).startedBy("a").inherits(),
		}},
		{"the end of a first that is missing because it has ended comes before: nothing is free",
			[]act{
				start("a", 10, 1).is(Go), start("b", 15, 1).is(Repeat).waitsFor(10),
				sent("a", 10, 1), vanished("b", 10),
				start("b", 15, 1).is(Repeat),
			}},
		{"nor when it was put off meanwhile", []act{
			start("a", 10, 1).is(Go), start("b", 15, 1).is(Repeat).waitsFor(10), later("a", 10, 2),
			vanished("b", 10),
			start("b", 15, 1).is(Repeat), start("c", 20, 2).again().is(Go).withSpent(1),
		}},
		{"nor when a retry carries it on", []act{
			later("a", 10, 2), start("b", 20, 2).again().is(Go), cleared("b", 20, 1).again(),
			vanished("c", 10),
			start("c", 15, 1).is(Repeat).waitsFor(20), vanished("c", 20),
			start("c", 15, 1).is(Go).withSpent(1).inherits(),
			start("d", 21, 2).again().is(Repeat).waitsFor(15),
		}},
		{"what died of a purged message is dead, whoever of the two comes again", []act{
			start("a", 10, 1).is(Go), cleared("a", 10, 0), vanished("b", 10),
			start("b", 15, 1).is(Go).inherits(), dead("b", 15, 1),
			start("c", 15, 1).is(Ended).inLife(1), start("a", 10, 1).is(Repeat).inLife(1),
			start("c", 20, 1).is(Go).inLife(2),
		}},
		{"a burial that was begun of a purged message is finished", []act{
			start("a", 10, 1).is(Go), doomed("a", 10, 1), start("b", 15, 1).is(Repeat).waitsFor(10),
			vanished("b", 10),
			start("b", 15, 1).is(Doomed).startedBy("a").withSpent(1).inherits(), dead("b", 15, 1),
			start("c", 15, 1).is(Ended),
		}},
		{"another body under the id of a purged message is a letter, and its end changes nothing",
			[]act{
				start("a", 10, 1).is(Go), vanished("b", 10), start("b", 15, 1).body(8).is(Reuse),
				dead("b", 15, 0).body(8),
				start("c", 10, 1).is(Started).startedBy("a"),
			}},
		{"that a message is missing says nothing of an id that nobody knows", []act{
			vanished("a", 10), start("b", 15, 1).is(Go), start("c", 16, 1).is(Repeat).waitsFor(15),
		}},
		{"nor of a message of the same sequence in another queue", []act{
			start("a", 10, 1).in(2).is(Go), cleared("a", 10, 0).in(2), vanished("b", 10).in(1),
			vanished("b", 10).in(3),
			start("b", 15, 1).in(2).is(Repeat).waitsFor(10),
		}},

		// Further lives.
		{"after dead the id begins a new life, with another body if it wants", []act{
			start("a", 10, 1).is(Go), dead("a", 10, 1),
			start("b", 30, 1).body(8).is(Go).inLife(2),
		}},
		{"after cancelled too", []act{
			cancelled("a", 10), start("b", 30, 1).is(Go).inLife(2),
		}},
		{"the new life has its own end", []act{
			start("a", 10, 1).is(Go), dead("a", 10, 1), start("b", 30, 1).is(Go).inLife(2),
			sent("b", 30, 1).gen(2),
			start("c", 30, 1).is(Ended).inLife(2), start("c", 40, 1).is(Repeat).inLife(2),
		}},
		{"the end of the old life says nothing about the new one", []act{
			start("a", 10, 1).is(Go), dead("a", 10, 1), start("b", 30, 1).is(Go).inLife(2),
			dead("a", 10, 1), sent("a", 10, 1), cleared("a", 10, 0), later("a", 10, 2),
			start("c", 30, 1).is(Started).startedBy("b").inLife(2),
		}},
		{"a retry of the old life is acknowledged", []act{
			start("a", 10, 1).is(Go), dead("a", 10, 1), start("b", 30, 1).is(Go).inLife(2),
			start("c", 20, 2).again().gen(1).is(Ended),
		}},
		{"a replay names its life", []act{
			start("a", 10, 1).is(Go), dead("a", 10, 1),
			start("b", 30, 1).again().gen(2).is(Go).inLife(2), sent("b", 30, 1).gen(2),
			start("c", 40, 1).is(Repeat).inLife(2),
		}},
		{"a second copy of a replay is a repeat", []act{
			dead("a", 10, 1), start("b", 30, 1).again().gen(2).is(Go),
			start("c", 31, 1).again().gen(2).is(Repeat),
		}},
		{"a replay may have another body: somebody mended it", []act{
			dead("a", 10, 1), start("b", 30, 1).again().gen(2).body(9).is(Go),
		}},
		{"the ledger remembers too little of a replay's past: it goes on all the same", []act{
			start("b", 30, 1).again().gen(5).is(Go).inLife(5),
			start("c", 40, 1).is(Repeat).inLife(5),
		}},

		// Ends.
		{"sent is never overruled: it happened", []act{
			start("a", 10, 1).is(Go), sent("a", 10, 1), dead("b", 10, 1), cancelled("b", 10),
			later("b", 10, 2),
			start("c", 10, 1).is(Ended), start("c", 30, 1).is(Repeat),
		}},
		{"sent overrules what was believed before", []act{
			start("a", 10, 1).is(Go), start("b", 10, 1).is(Started), dead("b", 10, 1),
			sent("a", 10, 1),
			start("c", 15, 1).is(Repeat).inLife(1),
		}},
		{"sent counts though its retry is on its way already", []act{
			start("a", 10, 1).is(Go), later("b", 10, 2), start("c", 20, 2).again().is(Go),
			sent("a", 10, 1),
			start("d", 20, 2).again().is(Repeat),
		}},
		{"what died cannot be put off", []act{
			start("a", 10, 1).is(Go), dead("a", 10, 1), later("b", 10, 2),
			start("c", 20, 2).again().is(Repeat),
		}},
		{"what dies unstarted is remembered", []act{
			dead("a", 10, 0), start("b", 10, 1).is(Ended),
		}},
		{"a retry that dies unstarted ends the intent", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2), dead("b", 20, 1).again(),
			start("c", 20, 2).again().is(Ended), start("c", 30, 1).is(Go).inLife(2),
		}},

		// Burials.
		{"a burial that was begun is finished, not called again", []act{
			start("a", 10, 1).is(Go), doomed("a", 10, 1),
			start("b", 10, 1).is(Doomed).startedBy("a").withSpent(1),
			dead("b", 10, 1), start("c", 10, 1).is(Ended),
		}},
		{"a repeat of what is dying is a repeat", []act{
			start("a", 10, 1).is(Go), doomed("a", 10, 1), start("b", 15, 1).is(Repeat),
		}},
		{"a slow worker does not bury what its successor has started", []act{
			start("a", 10, 1).is(Go), start("b", 10, 2).is(Go), doomed("a", 10, 1),
			start("c", 10, 2).is(Started).startedBy("b"),
		}},
		{"nor what has ended", []act{
			start("a", 10, 1).is(Go), sent("a", 10, 1), doomed("b", 10, 1),
			start("b", 10, 1).is(Ended),
		}},
		{"what was sent all the same is sent", []act{
			start("a", 10, 1).is(Go), doomed("a", 10, 1), sent("b", 10, 1),
			start("b", 10, 1).is(Ended),
		}},

		// Suspects.
		{"each redelivery without an end counts", []act{
			suspect("a", 10).counts(1), suspect("b", 10).counts(2), suspect("c", 10).counts(3),
		}},
		{"a start is no sign that handling it works", []act{
			suspect("a", 10).counts(1), start("a", 10, 1).is(Go), suspect("b", 10).counts(2),
		}},
		{"being given back in good health is one", []act{
			suspect("a", 10).counts(1), start("a", 10, 1).is(Go), cleared("a", 10, 0),
			suspect("b", 10).counts(1),
		}},
		{"so is giving back what has not begun its new life", []act{
			dead("a", 10, 1), suspect("b", 30).counts(1), cleared("b", 30, 0).gen(2),
			suspect("c", 30).counts(1),
			start("c", 30, 1).is(Go).inLife(2),
		}},
		{"even when nothing else is to be taken back", []act{
			start("a", 10, 1).is(Go), later("a", 10, 2), suspect("b", 10).counts(1),
			cleared("b", 10, 0), suspect("c", 10).counts(1),
		}},
		{"an end is one", []act{
			suspect("a", 10).counts(1), start("a", 10, 1).is(Go), later("a", 10, 2),
			suspect("b", 20).counts(1),
		}},
		{"having been handled without harm is one, and changes nothing else", []act{
			start("a", 10, 1).is(Go), suspect("b", 10).counts(1),
			start("b", 10, 1).is(Started).startedBy("a"), harmless("b", 10),
			suspect("c", 10).counts(1), start("c", 10, 1).is(Started).startedBy("a").withSpent(1),
		}},
		{"nothing is remembered of harmlessness alone", []act{
			harmless("a", 10), start("b", 10, 1).is(Go),
		}},
		{"a new life begins without suspicion", []act{
			dead("a", 10, 1), suspect("b", 30).counts(1), start("b", 30, 1).is(Go).inLife(2),
			suspect("c", 30).counts(1),
		}},
		{"suspicion does not stand in the way of the first start", []act{
			suspect("a", 10).counts(1), suspect("b", 10).counts(2),
			start("b", 10, 1).is(Go).withSpent(0),
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newIndex(time.Hour)
			for i, a := range c.story {
				s := x.mark(a.m, x.worker(a.by))
				line := fmt.Sprintf("line %d: %s %s %d", i+1, a.by, a.m.Kind, a.m.Seq)
				require.Equal(t, a.want.String(), s.Ruling.String(), line)
				if a.life > 0 {
					require.Equal(t, a.life, s.Generation, line)
				}
				if a.attempts >= 0 {
					require.Equal(t, a.attempts, s.Attempts, line)
				}
				if a.unknown >= 0 {
					require.Equal(t, a.unknown, s.Unknown, line)
				}
				require.Equal(t, a.heir, s.Inherited, line)
				if a.carrier > 0 {
					require.Equal(t, a.carrier, s.Carrier, line)
				}
				if a.m.Kind == Suspect {
					require.Equal(t, a.suspects, s.Suspects, line)
				}
				if a.whose != "" {
					require.Equal(t, a.whose, s.Worker, line)
				}
			}
		})
	}
}

func TestAMarkOfALaterVersionChangesNothing(t *testing.T) {
	t.Parallel()
	x := newIndex(time.Hour)
	w := x.worker("a")
	x.mark(start("a", 10, 1).m, w)
	before, _ := x.get(1)
	require.Zero(t, x.mark(Mark{Key: 1, Kind: 99, Seq: 10, Generation: 9}, w).Ruling)
	after, _ := x.get(1)
	require.Equal(t, before, after)
	x.mark(Mark{Key: 2, Kind: 99, Seq: 10, Generation: 9}, w)
	_, known := x.get(2)
	require.False(t, known)
}

func TestSuspicionDoesNotWrapAround(t *testing.T) {
	t.Parallel()
	x := newIndex(time.Hour)
	w := x.worker("a")
	for range 300 {
		require.Positive(t, x.mark(suspect("a", 10).m, w).Suspects)
	}
	require.EqualValues(t, mostSuspects, x.mark(suspect("a", 10).m, w).Suspects)
}

func TestPeekSaysWhatStartWillDo(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		x := newIndex(time.Hour)
		x.worker("a")
		x.worker("b")
		for range r.IntN(6) {
			x.mark(randomMark(r, 1), uint16(r.IntN(2)))
		}
		m := Mark{Key: 0, Kind: Start, Seq: uint64(10 + r.IntN(4)), Stream: r.Int64N(4), Attempt: 1,
			Body: 7}
		before := x.peek(m)
		require.Equal(t, before, x.mark(m, x.worker("c")))
	}
}

// markKinds are those that decide anything.
var markKinds = [...]Kind{Start, Clear, Later, Sent, Dead, Cancelled, Suspect, Gone}

// randomMark is any mark that workers might write about few intents, however
// they came to do so.
func randomMark(r *rand.Rand, keys int) Mark {
	m := Mark{
		Key: Key(r.IntN(keys)), Kind: markKinds[r.IntN(len(markKinds))],
		Seq: uint64(10 + r.IntN(4)), Stream: r.Int64N(4), Body: 7,
		Attempt: uint8(r.IntN(4)), Unknown: uint8(r.IntN(2)), Generation: uint16(r.IntN(3)),
		Again: r.IntN(2) == 0,
	}
	if m.Again && m.Generation == 0 {
		m.Generation = 1
	}
	return m
}

// referee watches a log and fails when two got Go who must not.
type referee struct {
	t      require.TestingT
	holder map[call]Mark
	by     map[call]uint16
	sent   map[Key]int // newest generation that was sent
}

// call is one that the API must get once.
type call struct {
	key        Key
	generation int
	attempt    uint8
}

func newReferee(t require.TestingT) *referee {
	return &referee{t: t, holder: make(map[call]Mark), by: make(map[call]uint16),
		sent: make(map[Key]int)}
}

func (f *referee) watch(m Mark, w uint16, s Standing) {
	switch m.Kind {
	case Start:
		if s.Ruling != Go {
			return
		}
		if n, ok := f.sent[m.Key]; ok {
			require.Greater(f.t, s.Generation, n, "Go for what was sent: %+v", m)
		}
		c := call{m.Key, s.Generation, m.Attempt}
		if first, taken := f.holder[c]; taken {
			require.Equal(f.t, f.by[c], w, "two workers got Go for one attempt: %+v and %+v", first,
				m)
			require.Equal(f.t, first.Seq, m.Seq, "two messages got Go for one attempt: %+v and %+v",
				first, m)
		}
		f.holder[c], f.by[c] = m, w
	case Clear:
		// Whoever says that nothing was sent lets the attempt be made again.
		for c := range f.holder {
			if c.key == m.Key && c.generation == int(max(m.Generation, 1)) &&
				(f.by[c] == w || m.Attempt >= c.attempt) {
				delete(f.holder, c)
			}
		}
	case Sent:
		f.sent[m.Key] = max(f.sent[m.Key], int(max(m.Generation, 1)))
	}
}

func TestNoTwoGetGoForOneAttempt(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		x, f := newIndex(time.Hour), newReferee(t)
		for range 400 {
			m, w := randomMark(r, 3), x.worker(fmt.Sprint(r.IntN(3)))
			// A Sent of a life that has not begun would be a worker's invention.
			if e, ok := x.get(m.Key); m.Kind == Sent && (!ok || m.Generation > e.Generation) {
				continue
			}
			f.watch(m, w, x.mark(m, w))
		}
	}
}

func FuzzNoTwoGetGoForOneAttempt(f *testing.F) {
	f.Add([]byte{0x10, 0, 0x20, 1, 0x30, 2})
	f.Fuzz(func(t *testing.T, story []byte) {
		x, ref := newIndex(time.Hour), newReferee(t)
		for len(story) >= 3 {
			a, b, w := story[0], story[1], uint16(story[2]%3)
			story = story[3:]
			m := Mark{
				Key: 1, Kind: markKinds[a%8], Seq: 10 + uint64(a>>3%4), Body: 7, Attempt: b % 4,
				Unknown:    b >> 2 % 2,
				Generation: uint16(b >> 3 % 3), Again: b>>5%2 == 0,
			}
			if m.Again && m.Generation == 0 {
				m.Generation = 1
			}
			if e, ok := x.get(m.Key); m.Kind == Sent && (!ok || m.Generation > e.Generation) {
				continue
			}
			for _, name := range []string{"a", "b", "c"} {
				x.worker(name)
			}
			ref.watch(m, w, x.mark(m, w))
		}
	})
}

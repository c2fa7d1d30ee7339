// Package failpoint names the steps in the life of an intent at which a crash test can kill the
// process, as a power cut would.
//
// Without the build tag failpoints the package holds the names only: Reach is empty and costs
// nothing. With the tag, kefu reads what to do from the variable FAILPOINT:
//
//	FAILPOINT=started=kill@37          kill the process when the 37th intent reaches the point
//	FAILPOINT=decoded=kill#order-4711  kill it whenever this intent reaches the point
//	FAILPOINT=decoded=panic#order-1    panic instead
//
// Commas separate several of them.
package failpoint

// Point is a step in the life of an intent.
type Point string

// The points, in order. Each is reached when what it names has happened and nothing after it has
// begun.
const (
	Pulled       Point = "pulled"        // the broker delivered it to this worker
	Suspected    Point = "suspected"     // a redelivery: the ledger has the Suspect mark
	Decoded      Point = "decoded"       // the packet is decoded and valid
	Started      Point = "started"       // the ledger has the Start mark; the call comes next
	Answered     Point = "answered"      // the call is over, and nothing is stored about it
	SentMarked   Point = "sent-marked"   // the ledger has the Sent mark
	Dying        Point = "dying"         // the ledger has the Dying mark; the letter comes next
	LetterStored Point = "letter-stored" // the letter is in KEFU_DEAD
	DeadMarked   Point = "dead-marked"   // the ledger has the Dead mark; the ack comes next
	LaterStored  Point = "later-stored"  // KEFU_LATER has it
	LaterMarked  Point = "later-marked"  // the ledger has the Later mark; the ack comes next
	Held         Point = "held"          // it caused a hold of the app; its Start mark stands
	Cleared      Point = "cleared"       // the ledger has the Clear mark, so no Start mark stands
	Moved        Point = "moved"         // due and queued again; KEFU_LATER still has it
)

// Points returns all of them, in order.
func Points() []Point {
	return []Point{
		Pulled, Suspected, Decoded, Started, Answered, SentMarked, Dying, LetterStored, DeadMarked,
		LaterStored, LaterMarked, Held, Cleared, Moved,
	}
}

// Package failpoint names the steps on the path of an intent at which a crash
// test may end the process: right there, as a power cut would.
//
// A build without the tag failpoints knows the names and nothing else: Reach
// is empty and costs nothing. With the tag, `kefu` reads from the environment
// (FAILPOINT) what is to happen where:
//
//	FAILPOINT=started=kill@37          at the 37th intent that gets there
//	FAILPOINT=decoded=kill#order-4711  whenever this intent gets there
//	FAILPOINT=decoded=panic#order-1    likewise, a panic
//
// Several stand side by side, with commas.
package failpoint

// Point is a step on the path of an intent.
type Point string

// The points, in the order of the path. Each is reached when what it names has
// happened and nothing after it has begun.
const (
	Pulled       Point = "pulled"        // handed to this worker by the broker
	Suspected    Point = "suspected"     // handed out again: the ledger has the Suspect mark
	Decoded      Point = "decoded"       // the packet was read and is valid
	Started      Point = "started"       // the ledger has the Start mark; the call comes next
	Answered     Point = "answered"      // the call is over, nothing is written of it
	SentMarked   Point = "sent-marked"   // the ledger knows that it was sent
	Dying        Point = "dying"         // the ledger knows that it is to be buried; the letter comes next
	LetterStored Point = "letter-stored" // the letter is in KEFU_DEAD
	DeadMarked   Point = "dead-marked"   // the ledger knows that it is dead; the acknowledgement comes next
	LaterStored  Point = "later-stored"  // KEFU_LATER has it
	LaterMarked  Point = "later-marked"  // the ledger knows that; the acknowledgement comes next
	Held         Point = "held"          // it drew a hold of the app; its Start stands
	Cleared      Point = "cleared"       // the Start was taken back; it is given back next
	Moved        Point = "moved"         // due, and in its queue again; KEFU_LATER has it still
)

// Points lists all of them, in order.
func Points() []Point {
	return []Point{
		Pulled, Suspected, Decoded, Started, Answered, SentMarked, Dying, LetterStored, DeadMarked,
		LaterStored, LaterMarked, Held, Cleared, Moved,
	}
}

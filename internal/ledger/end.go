package ledger

import (
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// End is how a life of an id ended, as its campaign counts it: five bits. Zero
// says that it has not ended. Ends are stored in the log, but for endClosed: never
// change a number.
type End uint8

const (
	endSent      End = 1
	endCancelled End = 2
	endDead      End = 3 // for the first of storedReasons; the others follow

	// endClosed is dead for `recipient`, because the window for replies was closed. It
	// has the last number, out of the way of reasons to come. The log has it as the end
	// for `recipient`, which earlier versions know, and a flag beside it.
	endClosed End = 15

	// duplicate says that the message may have been sent more than once, as the
	// receipt does.
	duplicate End = 1 << 4

	endBits = 5
	endMask = 1<<endBits - 1
)

// endRecipient is endClosed as the log has it.
var endRecipient = deadFor(schema.ReasonRecipient)

// CodeClosed is the errcode that says that the recipient's window for replies is closed.
const CodeClosed = 45015

// DiedOf is an end whose letter has this errcode.
func (e End) DiedOf(errcode int) End {
	if errcode == CodeClosed {
		return e.close()
	}
	return e
}

// Errcode is the errcode that the intent died of, as far as the ledger tells errcodes
// apart: 45015 or 0.
func (e End) Errcode() int {
	if e.closed() {
		return CodeClosed
	}
	return 0
}

func (e End) closed() bool { return e&^duplicate == endClosed }

// close is endClosed where e is dead for `recipient`, else e.
func (e End) close() End {
	if e&^duplicate == endRecipient {
		return e&duplicate | endClosed
	}
	return e
}

// stored is e as the log has it beside the flag.
func (e End) stored() End {
	if e.closed() {
		return e&duplicate | endRecipient
	}
	return e
}

// deadFor is the end for a reason; zero for one that is not known.
func deadFor(r schema.Reason) End {
	if at := slices.Index(storedReasons[:], r); at >= 0 {
		return endDead + End(at)
	}
	return 0
}

// State is sent, dead or cancelled, and why it is dead; "" when there is no end.
func (e End) State() (schema.State, schema.Reason) {
	switch e &^= duplicate; {
	case e == endSent:
		return schema.StateSent, ""
	case e == endCancelled:
		return schema.StateCancelled, ""
	case e == endClosed:
		return schema.StateDead, schema.ReasonRecipient
	case e >= endDead && int(e-endDead) < len(storedReasons):
		return schema.StateDead, storedReasons[e-endDead]
	}
	return "", ""
}

// PossibleDuplicate says whether the message may have been sent more than once.
func (e End) PossibleDuplicate() bool { return e&duplicate != 0 }

// PossibleDuplicate says whether an intent with so many attempts of unknown outcome
// may have been sent more than once, or, if it is dead for a reason, at all.
func PossibleDuplicate(unknown int, reason schema.Reason) bool {
	return unknown > 0 || reason == schema.ReasonUnknown
}

// valid is e as it was stored, or zero if this version stores no such end.
func (e End) valid() End {
	if state, _ := e.State(); state == "" || e > endMask || e.closed() {
		return 0
	}
	return e
}

// String is the end in words, as [wire.Ended] has them; "" for none. They do not say
// Errcode.
func (e End) String() string {
	state, reason := e.State()
	return wire.Ended(state, reason, e.PossibleDuplicate())
}

// ParseEnd reads what String wrote, but for the Errcode, which [End.DiedOf] gives back;
// zero for anything else.
func ParseEnd(s string) (e End) {
	words := strings.Fields(s)
	if n := len(words); n > 1 && words[n-1] == wire.EndedTwice {
		e, words = duplicate, words[:n-1]
	}
	switch {
	case slices.Equal(words, []string{string(schema.StateSent)}):
		return e | endSent
	case slices.Equal(words, []string{string(schema.StateCancelled)}):
		return e | endCancelled
	case len(words) == 2 && words[0] == string(schema.StateDead):
		if dead := deadFor(schema.Reason(words[1])); dead != 0 {
			return e | dead
		}
	}
	return 0
}

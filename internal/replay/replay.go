// Package replay sends dead letters again. An operator orders a replay ([Submit]); the workers of
// the pool carry it out as a job ([Work], package job), and anybody may look at it ([Read]).
//
// A replay publishes the bytes of a letter to kefu.again as the next generation of the intent,
// waits until the queue has them, and only then takes the letter out of the box: cut off in
// between, it leaves a letter too many and never a message too few. A letter goes only when its own
// message is stored, or known by the ledger: one whose id went on without it, by another letter of
// the same id or by its producer, stays, since the ledger would let no message of that generation
// through.
//
//	plan.go      what would become of the letters that a filter chooses
//	submit.go    the order, from a plan
//	work.go      what carries it out: what its jobs share, and how each ends
//	choose.go    the next letters of a job, which are written down before they are published
//	carry.go     publishes them and takes them out of the box
//	evidence.go  PURE: what may be done with a letter, by what is known of its message
//	records.go   what is known: the ledger, the queue, what was begun before
//	again.go     PURE: the message that sends a letter again
//	edit.go      PURE: changes of its packet; original.go keeps the letter as it was
//	status.go    how far a replay has come
//	handover.go  which letters replays have in hand
package replay

import (
	"time"

	"github.com/kefuhq/kefu/schema"
)

// App is what a replay has to know of an app's settings.
type App struct {
	ExpireAfter time.Duration // deadline after publishing of what has none of its own; 0 for none
	Limits      schema.Limits // of packets, to tell what was invalid and no longer is
	Held        string        // why the app is held now, for a plan; "" when it is not
}

// Known is what a replay has to know besides the letters.
type Known struct {
	Apps map[string]App // by appid

	// Ledger tells what became of ids; nil without a ledger.
	Ledger Ledger

	// Remembered is for how long the ledger, or without one the queue, recognises a repeat; 0 for
	// always. A letter that a replay may have published longer ago, without the end of that being
	// known, is left in the box, but with AllowDoubles.
	Remembered time.Duration
}

// Options say how letters are sent again.
type Options struct {
	// ExpiresIn gives each a new deadline, from when it is published; 0 keeps the old one.
	ExpiresIn time.Duration `json:"expires_in,omitempty"`

	NewIDs bool        `json:"new_ids,omitempty"` // for letters whose id is another's: one of their own
	Lane   schema.Lane `json:"lane,omitempty"`    // "": each in its own
	Set    Edit        `json:"set,omitempty"`     // changes of the packets

	// AllowDoubles has letters sent that a replay may have sent before, see Known.Remembered.
	AllowDoubles bool `json:"allow_doubles,omitempty"`

	// HaltAfter halts the replay in an app when so many are dead again before the first was sent; 0
	// for never.
	HaltAfter int `json:"halt_after,omitempty"`
}

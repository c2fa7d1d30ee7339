package schema

// State is where an intent stands. It ends in exactly one terminal state for each generation.
type State string

// The states of an intent.
const (
	// Accepted, not yet taken.
	StateQueued State = "queued"
	// For its time, or for its retry.
	StateWaiting State = "waiting"
	// A worker has it.
	StateInFlight State = "in_flight"
	// Terminal: the API said errcode 0.
	StateSent State = "sent"
	// Terminal, with a [Reason]; an operator may replay it as the next generation.
	StateDead State = "dead"
	// Terminal: an operator or a producer withdrew it.
	StateCancelled State = "cancelled"
)

// Terminal reports whether an intent in this state has ended: sent, dead or cancelled.
func (s State) Terminal() bool { return s == StateSent || s == StateDead || s == StateCancelled }

// Reason is why an intent died.
type Reason string

// The reasons of a dead letter, each the last token of its subject kefu.dead.<appid>.<reason>.
const (
	// The packet, a header or the subject breaks the contract.
	ReasonInvalid Reason = "invalid"
	// Its Kefu-Expires-At passed before it could be sent.
	ReasonExpired Reason = "expired"
	// The API refuses this message, or answered with an errcode nobody knows, twice.
	ReasonRejected Reason = "rejected"
	// The API refuses this user: window closed, allowance used, not a follower.
	ReasonRecipient Reason = "recipient"
	// The API was busy for as many attempts as the app allows.
	ReasonExhausted Reason = "exhausted"
	// The request left and no usable answer came: it may have been sent.
	ReasonUnknown Reason = "unknown"
	// Its id belongs to an earlier intent with another body.
	ReasonIDReuse Reason = "id-reuse"
	// The process died handling it, three times.
	ReasonPoison Reason = "poison"
)

// A new one is appended to storedReasons in internal/ledger/mark.go, too: the ledger stores reasons
// by number.
var reasons = [...]Reason{
	ReasonInvalid, ReasonExpired, ReasonRejected, ReasonRecipient,
	ReasonExhausted, ReasonUnknown, ReasonIDReuse, ReasonPoison,
}

// Reasons lists every reason, in the order of the contract. The slice is the caller's.
func Reasons() []Reason { return append([]Reason(nil), reasons[:]...) }

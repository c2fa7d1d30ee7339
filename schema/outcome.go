package schema

import "time"

// State is where an intent stands. It ends in exactly one terminal state for each generation.
type State string

// The states of an intent.
const (
	StateQueued    State = "queued"    // Accepted, not yet taken.
	StateWaiting   State = "waiting"   // For its time, or for its retry.
	StateInFlight  State = "in_flight" // A worker has it.
	StateSent      State = "sent"      // Terminal: the API said errcode 0.
	StateDead      State = "dead"      // Terminal, with a [Reason]; an operator may replay it as the next generation.
	StateCancelled State = "cancelled" // Terminal: an operator or a producer withdrew it.
)

// Terminal reports whether an intent in this state has ended: sent, dead or cancelled.
func (s State) Terminal() bool { return s == StateSent || s == StateDead || s == StateCancelled }

// Reason is why an intent died.
type Reason string

// The reasons of a dead letter, each the last token of its subject kefu.dead.<appid>.<reason>.
const (
	ReasonInvalid   Reason = "invalid"   // The packet, a header or the subject breaks the contract.
	ReasonExpired   Reason = "expired"   // Its Kefu-Expires-At passed before it could be sent.
	ReasonRejected  Reason = "rejected"  // The API refuses this message, or answered with an errcode nobody knows, twice.
	ReasonRecipient Reason = "recipient" // The API refuses this user: window closed, allowance used, not a follower.
	ReasonExhausted Reason = "exhausted" // The API was busy for as many attempts as the app allows.
	ReasonUnknown   Reason = "unknown"   // The request left and no usable answer came: it may have been sent.
	ReasonIDReuse   Reason = "id-reuse"  // Its id belongs to an earlier intent with another body.
	ReasonPoison    Reason = "poison"    // The process died handling it, three times.
)

// A new one is appended to storedReasons in internal/ledger, too: the ledger stores reasons by number.
var reasons = [...]Reason{ReasonInvalid, ReasonExpired, ReasonRejected, ReasonRecipient, ReasonExhausted, ReasonUnknown, ReasonIDReuse, ReasonPoison}

// Reasons lists every reason, in the order of the contract. The slice is the caller's.
func Reasons() []Reason { return append([]Reason(nil), reasons[:]...) }

// Attempt is one try to send an intent, as letters and the internal header Kefu-Tried carry it.
type Attempt struct {
	Number     int       `json:"n"`                     // Counts from 1.
	At         time.Time `json:"at"`                    // When it began.
	DurationMS float64   `json:"ms"`                    // How long it took, in milliseconds.
	Outcome    string    `json:"outcome"`               // What came of it, one word.
	Errcode    *int      `json:"errcode,omitempty"`     // The API's code; nil when no answer was read.
	Errmsg     string    `json:"errmsg,omitempty"`      // The API's text for it.
	RID        string    `json:"rid,omitempty"`         // The API's id of the request, for its rid lookup.
	HTTPStatus int       `json:"http_status,omitempty"` // 0 when no answer came.
	Worker     string    `json:"worker,omitempty"`      // Who tried.
}

// Receipt is what kefu publishes when an intent has ended: JSON, on [ReceiptSubject], kept for 3 days. It names no recipient: who
// published knows the id.
type Receipt struct {
	ID                string    `json:"id"`
	AppID             string    `json:"appid"`
	Generation        int       `json:"generation"` // 1, and one more for each replay.
	State             State     `json:"state"`      // A terminal one.
	Lane              Lane      `json:"lane"`
	Campaign          string    `json:"campaign,omitempty"` // Of a bulk intent.
	Source            string    `json:"source,omitempty"`   // Its Kefu-Source.
	Reason            Reason    `json:"reason,omitempty"`   // Of a dead one.
	Errcode           *int      `json:"errcode,omitempty"`  // Of the last answer; nil when there was none.
	Errmsg            string    `json:"errmsg,omitempty"`
	RID               string    `json:"rid,omitempty"`
	Attempts          int       `json:"attempts"`                     // How many were made.
	PossibleDuplicate bool      `json:"possible_duplicate,omitempty"` // It was sent again after an attempt of unknown outcome.
	PublishedAt       time.Time `json:"published_at"`                 // When the queue accepted it.
	SettledAt         time.Time `json:"settled_at"`                   // When it ended.
}

package schema

import "time"

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

// A new one is appended to storedReasons in internal/ledger, too: the ledger stores reasons by
// number.
var reasons = [...]Reason{
	ReasonInvalid, ReasonExpired, ReasonRejected, ReasonRecipient,
	ReasonExhausted, ReasonUnknown, ReasonIDReuse, ReasonPoison,
}

// Reasons lists every reason, in the order of the contract. The slice is the caller's.
func Reasons() []Reason { return append([]Reason(nil), reasons[:]...) }

// Attempt is one try to send an intent, as letters and the internal header Kefu-Tried carry it.
type Attempt struct {
	// Counts from 1.
	Number int `json:"n"`
	// When it began.
	At time.Time `json:"at"`
	// How long it took, in milliseconds.
	DurationMS float64 `json:"ms"`
	// What came of it, one word.
	Outcome string `json:"outcome"`
	// The API's code; nil when no answer was read.
	Errcode *int `json:"errcode,omitempty"`
	// The API's text for it.
	Errmsg string `json:"errmsg,omitempty"`
	// The API's id of the request, for its rid lookup.
	RID string `json:"rid,omitempty"`
	// 0 when no answer came.
	HTTPStatus int `json:"http_status,omitempty"`
	// Who tried.
	Worker string `json:"worker,omitempty"`
}

// Receipt is what kefu publishes when an intent has ended: JSON, on [ReceiptSubject], kept for 3
// days. It names no recipient: who published knows the id.
type Receipt struct {
	ID    string `json:"id"`
	AppID string `json:"appid"`
	// 1, and one more for each replay.
	Generation int `json:"generation"`
	// A terminal one.
	State State `json:"state"`
	Lane  Lane  `json:"lane"`
	// Of a bulk intent.
	Campaign string `json:"campaign,omitempty"`
	// Its Kefu-Source.
	Source string `json:"source,omitempty"`
	// Of a dead one.
	Reason Reason `json:"reason,omitempty"`
	// Of the last answer; nil when there was none.
	Errcode *int   `json:"errcode,omitempty"`
	Errmsg  string `json:"errmsg,omitempty"`
	RID     string `json:"rid,omitempty"`
	// How many were made.
	Attempts int `json:"attempts"`
	// It was sent again after an attempt of unknown outcome.
	PossibleDuplicate bool `json:"possible_duplicate,omitempty"`
	// When the queue accepted it.
	PublishedAt time.Time `json:"published_at"`
	// When it ended.
	SettledAt time.Time `json:"settled_at"`
}

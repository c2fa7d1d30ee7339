package schema

import "time"

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
//
// A campaign that was cancelled has one receipt for all of its intents that were not sent by then,
// with their Count and the campaign's name as ID. They have none of their own.
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
	// How many intents were cancelled together with their campaign; 0 in the receipt of one intent.
	Count int `json:"count,omitempty"`
}

package schema

import "time"

// Letter is a dead letter: all that is known about an intent that was not sent, as JSON on
// [DeadSubject], kept for 30 days. It holds the message as it was published, so that it can be
// replayed byte for byte.
//
// Text fields other than the packet and the headers are meant for people; bytes in them that are
// not UTF-8 become U+FFFD in the JSON.
type Letter struct {
	// The producer's, or the default one.
	ID    string `json:"id"`
	AppID string `json:"appid"`
	// 1, and one more for each replay.
	Generation int  `json:"generation"`
	Lane       Lane `json:"lane"`
	// Of a bulk intent.
	Campaign string `json:"campaign,omitempty"`
	// The recipient: the subject's, or the packet's touser when it can be read.
	OpenID string `json:"openid,omitempty"`
	// Its Kefu-Source.
	Source string `json:"source,omitempty"`

	Reason Reason `json:"reason"`
	// The reason as one sentence for people.
	Detail string `json:"detail,omitempty"`
	// Of the last answer; nil when there was none.
	Errcode    *int   `json:"errcode,omitempty"`
	Errmsg     string `json:"errmsg,omitempty"`
	RID        string `json:"rid,omitempty"`
	HTTPStatus int    `json:"http_status,omitempty"`
	// It may have been sent, or was tried after it may have been.
	PossibleDuplicate bool `json:"possible_duplicate,omitempty"`

	Attempts []Attempt `json:"attempts,omitempty"` // In order; none when it died before its first.

	// As published, without a shard.
	Subject string              `json:"subject"`
	Headers map[string][]string `json:"headers,omitempty"`
	// The headers whose name or value is not valid UTF-8.
	HeadersBase64 []RawHeader `json:"headers_base64,omitempty"`
	// The packet, when it is valid UTF-8.
	Body string `json:"body,omitempty"`
	// The packet, when it is not.
	BodyBase64 []byte `json:"body_base64,omitempty"`

	// In its send stream.
	Sequence uint64 `json:"sequence"`
	// When the queue accepted it.
	PublishedAt time.Time `json:"published_at"`
	// When its first attempt began; absent when it died before.
	FirstAt time.Time `json:"first_at,omitzero"`
	// When its last attempt began.
	LastAt time.Time `json:"last_at,omitzero"`
	DiedAt time.Time `json:"died_at"`
	// Who buried it.
	Worker string `json:"worker,omitempty"`
}

// RawHeader is one value of a header that JSON text cannot hold: its name or its value is not valid
// UTF-8.
type RawHeader struct {
	Name  []byte `json:"name"`
	Value []byte `json:"value"`
}

// Packet returns the payload as it was published, whatever bytes that was.
func (l *Letter) Packet() []byte {
	if l.BodyBase64 != nil {
		return l.BodyBase64
	}
	return []byte(l.Body)
}

// Header returns the headers as they were published, whatever bytes they held. The map is the
// caller's.
func (l *Letter) Header() map[string][]string {
	h := make(map[string][]string, len(l.Headers)+len(l.HeadersBase64))
	for name, values := range l.Headers {
		h[name] = append([]string(nil), values...)
	}
	for _, raw := range l.HeadersBase64 {
		h[string(raw.Name)] = append(h[string(raw.Name)], string(raw.Value))
	}
	return h
}

package sandbox

import (
	"fmt"
	"hash/fnv"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/kefuhq/kefu/internal/plainjson"
)

// Record is one call as it was received and what became of it, decided when it had been read.
type Record struct {
	N  int       `json:"n"` // 1, 2, 3 … in the order in which calls had been read
	At time.Time `json:"at"`
	// "send", "token", "kfaccount", …, or the path of a call the sandbox does not know
	Call    string `json:"call"`
	Path    string `json:"path"`
	AppID   string `json:"appid,omitempty"`  // whose token it carried, or who asked for one
	OpenID  string `json:"openid,omitempty"` // of a message, or of typing
	MsgType string `json:"msgtype,omitempty"`

	// Body is the request's, byte for byte; empty for token calls and clear_quota/v2, whose body
	// holds a secret, and with [Options.DropBodies]. In JSON a body that is not UTF-8 is
	// body_base64 instead.
	Body string `json:"body,omitempty"`
	// Hash of the body: FNV-1a, 64 bits, 16 hexadecimal digits.
	Hash string `json:"hash,omitempty"`
	// Escaped: the body had \u escapes, which the real API is said to show to the user as they
	// stand.
	Escaped bool `json:"escaped,omitempty"`

	// Answered: the client was given a whole answer that says an errcode, which is Errcode. A token
	// counts as errcode 0.
	Answered   bool `json:"answered"`
	Errcode    int  `json:"errcode"`
	HTTPStatus int  `json:"http_status,omitempty"` // 0: no answer
	// what was wrong with the exchange: "reset after", "hang", "http 502", "body", …
	Fault string `json:"fault,omitempty"`
	Rule  int    `json:"rule,omitempty"` // the rule that acted

	// Delivered: the message was taken for delivery, whether or not its sender got to know.
	Delivered bool `json:"delivered"`
	// Overlap: another send to the same recipient was still in flight when this one arrived. A
	// client that gave up on a call in flight and sends the next at once may draw it too, when the
	// sandbox sees the new call before the end of the old connection.
	Overlap bool `json:"overlap,omitempty"`
}

// MarshalJSON keeps a body that is not UTF-8 intact.
func (r Record) MarshalJSON() ([]byte, error) {
	type plain Record
	out := struct {
		plain
		Base64 []byte `json:"body_base64,omitempty"`
	}{plain: plain(r)}
	if !utf8.ValidString(r.Body) {
		out.Body, out.Base64 = "", []byte(r.Body)
	}
	return plainjson.Marshal(out)
}

// Filter selects records; a field left empty selects everything.
type Filter struct {
	Call      string // a name or a path, as in [Rule.Call]
	AppID     string
	OpenID    string
	MsgType   string
	Contains  string // in the body
	Delivered bool   // only messages taken for delivery
	Since     int    // only records after this number
}

func (f *Filter) selects(n int, e *entry) bool {
	return n > f.Since &&
		(f.Call == "" || f.Call == e.route.call || f.Call == e.route.path) &&
		(f.AppID == "" || f.AppID == e.appID) &&
		(f.OpenID == "" || f.OpenID == e.openID) &&
		(f.MsgType == "" || f.MsgType == e.msgType) &&
		(!f.Delivered || e.delivered) &&
		(f.Contains == "" || strings.Contains(e.body, f.Contains))
}

// Field is what [Sandbox.CountBy] counts by.
type Field string

// The fields to count by.
const (
	ByOpenID  Field = "openid"
	ByAppID   Field = "appid"
	ByMsgType Field = "msgtype"
	ByErrcode Field = "errcode" // of answered calls
	ByHash    Field = "hash"    // of the body: equal messages
)

// value returns the field of a record, and false when the record has none.
func (f Field) value(e *entry) (string, bool) {
	switch f {
	case ByOpenID:
		return e.openID, e.openID != ""
	case ByAppID:
		return e.appID, e.appID != ""
	case ByMsgType:
		return e.msgType, e.msgType != ""
	case ByErrcode:
		return fmt.Sprint(e.errcode), e.answered
	case ByHash:
		h := e.bodyHash()
		return hexHash(h), h != 0
	}
	return "", false
}

// Stats are the totals since the start, or since what was received was forgotten.
type Stats struct {
	Since     time.Time `json:"since"`
	Sends     int       `json:"sends"`
	Delivered int       `json:"delivered"`
	OpenIDs   int       `json:"openids"`  // different recipients, per app
	Overlaps  int       `json:"overlaps"` // see [Record.Overlap]

	TokensIssued int `json:"tokens_issued"`
	TokensForced int `json:"tokens_forced"` // by force_refresh

	InFlight     int `json:"in_flight"` // calls read and not yet answered
	PeakInFlight int `json:"peak_in_flight"`
	Aborted      int `json:"aborted"`   // calls whose body did not arrive complete; not recorded
	Kept         int `json:"kept"`      // records that can be read
	Forgotten    int `json:"forgotten"` // records that had to make room

	Calls map[string]CallStats `json:"calls"`
}

// CallStats are the totals of one call.
type CallStats struct {
	Total    int            `json:"total"`
	Errcodes map[int]int    `json:"errcodes,omitempty"` // of answered calls; 0 included
	Faults   map[string]int `json:"faults,omitempty"`   // see [Record.Fault]
}

// entry is a record as it is kept: without what its route says, without what can be computed, and
// never changed once it is there.
type entry struct {
	at        int64 // Unix nanoseconds
	route     *route
	appID     string
	openID    string
	msgType   string
	body      string
	hash      uint64 // only when the body was dropped
	errcode   int
	rule      int32
	status    int16
	answered  bool
	delivered bool
	overlap   bool
	escaped   bool
	fault     string
}

func (e *entry) record(n int) Record {
	r := Record{
		N: n, At: time.Unix(0, e.at), Call: e.route.call, Path: e.route.path, AppID: e.appID,
		OpenID: e.openID, MsgType: e.msgType,
		Body: e.body, Escaped: e.escaped,
		Answered: e.answered, Errcode: e.errcode, HTTPStatus: int(e.status), Fault: e.fault,
		Rule:      int(e.rule),
		Delivered: e.delivered, Overlap: e.overlap,
	}
	if h := e.bodyHash(); h != 0 {
		r.Hash = hexHash(h)
	}
	return r
}

// bodyHash returns 0 for a call without a body.
func (e *entry) bodyHash() uint64 {
	if e.hash != 0 || e.body == "" {
		return e.hash
	}
	return hashOf(e.body)
}

func hashOf(body string) uint64 {
	h := fnv.New64a()
	_, _ = io.WriteString(h, body) // a hash never fails
	return h.Sum64()
}

func hexHash(h uint64) string { return fmt.Sprintf("%016x", h) }

package schema

import (
	"slices"
	"strings"
)

// Lane says who is waiting for an intent. Live goes before bulk, and only live keeps an order.
type Lane string

// The lanes of an app's queue.
const (
	LaneLive Lane = "live" // Conversation: keyed by openid, sent in order for each recipient.
	LaneBulk Lane = "bulk" // Campaigns: keyed by campaign, no order, yields to live.
)

// Names of the JetStream objects that all apps share and that producers may read.
const (
	StreamDead    = "KEFU_DEAD"    // The dead letters, each a [Letter].
	StreamReceipt = "KEFU_RECEIPT" // The receipts, each a [Receipt].
)

// maxToken is the longest subject token in bytes. An openid has 28, an appid 18; the rest is room
// for names of campaigns.
const maxToken = 128

const (
	tokenRule   = "must be 1 to 128 of A-Z a-z 0-9 _ -"
	subjectRule = "must be kefu.send.<appid>.live.<openid> or kefu.send.<appid>.bulk.<campaign>"
)

// Subject is where a producer publishes an intent, taken apart:
//
//	kefu.send.<appid>.live.<openid>
//	kefu.send.<appid>.bulk.<campaign>
//
// [LiveSubject] and [BulkSubject] make one.
type Subject struct {
	AppID string // The Official Account.
	Lane  Lane
	Key   string // The openid (live) or the campaign (bulk).
}

// LiveSubject is where an intent of a conversation with openid is published.
func LiveSubject(appID, openid string) Subject {
	return Subject{AppID: appID, Lane: LaneLive, Key: openid}
}

// BulkSubject is where an intent of a campaign is published.
func BulkSubject(appID, campaign string) Subject {
	return Subject{AppID: appID, Lane: LaneBulk, Key: campaign}
}

// ParseSubject takes apart the subject of an intent, as published or as the queue stores it: of a
// live one it knows a shard, kefu.send.<appid>.live.<shard>.<openid>, which is nobody's business
// and left out. What it returns has passed [Subject.Check]. The error, a [*FieldError], names what
// is wrong and never a token.
func ParseSubject(s string) (Subject, error) {
	var token [7]string
	n := 0
	for part := range strings.SplitSeq(s, ".") {
		if n == len(token) {
			break // Seven tokens are as wrong as a thousand.
		}
		token[n] = part
		n++
	}
	stored := n == 6 && Lane(token[3]) == LaneLive && isCount(token[4])
	if n != 5 && !stored || token[0] != "kefu" || token[1] != "send" {
		return Subject{}, &FieldError{Field: "subject", Rule: subjectRule}
	}
	subject := Subject{AppID: token[2], Lane: Lane(token[3]), Key: token[n-1]}
	if err := subject.Check(); err != nil {
		return Subject{}, err
	}
	return subject, nil
}

// String returns the subject. One that does not pass [Subject.Check] gives "", which every NATS
// client refuses to publish to: no crafted token can widen or redirect a subject.
func (s Subject) String() string {
	if s.Check() != nil {
		return ""
	}
	return "kefu.send." + s.AppID + "." + string(s.Lane) + "." + s.Key
}

// MarshalText returns the subject as [Subject.String] does, or why there is none.
func (s Subject) MarshalText() ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what [ParseSubject] does.
func (s *Subject) UnmarshalText(text []byte) error {
	parsed, err := ParseSubject(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// Check tells whether every token is one to 128 of A-Z a-z 0-9 _ - and the lane is known. The error
// is a [*FieldError] for "appid", "lane", "openid" or "campaign".
func (s Subject) Check() error {
	if err := CheckToken("appid", s.AppID); err != nil {
		return err
	}
	switch s.Lane {
	case LaneLive:
		return CheckToken("openid", s.Key)
	case LaneBulk:
		return CheckToken("campaign", s.Key)
	default:
		return &FieldError{Field: "lane", Rule: "must be live or bulk"}
	}
}

// CheckPacket tells whether p may be published under s: a live intent's openid must be the packet's
// touser. Else the order kept for one recipient would be that of another. The error is a
// [*FieldError] for "touser".
func (s Subject) CheckPacket(p *Packet) error {
	if s.Lane == LaneLive && s.Key != p.ToUser {
		return &FieldError{Field: "touser", Rule: "must be the openid of the subject"}
	}
	return nil
}

// CheckToken tells whether token may stand in a subject: 1 to 128 of A-Z a-z 0-9 _ -. That excludes
// everything that has a meaning to NATS (dots, wildcards, blanks, line breaks). The error, a
// [*FieldError], names field and not the token.
func CheckToken(field, token string) error {
	if !isToken(token) {
		return &FieldError{Field: field, Rule: tokenRule}
	}
	return nil
}

func isToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isWord(c) && c != '-' {
			return false
		}
	}
	return true
}

// isWord reports whether c is one of A-Z a-z 0-9 _.
func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// isCount reports whether s is a number from 0 to 999,999,999 in its one canonical form: no sign,
// no leading zero.
func isCount(s string) bool {
	if s == "" || len(s) > 9 || s[0] == '0' && len(s) > 1 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// SendStream names the stream that holds the intents of one app: KEFU_SEND_<appid>. It is "", which
// names no stream, when appID is no valid token.
func SendStream(appID string) string {
	if !isToken(appID) {
		return ""
	}
	return "KEFU_SEND_" + appID
}

// DeadSubject is where the dead letters of an app go: kefu.dead.<appid>.<reason>. It is "" for an
// invalid appID or an unknown reason.
func DeadSubject(appID string, r Reason) string {
	if !slices.Contains(reasons[:], r) {
		return ""
	}
	return join("kefu.dead", appID, string(r))
}

// ReceiptSubject is where the receipts of an app go: kefu.receipt.<appid>.<sent|dead|cancelled>. It
// is "" for an invalid appID and for a state that is not terminal, because there are no receipts of
// those.
func ReceiptSubject(appID string, s State) string {
	if !s.Terminal() {
		return ""
	}
	return join("kefu.receipt", appID, string(s))
}

// join appends tokens to a subject, or returns "" when one of them may not stand in a subject.
// Package internal/wire has its own: producers have no use for it, so it is not exported.
func join(prefix string, tokens ...string) string {
	subject := prefix
	for _, token := range tokens {
		if !isToken(token) {
			return ""
		}
		subject += "." + token
	}
	return subject
}

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

// Names of the JetStream objects that all apps share.
const (
	StreamLater     = "KEFU_LATER"
	StreamDead      = "KEFU_DEAD"
	StreamDeadIndex = "KEFU_DEAD_INDEX"
	StreamReceipt   = "KEFU_RECEIPT"
	StreamLedger    = "KEFU_LEDGER"
	StreamAudit     = "KEFU_AUDIT"
	StreamJob       = "KEFU_JOB"
	StreamRate      = "KEFU_RATE"
	BucketState     = "KEFU_STATE"
	BucketJob       = "KEFU_JOB"
)

// maxToken is the longest subject token in bytes. An openid has 28, an appid 18; the rest is room for names of campaigns.
const maxToken = 128

const (
	tokenRule   = "must be 1 to 128 of A-Z a-z 0-9 _ -"
	subjectRule = "must be kefu.send.<appid>.live.<openid> or kefu.send.<appid>.bulk.<campaign>"
)

// Subject is where an intent is published, taken apart:
//
//	kefu.send.<appid>.live.<openid>      kefu.again.<appid>.live.<openid>
//	kefu.send.<appid>.bulk.<campaign>    kefu.again.<appid>.bulk.<campaign>
//
// The stream stores live intents with their shard in front of the openid: kefu.send.<appid>.live.<shard>.<openid>.
type Subject struct {
	Again bool   // On kefu.again, which is reserved for kefu itself, instead of kefu.send.
	AppID string // The Official Account.
	Lane  Lane
	Shard int    // Of the stored form of a live intent, from 0; -1 for bulk and for the form that producers publish.
	Key   string // The openid (live) or the campaign (bulk).
}

// ParseSubject takes apart the subject of an intent, as published or as stored. What it returns has passed [Subject.Check].
// The error, a [*FieldError], names what is wrong and never a token.
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
	if n < 5 || n > 6 || token[0] != "kefu" || (token[1] != "send" && token[1] != "again") {
		return Subject{}, &FieldError{Field: "subject", Rule: subjectRule}
	}
	subject := Subject{Again: token[1] == "again", AppID: token[2], Lane: Lane(token[3]), Shard: -1, Key: token[n-1]}
	if n == 6 {
		shard, ok := parseCount(token[4])
		if !ok || subject.Lane != LaneLive {
			return Subject{}, &FieldError{Field: "subject", Rule: subjectRule}
		}
		subject.Shard = shard
	}
	if err := subject.Check(); err != nil {
		return Subject{}, err
	}
	return subject, nil
}

// String returns the subject in the form in which it is published, without a shard: the stream puts that in. A subject that does not
// pass [Subject.Check] gives "", which every NATS client refuses to publish to: no crafted token can widen or redirect a subject.
func (s Subject) String() string {
	if s.Check() != nil {
		return ""
	}
	verb := "send"
	if s.Again {
		verb = "again"
	}
	return "kefu." + verb + "." + s.AppID + "." + string(s.Lane) + "." + s.Key
}

// Check tells whether every token is one to 128 of A-Z a-z 0-9 _ - and the lane is known. The error is a [*FieldError] for "appid",
// "lane", "openid" or "campaign".
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

// CheckPacket tells whether p may be published under s: a live intent's openid must be the packet's touser. Else the order kept for
// one recipient would be that of another. The error is a [*FieldError] for "touser".
func (s Subject) CheckPacket(p *Packet) error {
	if s.Lane == LaneLive && s.Key != p.ToUser {
		return &FieldError{Field: "touser", Rule: "must be the openid of the subject"}
	}
	return nil
}

// CheckToken tells whether token may stand in a subject: 1 to 128 of A-Z a-z 0-9 _ -. That excludes everything that has a meaning to
// NATS (dots, wildcards, blanks, line breaks). The error, a [*FieldError], names field and not the token.
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

// parseCount reads a decimal number from 0 to 999,999,999 in its one canonical form: no sign, no leading zero.
func parseCount(s string) (int, bool) {
	if s == "" || len(s) > 9 || (s[0] == '0' && len(s) > 1) {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, true
}

// SendStream names the stream that holds the intents of one app: KEFU_SEND_<appid>. It is "", which names no stream, when appID is no
// valid token.
func SendStream(appID string) string {
	if !isToken(appID) {
		return ""
	}
	return "KEFU_SEND_" + appID
}

// DeadSubject is where the dead letters of an app go: kefu.dead.<appid>.<reason>. It is "" for an invalid appID or an unknown reason.
func DeadSubject(appID string, r Reason) string {
	if !slices.Contains(reasons[:], r) {
		return ""
	}
	return join("kefu.dead", appID, string(r))
}

// ReceiptSubject is where the receipts of an app go: kefu.receipt.<appid>.<sent|dead|cancelled>. It is "" for an invalid appID and for
// a state that is not terminal, because there are no receipts of those.
func ReceiptSubject(appID string, s State) string {
	if !s.Terminal() {
		return ""
	}
	return join("kefu.receipt", appID, string(s))
}

// LedgerSubject is where one worker writes its marks: kefu.ledger.<worker>. It is "" for an invalid worker name.
func LedgerSubject(worker string) string { return join("kefu.ledger", worker) }

// LaterWaitSubject is where one intent waits for its time: kefu.later.wait.<appid>.<unique>. A schedule belongs to its subject, so two
// waiting intents with the same subject would replace each other: unique must be. It is "" when a token is not valid.
func LaterWaitSubject(appID, unique string) string { return join("kefu.later.wait", appID, unique) }

// LaterDueSubject is where intents arrive when their time has come: kefu.later.due.<appid>. It is "" for an invalid appID.
func LaterDueSubject(appID string) string { return join("kefu.later.due", appID) }

// RateSubject is where the pool keeps the rate budget of an app: kefu.rate.<appid>. It is "" for an invalid appID.
func RateSubject(appID string) string { return join("kefu.rate", appID) }

// AuditSubject is where what operators do is written down: kefu.audit.<verb>. It is "" for an invalid verb.
func AuditSubject(verb string) string { return join("kefu.audit", verb) }

// join appends tokens to a subject, or returns "" when one of them may not stand in a subject.
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

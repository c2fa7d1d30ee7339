package wire

import (
	"strconv"
	"strings"

	"github.com/kefuhq/kefu/schema"
)

// Names of the JetStream objects that all apps share and that only kefu reads. Those that producers
// read as well are in package schema.
const (
	StreamLater     = "KEFU_LATER"
	StreamDeadIndex = "KEFU_DEAD_INDEX"
	StreamLedger    = "KEFU_LEDGER"
	StreamAudit     = "KEFU_AUDIT"
	StreamJob       = "KEFU_JOB"
	StreamRate      = "KEFU_RATE"
	StreamCampaign  = "KEFU_CAMPAIGN"
	BucketState     = "KEFU_STATE"
	BucketJob       = "KEFU_JOB"

	StreamState      = "KV_" + BucketState // The streams in which the buckets are kept.
	StreamJobRecords = "KV_" + BucketJob

	StateKeys = "$KV." + BucketState + "." // What the subjects of their keys begin with.
	JobKeys   = "$KV." + BucketJob + "."
)

const (
	sendPrefix  = "kefu.send."
	againPrefix = "kefu.again."

	laterWaitPrefix = "kefu.later.wait"
	chunkPrefix     = "kefu.campaign"
	ledgerPrefix    = "kefu.ledger"
)

// Subject is where an intent is queued: where its producer published it, or, with Again, the same
// place on kefu.again, where kefu publishes it once more.
type Subject struct {
	schema.Subject
	Again bool
}

// ParseSubject takes apart the subject of an intent, as published or as stored. What it returns has
// passed [schema.Subject.Check]. The error, a [*schema.FieldError], names what is wrong and never a
// token.
func ParseSubject(s string) (Subject, error) {
	rest, again := strings.CutPrefix(s, againPrefix)
	if again {
		s = sendPrefix + rest
	}
	subject, err := schema.ParseSubject(s)
	if err != nil {
		return Subject{}, err
	}
	return Subject{Subject: subject, Again: again}, nil
}

// IsAgain reports whether kefu itself published a message on this subject, whether the rest of it
// is valid or not.
func IsAgain(subject string) bool { return strings.HasPrefix(subject, againPrefix) }

// String returns the subject in the form in which it is published, "" when it does not pass
// [schema.Subject.Check].
func (s Subject) String() string {
	published := s.Subject.String()
	if rest, ok := strings.CutPrefix(published, sendPrefix); ok && s.Again {
		return againPrefix + rest
	}
	return published
}

// LedgerSubject is where one worker writes its marks: kefu.ledger.<worker>. It is "" for an invalid
// worker name.
func LedgerSubject(worker string) string { return join(ledgerPrefix, worker) }

// LedgerWorker returns the worker that writes on a subject of LedgerSubject.
func LedgerWorker(subject string) string { return strings.TrimPrefix(subject, ledgerPrefix+".") }

// LaterWaitSubject is where one intent waits for its time: kefu.later.wait.<appid>.<unique>. A
// schedule belongs to its subject, so two waiting intents with the same subject would replace each
// other: unique must be. It is "" when a token is not valid.
func LaterWaitSubject(appID, unique string) string { return join(laterWaitPrefix, appID, unique) }

// LaterDueSubject is where intents arrive when their time has come: kefu.later.due.<appid>. It is
// "" for an invalid appID.
func LaterDueSubject(appID string) string { return join("kefu.later.due", appID) }

// DeadIndexSubject is where the entries of one bucket of the index of dead letters are kept:
// kefu.deadindex.<bucket>. It is "" for an invalid bucket.
func DeadIndexSubject(bucket string) string { return join("kefu.deadindex", bucket) }

// RateSubject is where the pool keeps the rate budget of an app: kefu.rate.<appid>. It is "" for an
// invalid appID.
func RateSubject(appID string) string { return join("kefu.rate", appID) }

// AuditSubject is where what operators do is written down: kefu.audit.<verb>. It is "" for an
// invalid verb.
func AuditSubject(verb string) string { return join("kefu.audit", verb) }

// ChunkSubject is where the rows of one chunk of a campaign's file are kept, under the upload that
// stored it: kefu.campaign.<appid>.<upload>.<n>. It is "" when a token is not valid.
func ChunkSubject(appID, upload string, n int) string {
	return join(chunkPrefix, appID, upload, strconv.Itoa(n))
}

// ParseChunkSubject returns the app and the upload that a subject of ChunkSubject names; false for
// any other subject.
func ParseChunkSubject(subject string) (appID, upload string, ok bool) {
	rest, ok := strings.CutPrefix(subject, chunkPrefix+".")
	tokens := strings.Split(rest, ".")
	if !ok || len(tokens) != 3 {
		return "", "", false
	}
	return tokens[0], tokens[1], true
}

// join appends tokens to a subject, or returns "" when one of them may not stand in a subject.
func join(prefix string, tokens ...string) string {
	subject := prefix
	for _, token := range tokens {
		if schema.CheckToken("token", token) != nil {
			return ""
		}
		subject += "." + token
	}
	return subject
}

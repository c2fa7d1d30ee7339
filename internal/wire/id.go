package wire

import (
	"strconv"
	"strings"
	"time"
)

// separator stands between the parts of the broker message ids that kefu makes itself. It is not
// ASCII, and [schema.CheckID] accepts nothing else: no id of a producer can equal one of these and
// swallow a retry or a letter through the duplicate window.
const separator = "·"

// DefaultID is the id of an intent whose producer gave none: when its stream was created (UTC, to
// the millisecond) and its sequence there, as in "20261124T001500.123Z-42". The creation time keeps
// ids apart when a stream is deleted and made anew.
func DefaultID(streamCreated time.Time, seq uint64) string {
	return streamCreated.UTC().Format("20060102T150405.000Z") + "-" + strconv.FormatUint(seq, 10)
}

// ReplayMsgID is the broker message id of a dead letter that is published again, to kefu.again, as
// a generation of its intent. letter is its sequence in KEFU_DEAD: two letters of one id are two
// messages. The id must have passed [schema.CheckID].
func ReplayMsgID(appID, id string, generation int, letter uint64) string {
	return msgID(appID, id, strconv.Itoa(generation), "replay", strconv.FormatUint(letter, 10))
}

// MovedMsgID is the broker message id of an intent that is moved from one stream to another, to
// KEFU_LATER and back: from is the sequence that it leaves. The same message moved twice has one
// id; a second wait of the intent, or another message under its id, has another.
func MovedMsgID(appID, id string, generation, attempt, hop int, from uint64) string {
	return msgID(appID, id, strconv.Itoa(generation), strconv.Itoa(attempt), strconv.Itoa(hop),
		"from", strconv.FormatUint(from, 10))
}

// LetterMsgID is the broker message id of a dead letter. KEFU_DEAD is shared by all apps; seq is
// the sequence of the intent in its stream, which keeps apart two intents under one id (the letter
// of an id-reuse is not that of the intent it collides with).
func LetterMsgID(appID, id string, generation int, seq uint64) string {
	return msgID(appID, id, strconv.Itoa(generation), strconv.FormatUint(seq, 10))
}

// ReturnedMsgID is the broker message id of a dead letter that is put back into KEFU_DEAD while the
// stream still takes it for a duplicate of itself, which was deleted: former is the id that was
// taken for one, and seq the sequence that was deleted.
func ReturnedMsgID(former string, seq uint64) string {
	return msgID(former, "back", strconv.FormatUint(seq, 10))
}

// ReceiptMsgID is the broker message id of a receipt.
func ReceiptMsgID(appID, id string, generation int) string {
	return msgID(appID, id, strconv.Itoa(generation))
}

// CampaignReceiptMsgID is the broker message id of the receipt that stands for all intents of a
// campaign that was cancelled.
func CampaignReceiptMsgID(appID, campaign string) string {
	return msgID(appID, campaign, "campaign")
}

func msgID(parts ...string) string { return strings.Join(parts, separator) }

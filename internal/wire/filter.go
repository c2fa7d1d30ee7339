package wire

import (
	"strings"

	"github.com/kefuhq/kefu/schema"
)

// AnyToken is the wildcard that matches one token of a subject.
const AnyToken = "*"

// The functions of this file build filters: subjects with wildcards, by which kefu reads a part of
// a stream. Unlike the subjects that messages are published on, they are not checked. An app and
// whatever else a caller puts in has passed [schema.CheckToken] or is AnyToken.

// SendSubjects returns the subjects of an app's queue, as producers and kefu itself publish to
// them. They name every lane: with `….>` a producer could publish past the transform into a shard
// that nobody reads.
func SendSubjects(appID string) []string {
	var subjects []string
	for _, lane := range []schema.Lane{schema.LaneLive, schema.LaneBulk} {
		tail := appID + "." + string(lane) + "." + AnyToken
		subjects = append(subjects, sendPrefix+tail, againPrefix+tail)
	}
	return subjects
}

// LaneFilter matches the intents of one lane of an app, published by producers and by kefu itself:
// kefu.*.<appid>.<lane>.<key>. In the bulk lane the key is the campaign. In the live lane it is the
// openid when an intent is published, and the shard and the openid, two tokens, once it is stored.
func LaneFilter(appID string, lane schema.Lane, key ...string) string {
	return "kefu." + AnyToken + "." + appID + "." + string(lane) + "." + strings.Join(key, ".")
}

// AgainFilter matches what kefu itself has published to an app's queue: retries, replays, and
// intents whose time has come.
func AgainFilter(appID string) string { return againPrefix + appID + ".>" }

// LaterWaitFilter matches the intents of an app that wait in KEFU_LATER.
func LaterWaitFilter(appID string) string { return laterWaitPrefix + "." + appID + "." + AnyToken }

// ChunkFilter matches the chunks of an upload of an app; n is a chunk's number or AnyToken.
func ChunkFilter(appID, upload, n string) string {
	return chunkPrefix + "." + appID + "." + upload + "." + n
}

// DeadFilter matches the dead letters of an app and a reason, either of which may be AnyToken.
func DeadFilter(appID, reason string) string { return "kefu.dead." + appID + "." + reason }

// ReceiptFilter matches the receipts of an app.
func ReceiptFilter(appID string) string { return "kefu.receipt." + appID + "." + AnyToken }

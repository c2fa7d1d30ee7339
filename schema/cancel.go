package schema

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"
)

// Cancellation is the order not to send an intent any more: JSON on [CancelSubject]. A worker that
// meets the intent carries the order out and deletes it; the receipt says cancelled.
type Cancellation struct {
	// Generation is the last life of the id that is meant, those before it as well. It is for who
	// has seen where the intent stands. At 0 the order is about what the queue had accepted by At.
	Generation int `json:"generation"`

	// Who wants it, for people.
	By string `json:"by"`
	// At Generation 0, by the clock of the node that leads the app's queue.
	At time.Time `json:"at"`
}

// CancelSubject is where the cancellation of an intent is written: a key of the bucket KEFU_STATE,
// made of the app and a hash of the id. It is "" for an invalid appID.
func CancelSubject(appID, id string) string {
	sum := sha256.Sum256([]byte(appID + "\x00" + id))
	hash := strconv.FormatUint(binary.BigEndian.Uint64(sum[:]), 16)
	return join("$KV.KEFU_STATE.cancel", appID, hash)
}

package broker

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// pseudonymKey is the key of KEFU_STATE under which the pool keeps the key of
// its hashes. It is random: an openid has too little secrecy for a plain hash,
// which whoever has the list of followers could reverse.
const pseudonymKey = "pool.log_key"

// Pseudonyms replaces openids wherever no person may be named: in logs, in the
// audit, in the ids of a campaign's intents. A person has the same pseudonym
// in all of them, on every worker of the pool.
type Pseudonyms struct{ key []byte }

// NewPseudonyms returns pseudonyms made with a key.
func NewPseudonyms(key []byte) Pseudonyms { return Pseudonyms{key} }

// Pseudonyms returns those of the pool. The first to ask makes their key.
func (c *Conn) Pseudonyms(ctx context.Context) (Pseudonyms, error) {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	stored, err := c.StateOnce(ctx, pseudonymKey, key)
	if err != nil {
		return Pseudonyms{}, fmt.Errorf("the key of the hashes that stand for openids: %w", err)
	}
	return Pseudonyms{stored}, nil
}

// Of returns the pseudonym of an openid for people to read: 8 hexadecimal
// digits, "" for no openid.
func (p Pseudonyms) Of(openID string) string {
	if openID == "" {
		return ""
	}
	sum := p.Sum(openID)
	return hex.EncodeToString(sum[:4])
}

// Sum returns the whole hash of a text that contains an openid.
func (p Pseudonyms) Sum(text string) [sha256.Size]byte {
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(text))
	return [sha256.Size]byte(mac.Sum(nil))
}

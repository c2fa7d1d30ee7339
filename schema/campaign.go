package schema

import (
	"crypto/sha256"
	"encoding/base32"
)

// campaignHash of base32 are 130 bits of the hash: no two recipients of any campaigns ever share an
// id.
const campaignHash = 26

var campaignEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").
	WithPadding(base32.NoPadding)

// CampaignID returns the id that a producer gives the intent for one recipient of a campaign: the
// campaign, a dash, and 26 of a-z 2-7, which are a hash of app, campaign and openid. The same
// recipient of the same campaign always has the same id, so publishing again is a repeat. The id is
// valid ([CheckID]) when the campaign's name is ([Subject.Check]); a name beyond 101 bytes is cut in
// it, and the hash is of all of the name.
//
// The hash has no key: whoever has the list of an app's followers can compute everybody's id, and
// so tell from ids, which stand in logs, dead letters and receipts, who was sent to. Whoever must
// not have that gives ids of their own, made with a keyed hash.
//
// Every version returns the same ids.
func CampaignID(appID, campaign, openID string) string {
	const most = maxID - 1 - campaignHash
	sum := sha256.Sum256([]byte(appID + "\x00" + campaign + "\x00" + openID))
	hash := campaignEncoding.EncodeToString(sum[:])
	return campaign[:min(len(campaign), most)] + "-" + hash[:campaignHash]
}

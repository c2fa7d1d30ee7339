package campaign

import (
	"crypto/sha256"
	"encoding/base32"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// idChars of base32 are 130 bits of the hash: no two recipients of any campaign
// ever share an id.
const idChars = 26

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").
	WithPadding(base32.NoPadding)

// ID returns the id of the intent for one recipient: the campaign and a hash of
// the recipient. The same recipient of the same campaign always has the same id
// in one pool, so publishing again is a repeat. Ids stand in logs, where no
// openid may: the hash is keyed, or whoever has the list of followers could
// reverse it. A campaign's name beyond 101 bytes is cut in the id; the hash is
// of all of it.
func ID(p broker.Pseudonyms, appID, campaign, openID string) string {
	return idOf(campaign, p.Sum(recipientHash(appID, campaign, openID)))
}

// IDs returns every id that an intent for the recipient may have in a campaign: keyed, or as
// producers give it and as it was before the hash had a key ([schema.CampaignID]).
func IDs(p broker.Pseudonyms, appID, campaign, openID string) []string {
	return []string{ID(p, appID, campaign, openID), schema.CampaignID(appID, campaign, openID)}
}

func recipientHash(appID, campaign, openID string) string {
	return appID + "\x00" + campaign + "\x00" + openID
}

func idOf(campaign string, sum [sha256.Size]byte) string {
	const most = 128 - 1 - idChars
	return campaign[:min(len(campaign), most)] + "-" + idEncoding.EncodeToString(sum[:])[:idChars]
}

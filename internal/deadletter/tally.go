package deadletter

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/schema"
)

// Share is how many letters of an app died of a reason.
type Share struct {
	AppID  string        `json:"app"`
	Reason schema.Reason `json:"reason"`
	Count  int           `json:"count"`
}

// Tally counts letters by app and reason.
type Tally struct {
	Total  int       `json:"total"`
	Shares []Share   `json:"shares"` // the largest first
	Oldest time.Time `json:"oldest,omitzero"`
	Newest time.Time `json:"newest,omitzero"`
}

func (t *Tally) add(l *schema.Letter) {
	t.Total++
	at := slices.IndexFunc(t.Shares, func(s Share) bool {
		return s.AppID == l.AppID && s.Reason == l.Reason
	})
	if at < 0 {
		// What skim read keeps the whole letter in memory.
		t.Shares = append(t.Shares, Share{AppID: strings.Clone(l.AppID),
			Reason: schema.Reason(strings.Clone(string(l.Reason)))})
		at = len(t.Shares) - 1
	}
	t.Shares[at].Count++
	if t.Oldest.IsZero() || l.DiedAt.Before(t.Oldest) {
		t.Oldest = l.DiedAt
	}
	if l.DiedAt.After(t.Newest) {
		t.Newest = l.DiedAt
	}
}

func (t *Tally) sort() {
	slices.SortFunc(t.Shares, func(a, b Share) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.AppID, b.AppID),
			cmp.Compare(a.Reason, b.Reason))
	})
}

// Apps is of how many apps the letters are.
func (t *Tally) Apps() int {
	apps := make(map[string]bool)
	for _, s := range t.Shares {
		apps[s.AppID] = true
	}
	return len(apps)
}

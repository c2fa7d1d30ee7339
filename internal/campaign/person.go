package campaign

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

// Addressed is a message of a campaign to one person, that has been sent or cancelled or is being
// sent. What is queued, waits or died is found by the person itself.
type Addressed struct {
	AppID    string
	Campaign string
	ID       string
	State    schema.State
	At       time.Time // since when
}

// ToPerson finds the messages of campaigns to one person as far as the ledger remembers them: their
// ids follow from the person and the names of the campaigns that are known.
func ToPerson(
	ctx context.Context, conn *broker.Conn, appIDs []string, openID string,
) ([]Addressed, error) {
	pseudonyms, err := conn.Pseudonyms(ctx)
	if err != nil {
		return nil, err
	}
	may := make(map[ledger.Key]Addressed)
	for _, appID := range appIDs {
		names, err := namesOf(ctx, conn, appID)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			for _, id := range IDs(pseudonyms, appID, name, openID) {
				may[ledger.KeyOf(appID, id)] = Addressed{AppID: appID, Campaign: name, ID: id}
			}
		}
	}
	if len(may) == 0 {
		return nil, nil
	}
	keys := make([]ledger.Key, 0, len(may))
	for key := range may {
		keys = append(keys, key)
	}
	histories, err := ledger.Histories(ctx, conn, keys...)
	if err != nil {
		return nil, err
	}
	var out []Addressed
	for key, a := range may {
		story := ledger.Interpret(histories[key])
		if a.State = stateOf(story); a.State != "" {
			a.At = story.Events[len(story.Events)-1].Time
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b Addressed) int { return a.At.Compare(b.At) })
	return out, nil
}

func stateOf(s ledger.Story) schema.State {
	if !s.Known {
		return ""
	}
	switch s.Now.Kind {
	case ledger.Sent:
		return schema.StateSent
	case ledger.Cancelled:
		return schema.StateCancelled
	case ledger.Start:
		return schema.StateInFlight
	}
	return ""
}

// namesOf are the campaigns of an app that were started from a file, or that workers have met.
func namesOf(ctx context.Context, conn *broker.Conn, appID string) ([]string, error) {
	met, err := ledger.Names(ctx, conn, appID)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range met {
		names = append(names, n.Name)
	}
	prefix := recordKey(appID, "")
	entries, err := conn.ReadJobs(ctx, prefix)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if name := strings.TrimPrefix(e.Key, prefix); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, nil
}

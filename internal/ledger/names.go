package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// What campaigns count stands under hashes of their names. So workers write down the
// names of those that they meet, a key each, for as long as the counts are kept.

// namesPrefix is what these keys begin with, before the app.
const namesPrefix = "campaign."

func nameKey(appID, campaign string) string { return namesPrefix + appID + "." + campaign }

// Named is a campaign that workers have met, whoever published it.
type Named struct {
	Name    string
	FirstAt time.Time // when a worker met its first intent
}

// namedValue is what stands under a name's key.
type namedValue struct {
	FirstAt time.Time `json:"first_at"`
}

// Names reads the campaigns of an app that workers have met within the last 400 days,
// the one that was met first before the others. Workers of earlier versions write down
// none.
func Names(ctx context.Context, conn *broker.Conn, appID string) ([]Named, error) {
	prefix := nameKey(appID, "")
	entries, err := conn.ReadState(ctx, prefix)
	if err != nil {
		return nil, fmt.Errorf("names of campaigns: %w", err)
	}
	out := make([]Named, 0, len(entries))
	for _, e := range entries {
		out = append(out, named(strings.TrimPrefix(e.Key, prefix), e))
	}
	slices.SortFunc(out, func(a, b Named) int {
		return cmp.Or(a.FirstAt.Compare(b.FirstAt), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

// NameOf reads a campaign of an app that workers have met; false when they have not.
func NameOf(
	ctx context.Context, conn *broker.Conn, appID, campaign string,
) (Named, bool, error) {
	e, err := conn.LastState(ctx, nameKey(appID, campaign))
	if errors.Is(err, broker.ErrNoMessage) || err == nil && e.Deleted {
		return Named{}, false, nil
	}
	if err != nil {
		return Named{}, false, fmt.Errorf("name of a campaign: %w", err)
	}
	return named(campaign, e), true, nil
}

func named(campaign string, e broker.StateEntry) Named {
	var v namedValue
	if json.Unmarshal(e.Value, &v) != nil {
		v.FirstAt = e.Time
	}
	return Named{Name: campaign, FirstAt: v.FirstAt}
}

// SaveName writes down that a worker has met a campaign at a time, unless that stands
// there already. It is to be called again after a while: the key of a campaign that is
// still met does not expire.
func SaveName(
	ctx context.Context, conn *broker.Conn, appID, campaign string, now time.Time,
) error {
	key, keep := nameKey(appID, campaign), ownerKinds[ofCampaign].keep
	e, err := conn.LastState(ctx, key)
	if errors.Is(err, broker.ErrNoMessage) {
		e, err = broker.StateEntry{Deleted: true}, nil
	}
	if err != nil {
		return err
	}
	value := e.Value
	if e.Deleted {
		if value, err = json.Marshal(namedValue{FirstAt: now.UTC()}); err != nil {
			return err
		}
	} else if now.Sub(e.Time) < keep/2 {
		return nil
	}
	_, err = conn.Swap(ctx, broker.PutState(key, value, keep), e.Seq)
	if errors.Is(err, broker.ErrOvertaken) { // by another worker, who has met it as well
		return nil
	}
	return err
}

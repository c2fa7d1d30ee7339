package campaign

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// List reads where all campaigns of an app stand, the one that was started last first: those that
// were started from a file, and those that workers have met, or that are queued or wait.
func List(ctx context.Context, conn *broker.Conn, appID string) ([]Status, error) {
	prefix := recordKey(appID, "")
	entries, err := conn.ReadJobs(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var out []Status
	known := make(map[string]bool)
	for _, e := range entries {
		name := strings.TrimPrefix(e.Key, prefix)
		r := Record{AppID: appID, Campaign: name}
		if err := r.decode(e.Value); err != nil {
			return nil, fmt.Errorf("the record of campaign %s cannot be read: %w", name, err)
		}
		s, err := readStatus(ctx, conn, r)
		if err != nil {
			return nil, err
		}
		known[name] = true
		out = append(out, s)
	}
	waits, err := waiting(ctx, conn, appID)
	if err != nil {
		return nil, err
	}
	names, err := straight(ctx, conn, appID, waits)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		if known[n.Name] {
			continue
		}
		known[n.Name] = true
		s, err := readStraight(ctx, conn, appID, n.FirstAt, n.Name, waits[n.Name])
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Status) int { return b.StartedAt.Compare(a.StartedAt) })
	return out, nil
}

// straight are the campaigns that workers have met, those that the queue holds, and those that wait.
func straight(
	ctx context.Context, conn *broker.Conn, appID string, waits map[string]int,
) ([]ledger.Named, error) {
	names, err := ledger.Names(ctx, conn, appID)
	if err != nil {
		return nil, err
	}
	subjects, err := conn.Subjects(ctx, schema.SendStream(appID),
		wire.LaneFilter(appID, schema.LaneBulk, wire.AnyToken))
	if err != nil {
		return nil, err
	}
	for subject := range subjects {
		if parsed, err := wire.ParseSubject(subject); err == nil {
			names = append(names, ledger.Named{Name: parsed.Key})
		}
	}
	for name := range waits {
		names = append(names, ledger.Named{Name: name})
	}
	return names, nil
}

package campaign

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Running reads where the campaigns of all apps stand that have not ended, the one that was started
// last first: those that were started from a file, and those that the bulk lanes of some apps hold.
// It reads no more than most of them; more is how many others there may be.
//
// A campaign that was published straight to a queue is not among them once its last intents only
// wait for a time or a retry: [List] finds it.
func Running(
	ctx context.Context, conn *broker.Conn, bulk []string, most int,
) (running []Status, more int, err error) {
	records, err := openRecords(ctx, conn)
	if err != nil {
		return nil, 0, err
	}
	known := make(map[[2]string]bool)
	for _, r := range records {
		known[[2]string{r.AppID, r.Campaign}] = true
		if len(running) >= most {
			more++
			continue
		}
		s, err := readStatus(ctx, conn, r)
		if err != nil {
			return nil, 0, err
		}
		if !s.over() {
			running = append(running, s)
		}
	}
	for _, appID := range bulk {
		names, err := queuedNames(ctx, conn, appID)
		if err != nil {
			return nil, 0, err
		}
		names = slices.DeleteFunc(names, func(n string) bool { return known[[2]string{appID, n}] })
		left := min(most-len(running), len(names))
		more += len(names) - left
		found, err := straightOf(ctx, conn, appID, names[:left])
		if err != nil {
			return nil, 0, err
		}
		running = append(running, found...)
	}
	slices.SortStableFunc(running, func(a, b Status) int {
		return b.StartedAt.Compare(a.StartedAt)
	})
	return running, more, nil
}

// over says whether nothing more will come of the campaign.
func (s Status) over() bool {
	return s.State == StateDone || s.State == StateCancelled && s.Queued+s.Open == 0
}

// openRecords reads the records of all apps of which no end is written down, the newest first.
func openRecords(ctx context.Context, conn *broker.Conn) (records []Record, err error) {
	entries, err := conn.ReadJobs(ctx, recordKeys)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		appID, name, _ := strings.Cut(strings.TrimPrefix(e.Key, recordKeys), ".")
		r := Record{AppID: appID, Campaign: name}
		if err := r.decode(e.Value); err != nil {
			return nil, fmt.Errorf("the record of campaign %s cannot be read: %w", name, err)
		}
		if r.Ended == "" && !r.Finished() {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, func(a, b Record) int { return b.StartedAt.Compare(a.StartedAt) })
	return records, nil
}

// queuedNames are the campaigns of which an app's queue holds something, the largest first.
func queuedNames(ctx context.Context, conn *broker.Conn, appID string) ([]string, error) {
	subjects, err := conn.Subjects(ctx, schema.SendStream(appID),
		wire.LaneFilter(appID, schema.LaneBulk, wire.AnyToken))
	if err != nil {
		return nil, err
	}
	counts := make(map[string]uint64)
	for subject, n := range subjects {
		if parsed, err := wire.ParseSubject(subject); err == nil {
			counts[parsed.Key] += n
		}
	}
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	}), nil
}

// straightOf reads where campaigns stand that were published straight to an app's queue.
func straightOf(
	ctx context.Context, conn *broker.Conn, appID string, names []string,
) (out []Status, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	waits, err := waiting(ctx, conn, appID)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		named, _, err := ledger.NameOf(ctx, conn, appID, name)
		if err != nil {
			return nil, err
		}
		s, err := readStraight(ctx, conn, appID, named.FirstAt, name, waits[name])
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

package campaign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// Status is where a campaign stands.
type Status struct {
	Record

	// Queued counts what the app's queue holds, with what is in flight; what waits for a time or a
	// retry is not among it.
	Queued int `json:"queued"`

	// OutcomesSince is set when not all outcomes are counted, and the campaign began before the
	// oldest receipts that are still kept: of what ended before this time, the outcome is not known
	// any more, and it counts as open.
	OutcomesSince time.Time `json:"outcomes_since,omitzero"`

	// How each intent ended, by its latest end: as the workers have counted it, or as the receipts
	// say if a worker did not count. Receipts are kept for 3 days, and may be switched off.
	ledger.Counts
}

// Open is how many of those accepted have no outcome on record: queued, waiting, or settled without
// a receipt that is still kept.
func (s Status) Open() int {
	settled := s.Sent + s.Cancelled
	for _, n := range s.Dead {
		settled += n
	}
	return max(0, s.Published+s.Duplicates-settled)
}

// skew is by how much the clocks of a command and of the workers may differ.
const skew = 5 * time.Minute

// ReadStatus tells where a campaign stands. ErrUnknown when none of this name was started.
func ReadStatus(ctx context.Context, conn *broker.Conn, appID, campaign string) (Status, error) {
	var s Status
	var err error
	if s.Record, _, err = ReadRecord(ctx, conn, appID, campaign); err != nil {
		return s, err
	}
	if s.Queued, err = queued(ctx, conn, appID, campaign); err != nil {
		return s, err
	}
	counted, err := counted(ctx, conn, s.Record)
	if err != nil {
		return s, err
	}
	if counted {
		progress, err := ledger.ReadCounts(ctx, conn, ledger.CampaignOf(appID, campaign))
		s.Counts = progress.Counts
		return s, err
	}
	if s.Counts, err = fromReceipts(ctx, conn, s.Record); err != nil {
		return s, err
	}
	if s.Open() == 0 {
		return s, nil // nothing is missing
	}
	stream, err := conn.JS.Stream(ctx, schema.StreamReceipt)
	if err != nil {
		return s, fmt.Errorf("how long receipts are kept: %w", err)
	}
	info := stream.CachedInfo()
	s.OutcomesSince = outcomesSince(s.StartedAt, info.Created, info.Config.MaxAge, time.Now())
	return s, nil
}

// outcomesSince is since when the outcomes of a campaign are known, by when the stream of the
// receipts was made and for how long it keeps them (0: for ever). It is zero when they are known
// from the campaign's start.
func outcomesSince(started, made time.Time, keep time.Duration, now time.Time) time.Time {
	since := made
	if oldest := now.Add(-keep); keep > 0 && oldest.After(since) {
		since = oldest
	}
	if started.Before(since) {
		return since.UTC()
	}
	return time.Time{}
}

// queued counts what the app's queue holds of the campaign.
func queued(ctx context.Context, conn *broker.Conn, appID, campaign string) (int, error) {
	stream, err := conn.JS.Stream(ctx, schema.SendStream(appID))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	info, err := stream.Info(ctx,
		jetstream.WithSubjectFilter(wire.LaneFilter(appID, schema.LaneBulk, campaign)))
	if err != nil {
		return 0, err
	}
	n := uint64(0)
	for _, messages := range info.State.Subjects {
		n += messages
	}
	return int(n), nil
}

// counted says whether all ends of a campaign's intents were counted.
func counted(ctx context.Context, conn *broker.Conn, r Record) (bool, error) {
	if r.CountedSince.IsZero() {
		return false, nil
	}
	since, err := ledger.CountedSince(ctx, conn)
	return since.Equal(r.CountedSince), err
}

// fromReceipts counts what the receipts say.
func fromReceipts(ctx context.Context, conn *broker.Conn, r Record) (ledger.Counts, error) {
	c := ledger.Counts{Dead: make(map[schema.Reason]int)}
	outcomes, err := outcomes(ctx, conn, r)
	for _, o := range outcomes {
		switch o.state {
		case schema.StateSent:
			c.Sent++
		case schema.StateDead:
			c.Dead[o.reason]++
		case schema.StateCancelled:
			c.Cancelled++
		}
		if o.possibleDuplicate {
			c.PossibleDuplicates++
		}
	}
	return c, err
}

// outcome is how an intent ended, as far as its latest receipt says.
type outcome struct {
	generation        int
	state             schema.State
	reason            schema.Reason
	possibleDuplicate bool
}

// outcomes reads the receipts of a campaign. Ids are kept as hashes: a campaign may have a million.
func outcomes(ctx context.Context, conn *broker.Conn, r Record) (map[[16]byte]outcome, error) {
	latest := make(map[[16]byte]outcome)
	o := broker.ScanOptions{Subject: wire.ReceiptFilter(r.AppID), Since: r.StartedAt.Add(-skew)}
	of := receiptOf(r.Campaign)
	err := conn.Scan(ctx, schema.StreamReceipt, o, func(s broker.Stored) error {
		receipt, ok := of(s.Data)
		if !ok {
			return nil
		}
		sum := sha256.Sum256([]byte(receipt.ID))
		key := [16]byte(sum[:16])
		if old, ok := latest[key]; ok && old.generation > receipt.Generation {
			return nil
		}
		latest[key] = outcome{receipt.Generation, receipt.State, receipt.Reason,
			receipt.PossibleDuplicate}
		return nil
	})
	return latest, err
}

// receiptOf reads a campaign's receipts; false for somebody else's, and for what is none. Most
// receipts are somebody else's, and are not decoded.
func receiptOf(campaign string) func(data []byte) (schema.Receipt, bool) {
	needle := []byte(`"` + campaign + `"`) // a subject's token: JSON has nothing in it to escape
	return func(data []byte) (schema.Receipt, bool) {
		if !bytes.Contains(data, needle) {
			return schema.Receipt{}, false
		}
		var receipt schema.Receipt
		ok := json.Unmarshal(data, &receipt) == nil && receipt.Lane == schema.LaneBulk &&
			receipt.Campaign == campaign
		return receipt, ok
	}
}

package campaign

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/schema"
)

// Status is where a campaign stands.
type Status struct {
	Record
	Queued int `json:"queued"` // in the app's queue, those in flight included; not those that wait for a time or a retry

	// What the receipts say, one for each intent, its latest. Receipts are kept for 3 days, and may be switched off.
	Sent               int                   `json:"sent"`
	Dead               map[schema.Reason]int `json:"dead"`
	Cancelled          int                   `json:"cancelled"`
	PossibleDuplicates int                   `json:"possible_duplicates"` // sent again after an attempt of unknown outcome
}

// Open is how many of those accepted have no outcome on record: queued, waiting, or settled without a receipt that is still kept.
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
	s := Status{Dead: make(map[schema.Reason]int)}
	var err error
	if s.Record, _, err = ReadRecord(ctx, conn, appID, campaign); err != nil {
		return s, err
	}
	if s.Queued, err = queued(ctx, conn, appID, campaign); err != nil {
		return s, err
	}
	outcomes, err := outcomes(ctx, conn, s.Record)
	if err != nil {
		return s, err
	}
	for _, o := range outcomes {
		switch o.state {
		case schema.Sent:
			s.Sent++
		case schema.Dead:
			s.Dead[o.reason]++
		case schema.Cancelled:
			s.Cancelled++
		}
		if o.possibleDuplicate {
			s.PossibleDuplicates++
		}
	}
	return s, nil
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
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter("kefu.*."+appID+"."+string(schema.Bulk)+"."+campaign))
	if err != nil {
		return 0, err
	}
	n := uint64(0)
	for _, messages := range info.State.Subjects {
		n += messages
	}
	return int(n), nil
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
	o := broker.ScanOptions{Subject: "kefu.receipt." + r.AppID + ".>", Since: r.StartedAt.Add(-skew)}
	err := conn.Scan(ctx, schema.StreamReceipt, o, func(s broker.Stored) error {
		var receipt schema.Receipt
		if json.Unmarshal(s.Data, &receipt) != nil || receipt.Lane != schema.Bulk || receipt.Campaign != r.Campaign {
			return nil // somebody else's, or no receipt at all
		}
		sum := sha256.Sum256([]byte(receipt.ID))
		key := [16]byte(sum[:16])
		if old, ok := latest[key]; ok && old.generation > receipt.Generation {
			return nil
		}
		latest[key] = outcome{receipt.Generation, receipt.State, receipt.Reason, receipt.PossibleDuplicate}
		return nil
	})
	return latest, err
}

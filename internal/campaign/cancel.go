package campaign

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/pause"
	"github.com/kefuhq/kefu/internal/withdrawal"
)

// cancelKept is for how long the order that cancels a campaign stands: longer than anything of it
// can wait.
const cancelKept = 400 * day

// Cancel has nothing more of a campaign sent, but for what is in flight. It takes effect at once
// and is final: what is queued or waits is ended as cancelled by the pool, and so is what somebody
// publishes under the name later. It writes to the audit first, and may be repeated.
//
// ErrUnknown says that there is no campaign of this name, [job.ErrFinal] that it has ended.
func Cancel(ctx context.Context, conn *broker.Conn, appID, campaign, by string) error {
	s, err := ReadStatus(ctx, conn, appID, campaign)
	if err != nil {
		return err
	}
	if s.State == StateDone && s.Upload != "" {
		return fmt.Errorf("campaign %s is %s: %w", campaign, s.State, job.ErrFinal)
	}
	err = conn.Audit(ctx, broker.AuditEntry{
		Actor: by, Verb: "campaign", AppID: appID, Count: s.Queued + s.Open,
		Filter: "campaign=" + campaign, Detail: "cancel: was " + string(s.State),
	})
	if err != nil {
		return err
	}
	// The order comes first: while workers send on, no sweep would come to an end.
	_, _, err = withdrawal.CancelCampaign(ctx, conn, appID, campaign, by, cancelKept)
	if err != nil {
		return err
	}
	if !s.OrderedAt.IsZero() {
		_, err := job.Tell(ctx, conn, s.Upload, job.Abort)
		if !errors.Is(err, job.ErrFinal) && !errors.Is(err, job.ErrNoJob) {
			return err
		}
		return nil
	}
	if err := endRecord(ctx, conn, appID, campaign); err != nil {
		return err
	}
	return sweepStraight(ctx, conn, appID, campaign, by)
}

// endRecord ends the record of a campaign that was not ordered: its file was not uploaded to the
// end, or an earlier version has published it.
func endRecord(ctx context.Context, conn *broker.Conn, appID, campaign string) error {
	for {
		r, seq, err := ReadRecord(ctx, conn, appID, campaign)
		if errors.Is(err, ErrUnknown) {
			return nil
		}
		if err != nil {
			return err
		}
		if r.Upload != "" {
			if err := purgeUpload(ctx, conn, appID, r.Upload); err != nil {
				return err
			}
		}
		r.Ended, r.FinishedAt = job.StateAborted, time.Now().UTC()
		r.UpdatedAt = r.FinishedAt
		_, err = writeRecord(ctx, conn, r, seq)
		if !errors.Is(err, ErrTakenOver) {
			return err
		}
	}
}

// sweepStraight has the pool end what the queue holds of a campaign that no job feeds.
func sweepStraight(ctx context.Context, conn *broker.Conn, appID, campaign, by string) error {
	o := job.Order{
		ID: job.NewID(), Kind: job.KindCampaign, By: by, At: time.Now().UTC(),
		About: "campaign=" + campaign, Options: "cancel", Apps: map[string]int{appID: 0},
	}
	var err error
	if o.Spec, err = encodeSpec(spec{Campaign: campaign, Cancels: true}); err != nil {
		return err
	}
	return job.Submit(ctx, conn, o)
}

// countsSettle is how long after the last mark a count is good.
const countsSettle = time.Second

// sweep ends what lies of a cancelled campaign, and stores its receipt.
func (w *Work) sweep(ctx context.Context, appID, campaign string) error {
	swept, err := Sweep(ctx, w.conn, appID, campaign, SweepOptions{Ledger: w.book})
	if err != nil {
		return err
	}
	if err := pause.For(ctx, countsSettle); err != nil {
		return err
	}
	s, err := ReadStatus(ctx, w.conn, appID, campaign)
	if err != nil && !errors.Is(err, ErrUnknown) {
		return err
	}
	return StoreReceipt(ctx, w.conn, appID, campaign, s.StartedAt, max(s.Cancelled, swept.Ended))
}

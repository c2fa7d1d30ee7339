package campaign

import (
	"context"
	"errors"
	"fmt"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
)

// Ended ends what a cancelled campaign has left in the queue, and writes down what came of it. It
// implements [job.Work].
func (w *Work) Ended(ctx context.Context, j job.Job) error {
	appID := j.AppIDs()[0]
	f, err := w.feed(ctx, j.Order, appID)
	if err != nil {
		return err
	}
	if j.State() == job.StateAborted || f.spec.Cancels {
		if err := w.sweep(ctx, appID, f.spec.Campaign); err != nil {
			return err
		}
	}
	if err := w.record(ctx, j, appID, f.spec.Campaign); err != nil {
		return err
	}
	w.mu.Lock()
	delete(w.feeds, j.ID)
	w.mu.Unlock()
	c := j.Counts()
	return w.conn.Audit(ctx, broker.AuditEntry{
		Actor: j.By, Verb: "campaign", AppID: appID, Filter: j.About, Count: c.Published,
		Detail: fmt.Sprintf("job %s is %s: fed %d, left %d", j.ID, j.State(), c.Published, c.Left),
	})
}

// auditHalt writes to the audit that a campaign halts by itself, once each time. It comes before the
// halt is stored, so a worker that is lost between the two has it written once more.
func (w *Work) auditHalt(
	ctx context.Context, f *feed, o job.Order, p job.Part, why string,
) error {
	if f.halts > o.Resumes {
		return nil // the halt could not be stored, and is tried again
	}
	err := w.conn.Audit(ctx, broker.AuditEntry{
		Actor: o.By, Verb: "campaign", AppID: p.AppID, Filter: o.About, Count: p.Published,
		Detail: "halted: " + why,
	})
	if err == nil {
		f.halts = o.Resumes + 1
	}
	return err
}

// record writes what came of a campaign's job into its record, which outlives the job.
func (w *Work) record(ctx context.Context, j job.Job, appID, campaign string) error {
	for {
		r, seq, err := ReadRecord(ctx, w.conn, appID, campaign)
		if errors.Is(err, ErrUnknown) {
			return nil // somebody has removed it
		}
		if err != nil {
			return err
		}
		if r.Upload != j.ID {
			return nil // it is another's by now
		}
		r.end(j)
		_, err = writeRecord(ctx, w.conn, r, seq)
		if !errors.Is(err, ErrTakenOver) {
			return err
		}
	}
}

// end notes how the job has ended.
func (r *Record) end(j job.Job) {
	c := j.Counts()
	r.Ended, r.Fed, r.Left, r.Notes = j.State(), c.Published, c.Left, j.Notes()
	for _, p := range j.Parts {
		r.FinishedAt = later(r.FinishedAt, p.Ended)
	}
	if r.FinishedAt.IsZero() {
		r.FinishedAt = r.OrderedAt
	}
	r.UpdatedAt = r.FinishedAt
}

package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/schema"
)

// Record is what is kept of a campaign, as JSON in the bucket KEFU_JOB under
// campaign.<appid>.<campaign>. It names no recipient.
type Record struct {
	AppID    string `json:"appid"`
	Campaign string `json:"campaign"`
	File     string `json:"file_sha256"`
	Template string `json:"template_sha256,omitempty"` // of the normal form; "" if rows are packets

	Source    string    `json:"source,omitempty"`     // Kefu-Source of its intents
	SendAt    time.Time `json:"send_at,omitzero"`     // held until then
	ExpiresIn float64   `json:"expires_in,omitempty"` // seconds, as asked for at the first start
	ExpiresAt time.Time `json:"expires_at,omitzero"`  // what became of it: one deadline for all

	// KeyedIDs says that the ids of its intents are hashes with a key. Campaigns of earlier
	// versions go on without.
	KeyedIDs bool `json:"keyed_ids,omitempty"`

	// What follows are the terms of a campaign that the pool feeds.
	PerSecond float64 `json:"per_second,omitempty"` // at most; 0 for the app's rate
	Quiet     Quiet   `json:"quiet_hours,omitzero"`
	Halt      Halt    `json:"halt,omitzero"`

	// Upload is where the rows are stored, and the id of the job that feeds them; "" for a campaign
	// that an earlier version published by itself. OrderedAt is zero while it is uploaded.
	Upload     string    `json:"upload,omitempty"`
	Chunks     int       `json:"chunks,omitempty"`
	Stored     int       `json:"stored,omitempty"` // rows in the chunks
	SkipClosed int       `json:"skipped_closed,omitempty"`
	OrderedAt  time.Time `json:"ordered_at,omitzero"`

	// What came of the job, once it has ended: jobs are kept for 30 days.
	Ended job.State  `json:"ended,omitempty"`
	Fed   int        `json:"fed,omitempty"`
	Left  int        `json:"left,omitempty"` // stored and not fed; Notes say why
	Notes notes.List `json:"notes,omitempty"`

	Rows       int `json:"rows"`
	Next       int `json:"next"`       // rows before this one (from 0) an earlier version is done with
	Published  int `json:"published"`  // by an earlier version, of the rows before Next
	Duplicates int `json:"duplicates"` // likewise; the broker had the id already
	Invalid    int `json:"invalid"`    // left out, of all rows
	Repeated   int `json:"repeated"`   // the recipient had a row before, of all rows

	// InDoubt is how many recipients there are behind Next up to the last that may have been
	// published already, should nothing be written after this: the rows of a batch are stored
	// before the checkpoint is. DoubtSince is the earliest time at which that may have been.
	InDoubt    int       `json:"in_doubt"`
	DoubtSince time.Time `json:"doubt_since,omitzero"`

	// CountedSince is since when all ends were counted at the first start, see
	// [ledger.CountedSince]; zero when they were not.
	CountedSince time.Time `json:"counted_since,omitzero"`

	StartedAt  time.Time `json:"started_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	By         string    `json:"by,omitempty"`

	// Run tells the run that wrote this from all others: of two at the same time the later one goes
	// on.
	Run string `json:"run"`
}

// Finished says whether nothing is left to be fed, or will ever be.
func (r Record) Finished() bool { return !r.FinishedAt.IsZero() }

// neverFed says that nothing of the campaign's file was published: it was not uploaded to the end.
func (r Record) neverFed() bool {
	return r.Upload != "" && r.OrderedAt.IsZero() && r.Published+r.Duplicates == 0
}

// Uploading says whether somebody may be uploading the campaign's file. An upload that was killed is
// one for a day.
func (r Record) Uploading(now time.Time) bool {
	return r.Upload != "" && r.OrderedAt.IsZero() && now.Sub(r.UpdatedAt) < keepUpload
}

// MayDouble is how many recipients may get their message twice when the campaign goes on now.
// remembered is for how long a published id is recognised as a repeat: as long as the ledger keeps
// it, or without a ledger the queue's duplicate window; 0 when nobody wants to know.
func (r Record) MayDouble(now time.Time, remembered time.Duration) int {
	if remembered <= 0 || r.Finished() || r.InDoubt == 0 || now.Sub(r.DoubtSince) < remembered {
		return 0
	}
	return r.InDoubt
}

// ErrUnknown says that there is no campaign of this name.
var ErrUnknown = errors.New("no such campaign")

// checkName says whether an app and a campaign can stand in a subject.
func checkName(appID, campaign string) error {
	return schema.BulkSubject(appID, campaign).Check()
}

// ErrTakenOver ends a run when another one of the same campaign has begun. Nothing is lost or sent
// twice by that.
var ErrTakenOver = errors.New("another run of this campaign has taken over")

// recordKeys is what the keys of records in KEFU_JOB begin with.
const recordKeys = "campaign."

// recordKey is the key of a campaign's record in KEFU_JOB.
func recordKey(appID, campaign string) string { return recordKeys + appID + "." + campaign }

// ReadRecord reads what is kept of a campaign, and the sequence it has in the bucket. ErrUnknown
// says that there is nothing.
func ReadRecord(
	ctx context.Context, conn *broker.Conn, appID, campaign string,
) (Record, uint64, error) {
	var r Record
	if err := checkName(appID, campaign); err != nil {
		return r, 0, err
	}
	stored, err := readStored(ctx, conn, appID, campaign)
	if err != nil {
		return r, 0, err
	}
	if len(stored.Value) == 0 { // nothing, or the mark of a deletion
		return r, stored.Seq, ErrUnknown
	}
	if err := r.decode(stored.Value); err != nil {
		return r, 0, fmt.Errorf("the record of campaign %s cannot be read: %w", campaign, err)
	}
	return r, stored.Seq, nil
}

// Unfinished reads the records of an app's campaigns that are not published to their end: what runs,
// and what was interrupted and may go on. One that cannot be read is among them, by its name.
func Unfinished(ctx context.Context, conn *broker.Conn, appID string) ([]Record, error) {
	prefix := recordKey(appID, "")
	entries, err := conn.ReadJobs(ctx, prefix)
	if err != nil {
		return nil, err
	}
	var out []Record
	for _, e := range entries {
		r := Record{AppID: appID, Campaign: strings.TrimPrefix(e.Key, prefix)}
		if r.decode(e.Value) != nil || !r.Finished() {
			out = append(out, r)
		}
	}
	return out, nil
}

// decode reads what is stored. Earlier versions did not write down what is in doubt: it was a
// batch, since the checkpoint before it.
func (r *Record) decode(data []byte) error {
	stored := struct {
		*Record
		InDoubt *int `json:"in_doubt"`
	}{Record: r}
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	switch {
	case stored.InDoubt != nil:
		r.InDoubt = *stored.InDoubt
	case !r.Finished() && r.Upload == "":
		r.InDoubt, r.DoubtSince = min(earlierBatch, r.Rows-r.Next), r.UpdatedAt
	}
	return nil
}

// earlierBatch is how many rows earlier versions published between two checkpoints.
const earlierBatch = 500

// readStored reads the record as it is stored; its sequence is 0 when there is none.
func readStored(
	ctx context.Context, conn *broker.Conn, appID, campaign string,
) (broker.StateEntry, error) {
	e, err := conn.LastJob(ctx, recordKey(appID, campaign))
	if errors.Is(err, broker.ErrNoMessage) {
		return broker.StateEntry{}, nil
	}
	return e, err
}

// writeRecord stores r if the bucket still holds what this run's last writing left there, and
// returns its new sequence.
func writeRecord(ctx context.Context, conn *broker.Conn, r Record, last uint64) (uint64, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	for {
		m := broker.PutJob(recordKey(r.AppID, r.Campaign), body, 0)
		seq, err := conn.SaveAfter(ctx, m, last)
		if err == nil {
			return seq, nil
		}
		if !errors.Is(err, broker.ErrOvertaken) {
			return 0, fmt.Errorf("write the record of campaign %s: %w", r.Campaign, err)
		}
		// What is there may be our own: the answer to an earlier writing was lost, or not waited
		// for.
		stored, err := readStored(ctx, conn, r.AppID, r.Campaign)
		if err != nil {
			return 0, err
		}
		var there Record
		switch {
		case bytes.Equal(stored.Value, body):
			return stored.Seq, nil
		case stored.Seq == last, json.Unmarshal(stored.Value, &there) != nil, there.Run != r.Run:
			return 0, ErrTakenOver
		}
		last = stored.Seq
	}
}

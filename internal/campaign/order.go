package campaign

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/withdrawal"
)

// Terms say how a campaign is to be sent. They are fixed when it is ordered.
type Terms struct {
	AppID    string
	Campaign string // its name, a subject token

	Source    string        // Kefu-Source of its intents; "" for none
	SendAt    time.Time     // nothing is fed before; zero for at once
	ExpiresAt time.Time     // nothing is sent after; zero for the app's setting, from the feeding on
	ExpiresIn time.Duration // instead: from the order, or from SendAt if that is later
	PerSecond float64       // at most; 0 for the app's rate
	Quiet     Quiet
	Halt      Halt

	By string // user@host
}

// Errors with which a start is refused. Their sentences say what to do.
var (
	ErrOtherFile  = errors.New("a campaign of this name was started with another file")
	ErrOtherTerms = errors.New("a campaign of this name was started otherwise")
	ErrTooLate    = errors.New("the campaign's deadline has passed")
	ErrCancelled  = errors.New("a campaign of this name was cancelled: give this one another name")
	ErrMayDouble  = errors.New("some rows may have been published before, " +
		"longer ago than repeats are recognised")
)

// Prospect is what stands under a campaign's name before a start.
type Prospect struct {
	Record Record // zero when there is none
	Begun  bool   // there is one

	// Ordered says that the pool has the campaign: there is nothing to upload.
	Ordered bool

	// Earlier says that an earlier version has published its first rows: what is left is uploaded.
	Earlier bool

	// Cancelled says that it was cancelled, which is final.
	Cancelled bool

	seq uint64
}

// Foresee looks at what stands under a campaign's name.
func Foresee(ctx context.Context, conn *broker.Conn, appID, campaign string) (Prospect, error) {
	_, cancelled, err := withdrawal.ReadCampaignOrder(ctx, conn, appID, campaign)
	if err != nil {
		return Prospect{}, err
	}
	record, seq, err := ReadRecord(ctx, conn, appID, campaign)
	if errors.Is(err, ErrUnknown) {
		return Prospect{Cancelled: cancelled, seq: seq}, nil
	}
	if err != nil {
		return Prospect{}, err
	}
	p := Prospect{Record: record, Begun: true, Cancelled: cancelled, seq: seq}
	switch {
	case record.Finished():
		p.Ordered = true
	case record.Upload == "":
		p.Earlier = true
	case !record.OrderedAt.IsZero():
		// The record says so before the order is stored: the order decides.
		_, err := job.Read(ctx, conn, record.Upload)
		if err != nil && !errors.Is(err, job.ErrNoJob) {
			return Prospect{}, err
		}
		p.Ordered = err == nil
	}
	return p, nil
}

// MayDouble is how many recipients may get their message twice when the campaign goes on, see
// [Record.MayDouble].
func (p Prospect) MayDouble(now time.Time, remembered time.Duration) int {
	if !p.Earlier {
		return 0
	}
	return p.Record.MayDouble(now, remembered)
}

// Check says whether a start asks for what was begun under the name. file and template are the
// digests of what it was given.
func (p Prospect) Check(t Terms, file, template string, now time.Time) error {
	old := p.Record
	switch {
	case p.Cancelled:
		return ErrCancelled
	case !p.Ordered && !p.Earlier:
		return nil
	case old.File != file:
		return fmt.Errorf("%w: give this one another name", ErrOtherFile)
	case old.Template != template:
		return fmt.Errorf("%w: with another template; give this one another name", ErrOtherTerms)
	case t.Source != "" && t.Source != old.Source:
		return fmt.Errorf("%w: with another source; leave it out to go on", ErrOtherTerms)
	case !t.SendAt.IsZero() && !t.SendAt.Equal(old.SendAt):
		return fmt.Errorf("%w: for another time to send; leave it out to go on", ErrOtherTerms)
	case t.ExpiresIn != 0 && t.ExpiresIn.Seconds() != old.ExpiresIn,
		!t.ExpiresAt.IsZero() && !t.ExpiresAt.Equal(old.ExpiresAt):
		return fmt.Errorf("%w: with another time to expire; leave it out to go on", ErrOtherTerms)
	case !p.Ordered && !old.ExpiresAt.IsZero() && !now.Before(old.ExpiresAt):
		return fmt.Errorf("%w: start the rest as a campaign of another name", ErrTooLate)
	}
	return nil
}

// Skip is how many rows of the file an earlier version is done with: they are not uploaded.
func (p Prospect) Skip() int {
	if !p.Earlier {
		return 0
	}
	return p.Record.Next
}

// File is what is known of a file that was uploaded.
type File struct {
	Digest   string // SHA-256 of its bytes
	Template string // of the template's normal form; "" if rows are packets

	Rows     int
	Invalid  int
	Repeated int
	Closed   int // left out: the recipient's reply window was closed lately
}

// Announce writes down that a campaign's file is being uploaded, so that nobody else orders it
// meanwhile, and that what is left of a former upload can be removed. The former upload is.
func (p *Prospect) Announce(ctx context.Context, conn *broker.Conn, t Terms, u *Upload) error {
	former := p.Record.Upload
	r := p.Record
	if !p.Begun {
		r = Record{
			AppID: t.AppID, Campaign: t.Campaign, KeyedIDs: true,
			StartedAt: time.Now().UTC(), By: t.By,
		}
	}
	r.Upload, r.Run = u.ID, rand.Text()
	if p.Earlier {
		r.Upload = "" // an interrupted upload must not hide what the earlier version did
	}
	if err := p.write(ctx, conn, r); err != nil {
		return err
	}
	if former != "" {
		return purgeUpload(ctx, conn, t.AppID, former)
	}
	return nil
}

func (p *Prospect) write(ctx context.Context, conn *broker.Conn, r Record) error {
	r.UpdatedAt = time.Now().UTC()
	seq, err := writeRecord(ctx, conn, r, p.seq)
	if err == nil {
		p.Record, p.Begun, p.seq = r, true, seq
	}
	return err
}

// Order has the pool feed what was uploaded. It writes to the audit first. After an error it may
// be ordered all the same: [Foresee] tells.
func (p *Prospect) Order(
	ctx context.Context, conn *broker.Conn, t Terms, f File, u *Upload,
) error {
	now := time.Now().UTC()
	r := p.Record
	if !p.Earlier {
		r.Source, r.SendAt, r.ExpiresIn = t.Source, t.SendAt.UTC(), t.ExpiresIn.Seconds()
		if r.ExpiresAt = t.ExpiresAt.UTC(); t.ExpiresIn > 0 {
			r.ExpiresAt = later(now, t.SendAt).Add(t.ExpiresIn).UTC()
		}
		r.File, r.Template = f.Digest, f.Template
		since, err := ledger.CountedSince(ctx, conn)
		if err != nil {
			return err
		}
		r.CountedSince = since
	}
	r.PerSecond, r.Quiet, r.Halt = t.PerSecond, t.Quiet, t.Halt
	r.Rows, r.Invalid, r.Repeated, r.SkipClosed = f.Rows, f.Invalid, f.Repeated, f.Closed
	r.Upload, r.Chunks, r.Stored, r.OrderedAt = u.ID, u.Chunks(), u.Rows(), now
	r.InDoubt, r.DoubtSince = 0, time.Time{}
	if err := conn.Audit(ctx, p.entry(r, t)); err != nil {
		return err
	}
	if err := p.write(ctx, conn, r); err != nil {
		return err
	}
	o, err := r.order(now)
	if err != nil {
		return err
	}
	return job.Submit(ctx, conn, o)
}

// order is the order of the job that feeds a campaign.
func (r Record) order(now time.Time) (job.Order, error) {
	body, err := encodeSpec(spec{
		Campaign: r.Campaign, Upload: r.Upload, Source: r.Source, SendAt: r.SendAt,
		ExpiresAt: r.ExpiresAt, Quiet: r.Quiet, Halt: r.Halt, Unkeyed: !r.KeyedIDs,
	})
	return job.Order{
		ID: r.Upload, Kind: job.KindCampaign, By: r.By, At: now, About: "campaign=" + r.Campaign,
		Options: r.words(), Apps: map[string]int{r.AppID: r.Stored}, Rate: r.PerSecond, Spec: body,
	}, err
}

// words are the terms in words, but for the rate.
func (r Record) words() string {
	var words []string
	if !r.SendAt.IsZero() {
		words = append(words, "from "+r.SendAt.Format(time.RFC3339))
	}
	if !r.ExpiresAt.IsZero() {
		words = append(words, "until "+r.ExpiresAt.Format(time.RFC3339))
	}
	if q := r.Quiet.String(); q != "" {
		words = append(words, "not in the hours "+q)
	}
	return strings.Join(words, ", ")
}

// entry is the entry in the audit about an order.
func (p *Prospect) entry(r Record, t Terms) broker.AuditEntry {
	detail := "started as job " + r.Upload
	if p.Earlier {
		detail = fmt.Sprintf("continued behind row %d of %d as job %s", r.Next, r.Rows, r.Upload)
		if p.Record.InDoubt > 0 {
			detail += fmt.Sprintf("; %d may get it twice", p.Record.InDoubt)
		}
	}
	return broker.AuditEntry{
		Actor: t.By, Verb: "campaign", AppID: t.AppID, Count: r.Stored, Detail: detail,
		Filter: fmt.Sprintf("campaign=%s file_sha256=%s", r.Campaign, r.File),
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Why a campaign cannot be paused or resumed.
var (
	// ErrNotFed says that no job feeds it.
	ErrNotFed = errors.New("nobody feeds it: its messages were published straight to the queue, " +
		"or its file was not uploaded to the end; it can be cancelled")
	// ErrAllFed says that there is nothing left to be paused.
	ErrAllFed = errors.New("all of it is in the queue: it can be cancelled")
)

// Tell has a campaign paused or resumed, and writes that to the audit first. The error may be
// ErrUnknown, ErrNotFed, ErrAllFed or [job.ErrFinal].
func Tell(
	ctx context.Context, conn *broker.Conn, appID, campaign string, c job.Command, by string,
) error {
	s, err := ReadStatus(ctx, conn, appID, campaign)
	switch {
	case err != nil:
		return err
	case s.OrderedAt.IsZero():
		return ErrNotFed
	case s.State == StatePublished && c == job.Pause:
		return ErrAllFed
	case s.State == StateCancelled, s.State == StateDone:
		return fmt.Errorf("campaign %s is %s: %w", campaign, s.State, job.ErrFinal)
	}
	err = conn.Audit(ctx, broker.AuditEntry{
		Actor: by, Verb: "campaign", AppID: appID, Count: s.Stored, Filter: "campaign=" + campaign,
		Detail: string(c),
	})
	if err != nil {
		return err
	}
	_, err = job.Tell(ctx, conn, s.Upload, c)
	return err
}

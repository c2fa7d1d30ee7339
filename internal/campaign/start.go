package campaign

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/schema"
)

// Intent is one message for the bulk lane, already checked.
type Intent struct {
	ID   string
	JSON []byte // the packet
}

// Terms are what all intents of a campaign have in common.
type Terms struct {
	Campaign  string
	Source    string    // "" for none
	SendAt    time.Time // zero for at once
	ExpiresAt time.Time // zero for the app's setting
}

// Accepted is the broker's word on one intent.
type Accepted struct {
	Duplicate bool  // its id was there already
	Err       error // not stored, or nobody knows; ErrQueueFull and ErrAway pass by themselves
}

// Queue publishes intents with acknowledgement: one answer for each, in their order. An error is
// about all of them.
type Queue interface {
	PublishBulk(
		ctx context.Context, appID string, terms Terms, intents []Intent,
	) ([]Accepted, error)
}

// Answers of a Queue that pass by themselves: a campaign waits for their end and tries again under
// the same id.
var (
	ErrQueueFull = errors.New("the queue is full")
	ErrAway      = errors.New("the broker is away")
)

// Errors with which a start is refused. Their sentences say what to do.
var (
	ErrInvalidRows = errors.New("the file has invalid rows")
	ErrOtherFile   = errors.New("a campaign of this name was started with another file")
	ErrOtherTerms  = errors.New("a campaign of this name was started otherwise")
	ErrChanged     = errors.New("the file was changed after it was checked")
	ErrTooLate     = errors.New("the campaign's deadline has passed")
	ErrMayDouble   = errors.New("some rows may have been published before, " +
		"longer ago than repeats are recognised")
)

// ErrCheckpoint says that the last checkpoint was not stored: the next run goes on from an earlier
// one.
var ErrCheckpoint = errors.New("how far the campaign has come could not be stored")

// Options say how a campaign is started.
type Options struct {
	Conn    *broker.Conn
	Queue   Queue
	Summary *Summary // of Check, to save doing it again; nothing but what it has seen is published

	SkipInvalid bool // leave bad rows out instead of refusing the file
	By          string

	// Remembered is for how long a published id is recognised as a repeat, see [Record.MayDouble];
	// 0 for always. What may have been published longer ago is not published again, the run ends
	// with ErrMayDouble. AllowDoubles publishes again what earlier runs have left, not what this
	// run itself has no answer to for so long: nobody was asked about that.
	Remembered   time.Duration
	AllowDoubles bool

	// The following are fixed by a campaign's first start. A later one may leave them out, not
	// change them.
	Source string
	SendAt time.Time

	// ExpiresIn counts from the first start, or from SendAt if that is later; 0 leaves it to the
	// app's setting.
	ExpiresIn time.Duration

	Batch int // intents in one publish and between two checkpoints; 0 for 500

	// Progress is told where the run begins and after each step how many of the file's rows are
	// done. waiting says why it does not go on just now, or is "".
	Progress func(done, total int, waiting string)
}

// Result is what a start did.
type Result struct {
	Record
	Resumed         bool          `json:"resumed"`          // an earlier run was continued
	AlreadyFinished bool          `json:"already_finished"` // there was nothing left to do
	Took            time.Duration `json:"-"`
}

const (
	defaultBatch = 500

	// stopGrace is for how long a run that is told to stop waits for answers of what it has
	// published, and then for its checkpoint to be stored.
	stopGrace = 3 * time.Second
)

// Start publishes the campaign, or what an earlier run of the same name has left: from its
// checkpoint on, if file and template are the same. A full queue is waited for. When ctx ends, or
// something fails, what the broker has acknowledged is on record, and the result says so besides
// the error.
func (j Job) Start(ctx context.Context, o Options) (Result, error) {
	return j.start(ctx, o, time.Now)
}

func (j Job) start(ctx context.Context, o Options, now func() time.Time) (Result, error) {
	began := now()
	summary, err := j.checked(ctx, o)
	if err != nil {
		return Result{}, err
	}
	r := &run{job: j, options: o, batch: o.Batch, now: func() time.Time { return now().Round(0) }}
	if r.batch <= 0 {
		r.batch = defaultBatch
	}
	err = r.open(ctx, summary)
	if err == nil && !r.result.AlreadyFinished {
		err = r.publish(ctx, summary.seal)
	}
	r.result.Record, r.result.Took = r.record, now().Sub(began)
	return r.result, err
}

// checked is the summary of a file that may be published.
func (j Job) checked(ctx context.Context, o Options) (Summary, error) {
	var s Summary
	if o.Summary == nil || o.Summary.seal == nil {
		var err error
		if s, err = j.Check(ctx); err != nil {
			return s, err
		}
	} else {
		s = *o.Summary
		if err := j.check(); err != nil {
			return s, err
		}
		if err := j.verify(ctx, s.seal); err != nil {
			return s, err
		}
	}
	switch {
	case s.Invalid > 0 && !o.SkipInvalid:
		return s, fmt.Errorf("%w: %d of %d; correct them, or leave them out", ErrInvalidRows,
			s.Invalid, s.Rows)
	case s.Recipients == 0:
		return s, errors.New("the file has nobody to send to")
	}
	return s, nil
}

// run is one run of a campaign.
type run struct {
	job     Job
	options Options
	batch   int
	now     func() time.Time // by the wall clock, which goes on while the machine is suspended

	record Record // as it stands; what the bucket holds is seq
	seq    uint64
	terms  Terms
	id     func(openID string) string // of the intent for a recipient
	result Result

	leftInDoubt int // of what an earlier run left in doubt, not published again yet
	leftSince   time.Time
	batchSince  time.Time // nothing of the batch that is under way was published before
	unsettled   int       // of the batch that failed, how many may be stored behind the checkpoint
}

// open finds what an earlier run has left, or begins the record.
func (r *run) open(ctx context.Context, s Summary) error {
	o := r.options
	record, seq, err := ReadRecord(ctx, o.Conn, r.job.AppID, r.job.Campaign)
	now := r.now().UTC()
	switch {
	case errors.Is(err, ErrUnknown):
		record = Record{
			AppID: r.job.AppID, Campaign: r.job.Campaign, File: s.File, Template: s.Template,
			Source: o.Source, SendAt: o.SendAt.UTC(), ExpiresIn: o.ExpiresIn.Seconds(),
			Rows: s.Rows, StartedAt: now, By: o.By, KeyedIDs: true,
		}
		if record.CountedSince, err = ledger.CountedSince(ctx, o.Conn); err != nil {
			return err
		}
		if o.ExpiresIn > 0 {
			record.ExpiresAt = later(now, o.SendAt).Add(o.ExpiresIn).UTC()
		}
	case err != nil:
		return err
	default:
		if err := r.checkTerms(record, s); err != nil {
			return err
		}
		r.result.Resumed = true
	}
	r.record, r.seq = record, seq
	if record.Finished() {
		r.result.AlreadyFinished = true
		return nil
	}
	if !record.ExpiresAt.IsZero() && !now.Before(record.ExpiresAt) {
		return fmt.Errorf("%w: start the rest as a campaign of another name", ErrTooLate)
	}
	if record.MayDouble(now, o.Remembered) > 0 && !o.AllowDoubles {
		return ErrMayDouble
	}
	if record.KeyedIDs {
		pseudonyms, err := o.Conn.Pseudonyms(ctx)
		if err != nil {
			return err
		}
		r.id = func(openID string) string {
			return ID(pseudonyms, record.AppID, record.Campaign, openID)
		}
	} else {
		// It began before the hash had a key, and goes on so, or whoever has been published would
		// be once more.
		r.id = func(openID string) string {
			return schema.CampaignID(record.AppID, record.Campaign, openID)
		}
	}
	r.leftInDoubt, r.leftSince = record.InDoubt, record.DoubtSince
	r.expectBatch()
	r.record.Invalid, r.record.Repeated, r.record.Run = s.Invalid, s.Repeated, rand.Text()
	r.terms = Terms{Campaign: record.Campaign, Source: record.Source, SendAt: record.SendAt,
		ExpiresAt: record.ExpiresAt}
	return r.save(ctx)
}

// expectBatch notes what may be stored before the checkpoint after the next one is.
func (r *run) expectBatch() {
	r.batchSince = r.now().UTC()
	r.addDoubt(min(r.batch, r.record.Rows-r.record.Next))
}

// addDoubt notes that n intents behind the checkpoint may be stored.
func (r *run) addDoubt(n int) {
	r.record.InDoubt, r.record.DoubtSince = n, time.Time{}
	switch {
	case r.leftInDoubt > 0:
		r.record.InDoubt, r.record.DoubtSince = max(n, r.leftInDoubt), r.leftSince
	case n > 0:
		r.record.DoubtSince = r.batchSince
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// checkTerms says whether this start asks for what was begun.
func (r *run) checkTerms(old Record, s Summary) error {
	o := r.options
	switch {
	case old.File != s.File:
		return fmt.Errorf("%w: give this one another name", ErrOtherFile)
	case old.Template != s.Template:
		return fmt.Errorf("%w: with another template; give this one another name", ErrOtherTerms)
	case o.Source != "" && o.Source != old.Source:
		return fmt.Errorf("%w: with another source; leave it out to go on", ErrOtherTerms)
	case !o.SendAt.IsZero() && !o.SendAt.Equal(old.SendAt):
		return fmt.Errorf("%w: for another time to send; leave it out to go on", ErrOtherTerms)
	case o.ExpiresIn != 0 && o.ExpiresIn.Seconds() != old.ExpiresIn:
		return fmt.Errorf("%w: with another time to expire; leave it out to go on", ErrOtherTerms)
	}
	return nil
}

// save stores the record.
func (r *run) save(ctx context.Context) error {
	r.record.UpdatedAt = r.now().UTC()
	seq, err := writeRecord(ctx, r.options.Conn, r.record, r.seq)
	if err == nil {
		r.seq = seq
	}
	return err
}

// saveLast stores the record although the run is over.
func (r *run) saveLast(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
	defer cancel()
	return r.save(ctx)
}

func (r *run) progress(waiting string) {
	if r.options.Progress != nil {
		r.options.Progress(r.record.Next, r.record.Rows, waiting)
	}
}

// publish goes through the file from the checkpoint to the end.
func (r *run) publish(ctx context.Context, checked *seal) error {
	r.progress("")
	err := r.publishRows(ctx, checked)
	if err == nil {
		r.record.FinishedAt = r.now().UTC()
	}
	if errors.Is(err, ErrTakenOver) {
		return err // the record is the other's
	}
	r.addDoubt(r.unsettled)
	if unsaved := r.saveLast(ctx); unsaved != nil {
		return errors.Join(err, fmt.Errorf("%w: %w", ErrCheckpoint, unsaved))
	}
	return err
}

// publishRows publishes what was checked and nothing else, however the file changes meanwhile.
func (r *run) publishRows(ctx context.Context, checked *seal) error {
	file, err := r.job.Source.Open()
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	b := batch{end: r.record.Next}
	err = r.job.walk(ctx, checked.reader(ctx, file), func(row row) error {
		if row.number < r.record.Next {
			return nil
		}
		if row.problem != nil && !r.options.SkipInvalid {
			return ErrChanged // the summary is that of other limits
		}
		b.end = row.number + 1
		if row.problem != nil || row.repeated {
			return nil
		}
		b.add(row, r.id(row.openID))
		if len(b.intents) < r.batch {
			return nil
		}
		return r.flush(ctx, &b)
	})
	if err != nil {
		return err
	}
	return r.flush(ctx, &b)
}

// batch is rows that are published together.
type batch struct {
	intents []Intent
	rows    []int // of intents, by number
	end     int   // the row behind the last one that was read
}

func (b *batch) add(row row, id string) {
	b.intents = append(b.intents, Intent{ID: id, JSON: append([]byte(nil), row.packet...)})
	b.rows = append(b.rows, row.number)
}

// flush publishes a batch and moves the checkpoint behind it. When it fails, the checkpoint is at
// the first intent that was not acknowledged.
func (r *run) flush(ctx context.Context, b *batch) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	answers, err := r.deliver(ctx, b.intents)
	for i, a := range answers {
		if a.Err != nil {
			r.unsettled = span(answers[i:], mayBeStored)
			break
		}
		r.leftInDoubt = max(0, r.leftInDoubt-1)
		r.record.Next = b.rows[i] + 1
		if a.Duplicate {
			r.record.Duplicates++
		} else {
			r.record.Published++
		}
	}
	if err != nil {
		return err
	}
	r.record.Next = b.end
	*b = batch{end: b.end}
	r.expectBatch()
	r.progress("")
	return r.save(ctx)
}

// span is how far the last of those that are meant reaches: who goes on from the first answer has
// to know.
func span(answers []Accepted, meant func(Accepted) bool) int {
	for n := len(answers); n > 0; n-- {
		if meant(answers[n-1]) {
			return n
		}
	}
	return 0
}

package campaign

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/internal/withdrawal"
	"github.com/kefuhq/kefu/schema"
)

// State is how a campaign stands.
type State string

// The states of campaigns.
const (
	StateUploading State = "uploading" // its file; an upload that was interrupted stays so
	StatePlanned   State = "planned"   // ordered; its time has not come, or no worker has begun it
	StateFeeding   State = "feeding"
	StatePaused    State = "paused"
	StateHalted    State = "halted"    // by itself: Halted says why
	StatePublished State = "published" // all of it is fed
	StateDone      State = "done"      // and has ended
	StateCancelled State = "cancelled"
)

// Status is where a campaign stands. Rows is the sum of Invalid, Repeated, Queued, Open, Sent, the
// dead and Cancelled, at any moment.
type Status struct {
	Record

	State  State  `json:"state"`
	Halted string `json:"halted,omitempty"` // why

	// Queued are those that are stored to be fed, and what the app's queue holds.
	Queued int `json:"queued"`
	// Open were fed and have not ended: they wait for a time or a retry, or are in flight.
	Open int `json:"open"`

	Rate float64   `json:"rate"`         // ends a second, of late
	ETA  time.Time `json:"eta,omitzero"` // when all will have ended at that rate; zero: nobody knows

	// OutcomesSince is set when not all outcomes are counted, and the campaign began before the
	// oldest receipts that are still kept: of what ended before this time, the outcome is not known
	// any more, and it counts as open.
	OutcomesSince time.Time `json:"outcomes_since,omitzero"`

	// How each intent ended, by its latest end: as the workers have counted it, or as the receipts
	// say if a worker did not count. Receipts are kept for 3 days, and may be switched off.
	ledger.Counts
}

// account is what a status is made of.
type account struct {
	record Record
	job    *job.Job // nil: there is none, or not any more
	stream int      // of the campaign, in the app's queue
	waits  int      // in KEFU_LATER; 0 for one of a file, whose rows say how many there are
	counts ledger.Counts
	rate   float64

	cancelled bool // by an order that stands
}

// status makes the status of an account, whose parts were read one after the other. Ends were read
// last: what has ended is not in the queue any more, whatever the count of it says.
func (a account) status(now time.Time) Status {
	s := Status{Record: a.record, Counts: a.counts, Rate: a.rate}
	if s.Dead == nil {
		s.Dead = make(map[schema.Reason]int)
	}
	fed, left, notes := s.Fed, s.Left, s.Notes
	if a.job != nil {
		c := a.job.Counts()
		fed, left, notes = c.Published, c.Left, a.job.Notes()
		s.Halted = a.job.Halted()
	}
	s.Notes = notes
	s.Published += fed
	unfed := max(0, s.Stored-fed-left)
	if s.Upload == "" && !s.Finished() {
		// What an earlier version has not come to.
		unfed = max(0, s.Rows-s.Invalid-s.Repeated-s.Published-s.Duplicates)
	}
	s.State = a.state(unfed)
	for _, n := range notes {
		if n.Text == noteExpired {
			s.Dead[schema.ReasonExpired] += n.Count
			left -= n.Count
		}
	}
	s.Cancelled += left + s.SkipClosed
	if s.State == StateCancelled {
		unfed = 0
	}
	s.balance(unfed, a.stream, a.waits)
	s.forecast(now)
	return s
}

// allOf is how many have ended.
func allOf(c ledger.Counts) int {
	n := c.Sent + c.Cancelled
	for _, dead := range c.Dead {
		n += dead
	}
	return n
}

// balance has the sum of a status come out, whatever was read a moment too early or too late.
func (s *Status) balance(unfed, stream, waits int) {
	ended := allOf(s.Counts)
	if s.Upload == "" && s.Rows == 0 { // it has no file, and as many rows as there are intents
		s.Rows = ended + stream + waits
	}
	rest := s.Rows - s.Invalid - s.Repeated - ended
	if s.State == StateCancelled && rest < 0 { // the receipt of a cancel has counted some as well
		twice := min(s.Cancelled, -rest)
		s.Cancelled, rest = s.Cancelled-twice, rest+twice
	}
	if rest < 0 { // somebody has published more under its name
		s.Rows, rest = s.Rows-rest, 0
	}
	s.Queued = min(unfed+stream, rest)
	s.Open = rest - s.Queued
	if s.State == StateCancelled {
		// What is not fed is not even queued any more; what was fed has its end in the ledger.
		s.Open = min(s.Open, max(0, s.Published+s.Duplicates-ended-s.Queued))
		s.Cancelled += rest - s.Queued - s.Open
	}
}

// state is how the campaign stands, of which some rows are not fed.
func (a account) state(unfed int) State {
	r := a.record
	state := r.Ended
	if a.job != nil {
		state = a.job.State()
	}
	switch {
	case state == job.StateDone: // the order came too late
	case a.cancelled:
		return StateCancelled
	case a.job != nil:
	case r.Ended != "":
	case r.Upload != "" && r.OrderedAt.IsZero():
		return StateUploading
	case r.Upload != "":
		return StatePlanned // the order is on its way
	case r.Rows > 0 && !r.Finished():
		return StateHalted // an earlier version's, which was interrupted
	case a.stream+a.waits > 0:
		return StatePublished
	default:
		return StateDone
	}
	switch state {
	case job.StateAborted:
		return StateCancelled
	case job.StatePlanned, job.StateRunning:
		switch {
		case unfed == 0:
			return StatePublished
		case state == job.StatePlanned && !a.begun():
			return StatePlanned
		}
		return StateFeeding
	}
	return State(state)
}

// begun says whether something of a campaign was fed, of which no step is counted yet.
func (a account) begun() bool {
	return a.stream > 0 || allOf(a.counts) > a.record.Published+a.record.Duplicates
}

// forecast says when all will have ended.
func (s *Status) forecast(now time.Time) {
	if s.State == StatePaused || s.State == StateHalted {
		return // it waits for an operator
	}
	if left := s.Queued + s.Open; left > 0 && s.Rate > 0 {
		seconds := float64(left) / s.Rate
		s.ETA = now.Add(time.Duration(seconds * float64(time.Second))).UTC().Truncate(time.Second)
	}
}

// skew is by how much the clocks of a command and of the workers may differ.
const skew = 5 * time.Minute

// ReadStatus tells where a campaign stands. ErrUnknown when there is none of this name.
func ReadStatus(ctx context.Context, conn *broker.Conn, appID, campaign string) (Status, error) {
	record, _, err := ReadRecord(ctx, conn, appID, campaign)
	if errors.Is(err, ErrUnknown) {
		name, met, err := ledger.NameOf(ctx, conn, appID, campaign)
		if err != nil {
			return Status{}, err
		}
		waits, err := waiting(ctx, conn, appID)
		if err != nil {
			return Status{}, err
		}
		s, err := readStraight(ctx, conn, appID, name.FirstAt, campaign, waits[campaign])
		if err == nil && s.Rows == 0 && !met && s.State != StateCancelled {
			err = ErrUnknown
		}
		return s, err
	}
	if err != nil {
		return Status{}, err
	}
	return readStatus(ctx, conn, record)
}

// readStraight reads where a campaign stands that was published straight to the queue, which
// workers have met first at a time, and of which some wait in KEFU_LATER. It has no rows when
// nothing of it is known.
func readStraight(
	ctx context.Context, conn *broker.Conn, appID string, met time.Time, campaign string, waits int,
) (Status, error) {
	a := account{record: Record{AppID: appID, Campaign: campaign, StartedAt: met}, waits: waits}
	var err error
	if a.stream, err = queued(ctx, conn, appID, campaign); err != nil {
		return Status{}, err
	}
	since, err := ledger.CountedSince(ctx, conn)
	if err != nil {
		return Status{}, err
	}
	// Nobody has asked since when ends were counted when it began.
	if !since.IsZero() && (met.IsZero() || !since.After(met)) {
		a.record.CountedSince = since
	}
	return a.read(ctx, conn)
}

func readStatus(ctx context.Context, conn *broker.Conn, r Record) (Status, error) {
	a := account{record: r}
	if !r.OrderedAt.IsZero() {
		j, err := job.Read(ctx, conn, r.Upload)
		switch {
		case err == nil:
			a.job = &j
		case !errors.Is(err, job.ErrNoJob):
			return Status{}, err
		}
	}
	var err error
	if a.stream, err = queued(ctx, conn, r.AppID, r.Campaign); err != nil {
		return Status{}, err
	}
	return a.read(ctx, conn)
}

// read reads how the campaign's intents ended, and makes its status.
func (a account) read(ctx context.Context, conn *broker.Conn) (Status, error) {
	r := a.record
	_, cancelled, err := withdrawal.ReadCampaignOrder(ctx, conn, r.AppID, r.Campaign)
	if err != nil {
		return Status{}, err
	}
	a.cancelled = cancelled
	counted, err := counted(ctx, conn, r)
	if err != nil {
		return Status{}, err
	}
	if counted {
		p, err := ledger.ReadCounts(ctx, conn, ledger.CampaignOf(r.AppID, r.Campaign))
		if a.counts = p.Counts; p.Rate > 0 {
			a.rate = p.RateAt(brokerTime(ctx, conn))
		}
		return a.status(time.Now()), err
	}
	if r.neverFed() {
		return a.status(time.Now()), nil // there are no receipts
	}
	if a.counts, err = fromReceipts(ctx, conn, r); err != nil {
		return Status{}, err
	}
	s := a.status(time.Now())
	if s.Open == 0 {
		return s, nil // nothing is missing
	}
	stream, err := conn.JS.Stream(ctx, schema.StreamReceipt)
	if err != nil {
		return s, fmt.Errorf("stream %s of the broker: %w", schema.StreamReceipt, err)
	}
	info := stream.CachedInfo()
	s.OutcomesSince = outcomesSince(s.StartedAt, info.Created, info.Config.MaxAge, time.Now())
	return s, nil
}

// timeWait is for how long the broker is asked what time it is.
const timeWait = time.Second

// brokerTime is the time by the broker's clock, and by ours when the broker does not say: a rate
// is not worth a status.
func brokerTime(ctx context.Context, conn *broker.Conn) time.Time {
	ctx, cancel := context.WithTimeout(ctx, timeWait)
	defer cancel()
	stream, err := conn.JS.Stream(ctx, schema.StreamReceipt)
	if err != nil {
		return time.Now()
	}
	return stream.CachedInfo().TimeStamp
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
	outcomes, together, err := outcomes(ctx, conn, r)
	c.Cancelled = together
	for _, o := range outcomes {
		switch o.state {
		case schema.StateSent:
			c.Sent++
		case schema.StateDead:
			c.Dead[o.reason]++
			if o.closed {
				c.Closed++
			}
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
	closed            bool // the answer was that the window for replies is closed
}

// outcomes reads the receipts of a campaign, and how many intents were cancelled together with it,
// which have none of their own. Ids are kept as hashes: a campaign may have a million.
func outcomes(
	ctx context.Context, conn *broker.Conn, r Record,
) (latest map[[16]byte]outcome, together int, err error) {
	latest = make(map[[16]byte]outcome)
	o := broker.ScanOptions{Subject: wire.ReceiptFilter(r.AppID)}
	if !r.StartedAt.IsZero() {
		o.Since = r.StartedAt.Add(-skew)
	}
	of := receiptOf(r.Campaign)
	err = conn.Scan(ctx, schema.StreamReceipt, o, func(s broker.Stored) error {
		receipt, ok := of(s.Data)
		if !ok {
			return nil
		}
		if receipt.Count > 0 {
			together = receipt.Count
			return nil
		}
		sum := sha256.Sum256([]byte(receipt.ID))
		key := [16]byte(sum[:16])
		if old, ok := latest[key]; ok && old.generation > receipt.Generation {
			return nil
		}
		latest[key] = outcome{receipt.Generation, receipt.State, receipt.Reason,
			receipt.PossibleDuplicate, receipt.Errcode != nil && *receipt.Errcode == ledger.CodeClosed}
		return nil
	})
	return latest, together, err
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

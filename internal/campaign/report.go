package campaign

import (
	"context"
	"errors"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// ReportRow is what became of one recipient.
type ReportRow struct {
	Line   int    // of the file; 0 for what is in no file, or not stored any more
	OpenID string // "" where nobody knows it any more
	State  string // queued, open, sent, dead, cancelled or unknown
	Reason string // of a dead one; forgotten for a row that a person was taken out of

	Errcode           *int
	Errmsg            string
	Attempts          int // 0 where nobody knows
	PossibleDuplicate bool
	SettledAt         time.Time // to the second
	ID                string
}

// The states of rows beside those of intents.
const (
	rowQueued  = "queued"
	rowOpen    = "open"
	rowUnknown = "unknown"
)

// rowForgotten is the reason of a row that a person was taken out of.
const rowForgotten = "forgotten"

// Report is what became of each recipient of a campaign. It reads what is still stored of that: the
// rows, receipts, dead letters, the queue and the ledger.
type Report struct {
	conn   *broker.Conn
	record Record
	rows   bool // the rows of the file are stored
	fates  *fates
	log    *ledger.Lookup
	ids    func(openID string) string

	fed  cursor // rows before this one are fed
	rest fateOf // of those that are not

	progress func(rows int)
	done     Reported
}

// fateOf is what becomes of rows that are not fed.
type fateOf struct{ state, reason string }

// Reported is what a report has come to.
type Reported struct {
	Rows    int `json:"rows"`
	Unknown int `json:"unknown"` // how they ended is not known any more
}

// OpenReport looks for a campaign. ErrUnknown when there is none of this name.
func OpenReport(
	ctx context.Context, conn *broker.Conn, appID, campaign string,
) (*Report, error) {
	record, _, err := ReadRecord(ctx, conn, appID, campaign)
	if errors.Is(err, ErrUnknown) { // it may have been published straight to the queue
		var s Status
		s, err = ReadStatus(ctx, conn, appID, campaign)
		record = s.Record
	}
	if err != nil {
		return nil, err
	}
	r := &Report{conn: conn, record: record, log: ledger.NewLookup(conn)}
	r.ids, err = idsOf(ctx, conn, appID, campaign, record.Upload == "" || record.KeyedIDs)
	if err != nil || record.Upload == "" || record.Chunks == 0 {
		return r, err
	}
	switch _, err := readReportRows(ctx, conn, record, 1); {
	case errors.Is(err, ErrNoRows):
		return r, nil
	case err != nil:
		return nil, err
	}
	r.rows = true
	r.fed, r.rest, err = unfed(ctx, conn, record)
	return r, err
}

// HasRows says whether the rows of a file are stored: else only what is known of ids is reported.
func (r *Report) HasRows() bool { return r.rows }

// Total is about how many rows there will be.
func (r *Report) Total() int {
	if r.rows {
		return r.record.Stored
	}
	return r.record.Rows - r.record.Invalid - r.record.Repeated
}

// unfed says from which row on a campaign is not fed, and what becomes of those rows.
func unfed(ctx context.Context, conn *broker.Conn, r Record) (cursor, fateOf, error) {
	all := cursor{chunk: r.Chunks + 1}
	j, err := job.Read(ctx, conn, r.Upload)
	if errors.Is(err, job.ErrNoJob) {
		if r.Ended != "" {
			return all, fateOf{}, nil // rows are not kept for as long
		}
		return cursor{chunk: 1}, fateOf{state: rowQueued}, nil
	}
	if err != nil {
		return cursor{}, fateOf{}, err
	}
	at, rest := restOf(j)
	return at, rest, nil
}

// restOf is unfed by a job.
func restOf(j job.Job) (cursor, fateOf) {
	at := cursor{chunk: 1}
	for _, p := range j.Parts {
		at = cursorAt(p.Cursor)
	}
	for _, n := range j.Notes() {
		if n.Text == noteExpired {
			return at, fateOf{string(schema.StateDead), string(schema.ReasonExpired)}
		}
	}
	if j.State() == job.StateAborted {
		return at, fateOf{state: string(schema.StateCancelled)}
	}
	return at, fateOf{state: rowQueued}
}

// Write calls f for each row, in the order of the file; those of which only ids are known come
// last. progress is told how many there were; nil if nobody wants to know.
func (r *Report) Write(
	ctx context.Context, progress func(rows int), f func(ReportRow) error,
) (Reported, error) {
	r.fates, r.done, r.progress = newFates(r.conn, r.record), Reported{}, progress
	if err := r.fates.read(ctx); err != nil {
		return r.done, err
	}
	if r.rows {
		if err := r.lookUp(ctx); err != nil {
			return r.done, err
		}
		err := r.eachRow(ctx, func(row chunkRow, at cursor) error { return r.row(row, at, f) })
		if err != nil {
			return r.done, err
		}
	}
	return r.done, r.others(ctx, f)
}

// lookUp reads the ledger for the rows of which neither receipt nor letter is stored.
func (r *Report) lookUp(ctx context.Context) error {
	err := r.eachRow(ctx, func(row chunkRow, at cursor) error {
		if row.OpenID == "" || !at.before(r.fed) {
			return nil
		}
		id := r.ids(row.OpenID)
		if _, ended := r.fates.ended[hashOf(id)]; !ended {
			r.log.Want(r.record.AppID, id, r.record.OrderedAt)
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = r.log.Read(ctx)
	if errors.Is(err, broker.ErrNoStream) { // nobody keeps one
		return nil
	}
	return err
}

// eachRow reads the stored rows.
func (r *Report) eachRow(ctx context.Context, f func(row chunkRow, at cursor) error) error {
	for n := 1; n <= r.record.Chunks; n++ {
		rows, err := readReportRows(ctx, r.conn, r.record, n)
		if err != nil {
			return err
		}
		for i, row := range rows {
			if err := f(row, cursor{n, i}); err != nil {
				return err
			}
		}
	}
	return nil
}

// readReportRows reads a chunk as whoever may read the stream, and not only workers.
func readReportRows(
	ctx context.Context, conn *broker.Conn, r Record, chunk int,
) ([]chunkRow, error) {
	s, err := lastChunk(ctx, conn, wire.ChunkSubject(r.AppID, r.Upload, chunk))
	if errors.Is(err, broker.ErrNoMessage) || errors.Is(err, broker.ErrNoStream) {
		return nil, ErrNoRows
	}
	if err != nil {
		return nil, err
	}
	return readChunk(s.Data)
}

// row reports a stored row.
func (r *Report) row(stored chunkRow, at cursor, f func(ReportRow) error) error {
	row := ReportRow{Line: stored.Line, OpenID: stored.OpenID}
	if stored.OpenID == "" {
		row.State, row.Reason = string(schema.StateCancelled), rowForgotten
		if at.before(r.fed) { // it may have been fed before
			row.State = rowUnknown
		}
		return r.put(row, f)
	}
	row.ID = r.ids(stored.OpenID)
	key := hashOf(row.ID)
	of, ended := r.fates.ended[key]
	waits, somewhere := r.fates.where[key]
	switch {
	case ended:
		r.fates.fill(&row, of)
	case !at.before(r.fed) && !somewhere:
		row.State, row.Reason = r.rest.state, r.rest.reason
	case !r.logged(&row) && somewhere:
		row.State = placeOf(waits)
	}
	delete(r.fates.ended, key)
	delete(r.fates.where, key)
	return r.put(row, f)
}

// logged fills a row by what the ledger says, and says whether it has ended.
func (r *Report) logged(row *ReportRow) bool {
	row.State = rowUnknown
	end, known := r.log.End(r.record.AppID, row.ID)
	if !known {
		return false
	}
	row.State = rowOpen
	if end == 0 {
		return false
	}
	state, reason := end.State()
	row.State, row.Reason, row.PossibleDuplicate = string(state), string(reason),
		end.PossibleDuplicate()
	if code := end.Errcode(); code != 0 {
		row.Errcode = &code
	}
	return true
}

func placeOf(waits bool) string {
	if waits {
		return rowOpen
	}
	return rowQueued
}

// others reports what is known of ids that stand in no stored row: of a campaign that was published
// straight, or by an earlier version, or whose rows are not kept any more.
func (r *Report) others(ctx context.Context, f func(ReportRow) error) error {
	if len(r.fates.ended) > 0 {
		err := r.fates.receipts(ctx, func(s schema.Receipt, seq uint64) error {
			return r.other(s.ID, "", seq, false, f)
		})
		if err != nil {
			return err
		}
		err = r.fates.letters(ctx, func(l *schema.Letter, seq uint64) error {
			return r.other(l.ID, l.OpenID, seq, true, f)
		})
		if err != nil {
			return err
		}
	}
	if len(r.fates.where) == 0 {
		return nil
	}
	return r.fates.places(ctx, func(m queue.Message) error {
		key := hashOf(m.ID)
		if waits, ok := r.fates.where[key]; ok {
			delete(r.fates.where, key)
			return r.put(ReportRow{ID: m.ID, OpenID: wire.PeekToUser(m.Packet),
				State: placeOf(waits)}, f)
		}
		return nil
	})
}

// other reports an id if this receipt or letter is the one that says how it ended.
func (r *Report) other(
	id, openID string, seq uint64, letter bool, f func(ReportRow) error,
) error {
	key := hashOf(id)
	of, ok := r.fates.ended[key]
	if !ok || of.seq != seq || of.letter != letter {
		return nil
	}
	row := ReportRow{ID: id, OpenID: openID}
	r.fates.fill(&row, of)
	delete(r.fates.ended, key)
	delete(r.fates.where, key)
	return r.put(row, f)
}

// put hands a row on.
func (r *Report) put(row ReportRow, f func(ReportRow) error) error {
	r.done.Rows++
	if row.State == rowUnknown {
		r.done.Unknown++
	}
	if r.progress != nil && r.done.Rows%1000 == 0 {
		r.progress(r.done.Rows)
	}
	return f(row)
}

// Audit writes to the audit that somebody is about to be shown the recipients. It comes before
// Write.
func (r *Report) Audit(ctx context.Context, by string) error {
	return r.conn.Audit(ctx, broker.AuditEntry{
		Actor: by, Verb: "reveal", AppID: r.record.AppID, Count: r.Total(),
		Filter: "campaign report campaign=" + r.record.Campaign,
		Detail: "recipients shown unmasked",
	})
}

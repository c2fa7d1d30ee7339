package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/notes"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// ImportOptions are those of an import.
type ImportOptions struct {
	AppID string // the only app whose letters are valid; "" for all, as in CheckImport
	By    string // who asks, for the audit

	// Progress is called after each batch; it must not block.
	Progress func(done int)
}

// ImportResult is what an import did.
type ImportResult struct {
	Imported int           `json:"imported"`
	Present  int           `json:"present"` // they were in the box already
	Refused  int           `json:"refused"` // no letters, or the broker did not take them
	Aged     int           `json:"aged"`    // of Imported: died longer ago than letters are kept
	Notes    notes.List    `json:"notes,omitempty"`
	Took     time.Duration `json:"-"`
}

func (r ImportResult) words(err error) string {
	s := fmt.Sprintf("imported %d, already there %d, refused %d", r.Imported, r.Present, r.Refused)
	if err != nil {
		s += "; interrupted"
	}
	return s
}

// Import stores the letters of a file that CheckImport has read, each as it is written there.
// Invalid lines are passed over. A letter that is in the box already is not stored again, so an
// import can be interrupted and run again. It begins and ends with an entry in the audit.
//
// The error is that of the context, of the file, or of a box that takes no more; the result says
// how far it came in either case.
func (b *Box) Import(
	ctx context.Context, r io.Reader, p ImportPlan, o ImportOptions,
) (ImportResult, error) {
	level, err := b.Level(ctx)
	if err != nil {
		return ImportResult{}, err
	}
	im := importing{box: b, o: o, keys: p.keys}
	if level.Keep > 0 {
		im.aged = time.Now().Add(-level.Keep)
	}
	begin := time.Now()
	entry := broker.AuditEntry{Actor: o.By, Verb: "import", AppID: p.onlyApp()}
	options := fmt.Sprintf(", %d in the file", p.Total)
	err = b.conn.Audited(ctx, entry, options, func() (int, string, error) {
		err := im.look(ctx, p)
		if err == nil {
			err = im.run(ctx, r)
		}
		im.result.Refused += p.Invalid
		im.result.Took, im.result.Notes = time.Since(begin), im.notes.Sorted()
		return im.result.Imported, im.result.words(err), err
	})
	return im.result, err
}

// onlyApp returns the app of all letters; "" when they are of several.
func (t *Tally) onlyApp() string {
	if t.Apps() != 1 {
		return ""
	}
	return t.Shares[0].AppID
}

// importing is one run of Import.
type importing struct {
	box     *Box
	o       ImportOptions
	keys    map[letterKey]uint64
	aged    time.Time // who died before then is older than letters are kept; zero: none is
	through uint64    // last sequence in the box before this run
	batch   []*parcel
	result  ImportResult
	notes   notes.List
}

// parcel is a letter on its way into the box.
type parcel struct {
	letter *schema.Letter
	raw    []byte
	msgID  string // at the broker; "" for the letter's own

	ack broker.Ack // of the last message
}

// look finds out which letters of the file are in the box. A few ids are looked up in the index;
// for more, the box is read once.
func (im *importing) look(ctx context.Context, p ImportPlan) (err error) {
	for key := range im.keys { // a plan may be used again
		im.keys[key] = 0
	}
	if im.through, err = im.box.last(ctx); err != nil || im.through == 0 {
		return err
	}
	filter := Filter{AppID: p.onlyApp()}
	if len(p.ids) <= mostLookUps {
		filter.IDs = p.ids
	}
	return im.box.walk(ctx, filter, im.through, func(i Item) error {
		if i.Broken {
			return nil
		}
		if key := keyOf(&i.Letter); im.keys[key] == 0 {
			if _, wanted := im.keys[key]; wanted {
				im.keys[key] = i.Seq
			}
		}
		return nil
	})
}

// importBatch is how many letters are stored at once. What was begun of them is finished when
// somebody interrupts.
const importBatch = 256

func (im *importing) run(ctx context.Context, r io.Reader) error {
	settling, end := outliving(ctx)
	defer end()

	err := readLetters(ctx, r, im.o.AppID,
		func(_ int, l *schema.Letter, raw []byte, bad error) error {
			if bad != nil {
				return nil
			}
			im.batch = append(im.batch, &parcel{letter: l, raw: append([]byte(nil), raw...)})
			if len(im.batch) < importBatch {
				return nil
			}
			return im.flush(settling)
		})
	if err != nil {
		return err
	}
	return im.flush(settling)
}

// flush stores a batch and then its entries in the index, also of the letters that were in the box:
// an import that was killed may have left them without.
func (im *importing) flush(ctx context.Context) error {
	batch := im.batch
	im.batch = nil
	var entries []*nats.Msg
	var todo []*parcel
	twice := make(map[letterKey]bool)
	for _, p := range batch {
		key := keyOf(p.letter)
		switch seq := im.keys[key]; {
		case seq > 0:
			im.result.Present++
			entries = append(entries, IndexMessage(p.letter, seq))
		case twice[key]:
			im.result.Present++
		default:
			twice[key] = true
			todo = append(todo, p)
		}
	}
	var failed error
	for len(todo) > 0 && failed == nil {
		var again []*parcel
		again, failed = im.store(ctx, todo)
		for _, p := range todo {
			if seq := im.keys[keyOf(p.letter)]; seq > 0 {
				entries = append(entries, IndexMessage(p.letter, seq))
			}
		}
		todo = again
	}
	for _, a := range im.publish(ctx, entries) {
		failed = errors.Join(failed, a.err)
	}
	if im.o.Progress != nil {
		im.o.Progress(im.result.Imported + im.result.Present + im.result.Refused)
	}
	return failed
}

// store publishes letters, each under its own message id. It returns those that the stream took
// for duplicates of letters that it does not hold any more: such as were discarded within its
// duplicate window. They have another message id then.
func (im *importing) store(ctx context.Context, todo []*parcel) (again []*parcel, err error) {
	messages := make([]*nats.Msg, len(todo))
	for i, p := range todo {
		m, err := Message(p.letter)
		if err != nil {
			return nil, err // cannot be: it was checked
		}
		m.Data = p.raw // a later version may know fields that this one does not
		if p.msgID != "" {
			m.Header.Set(schema.HeaderMsgID, p.msgID)
		}
		messages[i] = m
		p.msgID = m.Header.Get(schema.HeaderMsgID)
	}
	var doubtful []*parcel
	for i, a := range im.publish(ctx, messages) {
		p := todo[i]
		p.ack = a.ack
		switch {
		case a.err != nil && tooLarge(a.err):
			im.result.Refused++
			im.notes.Add("larger than the broker takes", p.letter.ID)
		case a.err != nil:
			err = cmp.Or(err, a.err) // many are the same
		case a.ack.Duplicate && a.ack.Seq <= im.through:
			doubtful = append(doubtful, p)
		default: // or a duplicate of this run's own, whose first answer was lost
			im.stored(p)
		}
	}
	if err != nil {
		return nil, err
	}
	seqs := make([]uint64, len(doubtful))
	for i, p := range doubtful {
		seqs[i] = p.ack.Seq
	}
	var held []bool
	err = im.box.patiently(ctx, func(ctx context.Context) (err error) {
		_, held, err = im.box.Items(ctx, seqs)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i, p := range doubtful {
		if held[i] {
			im.result.Present++
			im.keys[keyOf(p.letter)] = p.ack.Seq
			continue
		}
		p.msgID = wire.ReturnedMsgID(p.msgID, p.ack.Seq)
		again = append(again, p)
	}
	return again, nil
}

func (im *importing) stored(p *parcel) {
	im.keys[keyOf(p.letter)] = p.ack.Seq
	im.result.Imported++
	if p.letter.DiedAt.Before(im.aged) {
		im.result.Aged++
	}
}

// tooLarge says whether a letter was refused for its size.
func tooLarge(err error) bool {
	var refused *broker.APIError
	return errors.Is(err, nats.ErrMaxPayload) ||
		errors.As(err, &refused) && (refused.Code == broker.CodeTooLarge ||
			refused.Description == "message too large")
}

// answer is what became of one publish.
type answer struct {
	ack broker.Ack
	err error
}

// publish publishes messages in their order and returns the answers.
func (im *importing) publish(ctx context.Context, messages []*nats.Msg) []answer {
	answers := make([]answer, len(messages))
	var open sync.WaitGroup
	for i, m := range messages {
		open.Add(1)
		im.box.conn.Outbox.Publish(m, func(ack broker.Ack, err error) {
			defer open.Done()
			answers[i] = answer{ack, err}
		})
	}
	done := make(chan struct{})
	go func() { open.Wait(); close(done) }()
	select {
	case <-done:
		return answers
	case <-ctx.Done():
		cut := make([]answer, len(messages)) // answers may still be written
		for i := range cut {
			cut[i].err = fmt.Errorf("the broker did not answer: %w", context.Cause(ctx))
		}
		return cut
	}
}

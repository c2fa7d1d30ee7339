package campaign

import (
	"context"
	"crypto/sha256"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/queue"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// idHash stands for an id: a campaign may have a million.
type idHash [16]byte

func hashOf(id string) idHash {
	sum := sha256.Sum256([]byte(id))
	return idHash(sum[:16])
}

// fate is how an intent ended, as far as its receipt or its letter says: 32 bytes.
type fate struct {
	seq        uint64 // of the receipt or the letter that says so
	settled    uint32 // seconds since 1970
	errcode    int32
	errmsg     uint32 // the number of its text
	attempts   uint16
	generation uint16
	reason     uint8 // the number of its reason, from 1; 0 for none
	state      fateState
	letter     bool // it is a letter that says so
	twice      bool // the message may have been sent more than once
}

type fateState uint8

const (
	fateSent fateState = iota + 1
	fateDead
	fateCancelled
)

// noErrcode stands for none; 0 is one.
const noErrcode = math.MinInt32

// mostTexts bounds how many error texts are kept apart.
const mostTexts = 10000

// manyTexts stands for the error texts beyond mostTexts.
const manyTexts = "(one of too many texts: kefu find ID shows it)"

// fates are how the intents of a campaign ended, and where those are that have not. They take 112
// MB for a million. They are not safe for concurrent use.
type fates struct {
	conn     *broker.Conn
	appID    string
	campaign string
	since    time.Time // when the campaign began

	ended map[idHash]fate
	where map[idHash]bool // true: it waits in KEFU_LATER; false: it is queued
	texts []string
	text  map[string]uint32
}

func newFates(conn *broker.Conn, r Record) *fates {
	f := &fates{
		conn: conn, appID: r.AppID, campaign: r.Campaign,
		ended: make(map[idHash]fate), where: make(map[idHash]bool), text: make(map[string]uint32),
	}
	if !r.StartedAt.IsZero() {
		f.since = r.StartedAt.Add(-skew)
	}
	f.textNumber("") // has the number 0
	return f
}

// read reads what is known. What has not ended comes first: when it ends meanwhile, that is seen.
func (f *fates) read(ctx context.Context) error {
	err := f.places(ctx, func(m queue.Message) error {
		f.where[hashOf(m.ID)] = m.Waits()
		return nil
	})
	if err == nil {
		err = f.receipts(ctx, func(r schema.Receipt, seq uint64) error {
			f.add(r.ID, f.ofReceipt(r, seq))
			return nil
		})
	}
	if err == nil {
		err = f.letters(ctx, func(l *schema.Letter, seq uint64) error {
			f.add(l.ID, f.ofLetter(l, seq))
			return nil
		})
	}
	return err
}

// add notes a fate; a later generation counts more than an earlier one, and a receipt more than the
// letter of the same.
func (f *fates) add(id string, new fate) {
	key := hashOf(id)
	old, known := f.ended[key]
	if !known || new.generation > old.generation ||
		new.generation == old.generation && !new.letter {
		f.ended[key] = new
	}
}

// places calls do for what is queued of the campaign, and what waits.
func (f *fates) places(ctx context.Context, do func(queue.Message) error) error {
	n, err := queued(ctx, f.conn, f.appID, f.campaign)
	if err != nil {
		return err
	}
	app := queue.App{ID: f.appID, HasQueue: n > 0}
	return queue.NewReader(f.conn, app, queue.OfCampaign(f.campaign)).Read(ctx, do)
}

// receipts calls do for the receipts of the campaign's intents.
func (f *fates) receipts(ctx context.Context, do func(schema.Receipt, uint64) error) error {
	of := receiptOf(f.campaign)
	o := broker.ScanOptions{Subject: wire.ReceiptFilter(f.appID), Since: f.since}
	return f.conn.Sweep(ctx, schema.StreamReceipt, o, func(s broker.Stored) error {
		r, ok := of(s.Data)
		if !ok || r.Count > 0 {
			return nil
		}
		return do(r, s.Seq)
	})
}

// letters calls do for the dead letters of the campaign.
func (f *fates) letters(ctx context.Context, do func(*schema.Letter, uint64) error) error {
	filter := deadletter.Filter{AppID: f.appID, Lane: schema.LaneBulk, Campaign: f.campaign,
		Since: f.since}
	return deadletter.Open(f.conn).List(ctx, filter, func(i deadletter.Item) error {
		return do(&i.Letter, i.Seq)
	})
}

func (f *fates) ofReceipt(r schema.Receipt, seq uint64) fate {
	state := fateSent
	switch r.State {
	case schema.StateDead:
		state = fateDead
	case schema.StateCancelled:
		state = fateCancelled
	}
	return fate{
		seq: seq, settled: seconds(r.SettledAt), errcode: codeOf(r.Errcode),
		errmsg: f.textNumber(r.Errmsg), attempts: small(r.Attempts),
		generation: small(r.Generation), reason: reasonNumber(r.Reason), state: state,
		twice: r.PossibleDuplicate,
	}
}

func (f *fates) ofLetter(l *schema.Letter, seq uint64) fate {
	return fate{
		seq: seq, settled: seconds(l.DiedAt), errcode: codeOf(l.Errcode),
		errmsg: f.textNumber(l.Errmsg), attempts: small(len(l.Attempts)),
		generation: small(l.Generation), reason: reasonNumber(l.Reason), state: fateDead,
		letter: true, twice: l.PossibleDuplicate,
	}
}

// ofOneCall matches what an errmsg says of one call only.
var ofOneCall = regexp.MustCompile(`(?i)\s*\b(rid:\s*\S+|hints?:?\s*\[[^\]]*\])`)

// textNumber is the number that stands for an error text.
func (f *fates) textNumber(text string) uint32 {
	if text != "" {
		text = ofOneCall.ReplaceAllString(text, "")
	}
	n, ok := f.text[text]
	if !ok && len(f.texts) >= mostTexts {
		text = manyTexts
		n, ok = f.text[text]
	}
	if !ok {
		n = uint32(len(f.texts))
		f.texts, f.text[text] = append(f.texts, text), n
	}
	return n
}

// fill writes a fate into a row.
func (f *fates) fill(row *ReportRow, of fate) {
	row.State = [...]string{"", string(schema.StateSent), string(schema.StateDead),
		string(schema.StateCancelled)}[of.state]
	row.Reason = reasonOf(of.reason)
	if of.errcode != noErrcode {
		code := int(of.errcode)
		row.Errcode = &code
	}
	row.Errmsg, row.Attempts, row.PossibleDuplicate = f.texts[of.errmsg], int(of.attempts), of.twice
	if of.settled > 0 {
		row.SettledAt = time.Unix(int64(of.settled), 0).UTC()
	}
}

// reasonNumber stands for a reason; 0 for none, and for one that this version does not know.
func reasonNumber(r schema.Reason) uint8 {
	return uint8(slices.Index(schema.Reasons(), r) + 1)
}

func reasonOf(n uint8) string {
	if n == 0 {
		return ""
	}
	return string(schema.Reasons()[n-1])
}

func codeOf(errcode *int) int32 {
	if errcode == nil || *errcode < math.MinInt32 || *errcode > math.MaxInt32 {
		return noErrcode
	}
	return int32(*errcode)
}

func seconds(t time.Time) uint32 { return uint32(min(max(t.Unix(), 0), math.MaxUint32)) }

func small(n int) uint16 { return uint16(min(max(n, 0), math.MaxUint16)) }

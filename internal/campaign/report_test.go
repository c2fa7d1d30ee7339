package campaign

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/deadletter"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/ledger"
	"github.com/kefuhq/kefu/internal/pool"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

var settledAt = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// receipt stores a receipt of an intent of the campaign sale.
func (b *bed) receipt(id string, state schema.State, change ...func(*schema.Receipt)) {
	b.t.Helper()
	r := schema.Receipt{ID: id, AppID: app, Generation: 1, State: state, Lane: schema.LaneBulk,
		Campaign: "sale", Attempts: 1, PublishedAt: settledAt, SettledAt: settledAt}
	for _, f := range change {
		f(&r)
	}
	m := nats.NewMsg(schema.ReceiptSubject(app, state))
	var err error
	m.Data, err = json.Marshal(r)
	b.NoError(err)
	_, err = b.conn.Outbox.PublishWait(b.t.Context(), m)
	b.NoError(err)
}

// letter buries an intent of the campaign sale.
func (b *bed) letter(id, openID string, generation int) {
	b.t.Helper()
	code := 45015
	l := schema.Letter{ID: id, AppID: app, Generation: generation, Lane: schema.LaneBulk,
		Campaign: "sale", OpenID: openID, Reason: schema.ReasonRecipient, Errcode: &code,
		Errmsg: "out of time", Attempts: make([]schema.Attempt, 2), PublishedAt: time.Now(),
		DiedAt: time.Now()}
	wire.SetPacket(&l, packetFor(openID))
	m, err := deadletter.Message(&l)
	b.NoError(err)
	_, err = b.conn.Outbox.PublishWait(b.t.Context(), m)
	b.NoError(err)
}

// mark writes marks of an intent of the campaign sale to the ledger.
func (b *bed) mark(id string, kinds ...ledger.Kind) {
	b.t.Helper()
	var marks []ledger.Mark
	for _, k := range kinds {
		marks = append(marks, ledger.Mark{Key: ledger.KeyOf(app, id), Seq: 7, Kind: k, Generation: 1,
			Campaign: ledger.CampaignOf(app, "sale")})
	}
	b.NoError(ledger.Append(b.t.Context(), b.conn, pool.NewName("worker"), marks))
}

// taken takes what is queued for a recipient out of the queue, as a worker does.
func (b *bed) taken(openIDs ...string) {
	b.t.Helper()
	want := make(map[string]bool)
	for _, id := range openIDs {
		want[string(packetFor(id))] = true
	}
	var seqs []uint64
	o := broker.ScanOptions{Subject: wire.LaneFilter(app, schema.LaneBulk, wire.AnyToken)}
	b.NoError(b.conn.Scan(b.t.Context(), schema.SendStream(app), o, func(s broker.Stored) error {
		if want[string(s.Data)] {
			seqs = append(seqs, s.Seq)
		}
		return nil
	}))
	b.Len(seqs, len(openIDs))
	for _, seq := range seqs {
		b.NoError(b.conn.Delete(b.t.Context(), schema.SendStream(app), seq))
	}
}

// report are the rows of a report, each in short.
func (b *bed) report() (rows []string, done Reported) {
	b.t.Helper()
	r, err := OpenReport(b.t.Context(), b.conn, app, "sale")
	b.NoError(err)
	done, err = r.Write(b.t.Context(), nil, func(row ReportRow) error {
		s := fmt.Sprintf("%d %s %s", row.Line, row.OpenID, row.State)
		if row.Reason != "" {
			s += " " + row.Reason
		}
		if row.Errcode != nil {
			s += fmt.Sprintf(" %d %s", *row.Errcode, row.Errmsg)
		}
		if row.Attempts > 0 {
			s += fmt.Sprintf(" ×%d", row.Attempts)
		}
		if row.PossibleDuplicate {
			s += " maybe twice"
		}
		if row.SettledAt.Equal(settledAt) {
			s += " then"
		}
		rows = append(rows, s)
		return nil
	})
	b.NoError(err)
	return rows, done
}

func TestAReportSaysWhatBecameOfEachRecipient(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	b.app.Room.Most = 8
	id := b.order(terms(), "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "o9", "o10", "o11")
	stop := b.worker()
	b.until(id, fed(8))
	stop()
	b.taken("o1", "o2", "o3", "o4", "o5", "o6", "o7")
	code := 45047
	b.receipt(b.ids("o1"), schema.StateDead, func(r *schema.Receipt) {
		r.Reason, r.Errcode, r.Errmsg = schema.ReasonRejected, &code, "limit"
	})
	b.receipt(b.ids("o1"), schema.StateSent, func(r *schema.Receipt) { // it was sent again
		r.Generation, r.PossibleDuplicate = 2, true
	})
	b.receipt(b.ids("o2"), schema.StateDead, func(r *schema.Receipt) {
		r.Reason, r.Errcode, r.Errmsg = schema.ReasonRejected, &code, "limit"
	})
	b.receipt("sale", schema.StateCancelled, func(r *schema.Receipt) { r.Count = 3 })
	b.letter(b.ids("o3"), "o3", 1)
	b.mark(b.ids("o4"), ledger.Start, ledger.Sent)
	b.mark(b.ids("o5"), ledger.Start, ledger.Cancelled)
	b.mark(b.ids("o6"), ledger.Start)
	b.receipt("o9's, by somebody else", schema.StateSent)
	_, err := Forget(t.Context(), b.conn, app, "o11", false)
	b.NoError(err)
	rows, done := b.report()
	b.Equal([]string{
		"2 o1 sent ×1 maybe twice then", "3 o2 dead rejected 45047 limit ×1 then",
		"4 o3 dead recipient 45015 out of time ×2", "5 o4 sent", "6 o5 cancelled", "7 o6 open",
		"8 o7 unknown", "9 o8 queued", "10 o9 queued", "11 o10 queued",
		"12  cancelled forgotten", "0  sent ×1 then",
	}, rows)
	b.Equal(Reported{Rows: 12, Unknown: 1}, done)

	_, err = job.Tell(t.Context(), b.conn, id, job.Abort)
	b.NoError(err)
	rows, _ = b.report()
	b.Equal([]string{"10 o9 cancelled", "11 o10 cancelled", "12  cancelled forgotten"}, rows[8:11])
}

func TestAReportWithoutRowsSaysWhatIsKnownOfIDs(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	_, err := OpenReport(t.Context(), b.conn, app, "sale")
	b.ErrorIs(err, ErrUnknown)
	m := nats.NewMsg("kefu.send." + app + ".bulk.sale")
	m.Data = packetFor("o1")
	m.Header.Set(schema.HeaderMsgID, "mine")
	_, err = b.conn.Outbox.PublishWait(t.Context(), m)
	b.NoError(err)
	b.receipt("a", schema.StateSent)
	b.letter("b", "o2", 2)
	b.receipt("b", schema.StateDead, func(r *schema.Receipt) { r.Reason = schema.ReasonRejected })
	rows, done := b.report()
	b.Equal([]string{"0  sent ×1 then", "0 o2 dead recipient 45015 out of time ×2",
		"0 o1 queued"}, rows)
	b.Equal(Reported{Rows: 3}, done)
}

func TestTheRowsOfAReportAreReadAsLongAsTheyAreStored(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	p, u := b.uploaded(terms(), "o1")
	b.NoError(p.Order(t.Context(), b.conn, terms(), File{Rows: 1}, u))
	b.receipt(b.ids("o1"), schema.StateSent)
	r, err := OpenReport(t.Context(), b.conn, app, "sale")
	b.NoError(err)
	b.True(r.HasRows())
	b.Equal(1, r.Total())
	b.NoError(u.Abandon(t.Context()))
	r, err = OpenReport(t.Context(), b.conn, app, "sale")
	b.NoError(err)
	b.False(r.HasRows())
	rows, _ := b.report()
	b.Equal([]string{"0  sent ×1 then"}, rows)
}

func TestErrorTextsAreKeptOnce(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	f := newFates(b.conn, Record{})
	for i := range mostTexts + 5 {
		f.textNumber(fmt.Sprint("text ", i))
	}
	b.Len(f.texts, mostTexts+1)
	b.Equal(f.textNumber("text 1"), f.textNumber("text 1"))
	b.Equal("text 1", f.texts[f.textNumber("text 1")])
	b.Equal("text 2", f.texts[f.textNumber("text 2 rid: 6b04f11a-15c6e625-a5c11325")])
	b.Equal("text 3", f.texts[f.textNumber("text 3 hint: [xyz] rid: 6b04f11a-15c6e625")])
	b.Equal(manyTexts, f.texts[f.textNumber("one more")])
	b.Empty(f.texts[f.textNumber("")])
}

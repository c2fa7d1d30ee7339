package campaign

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/job"
	"github.com/kefuhq/kefu/internal/recipients"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// messages are what the queue holds.
func (b *bed) messages() (all []broker.Stored) {
	b.t.Helper()
	o := broker.ScanOptions{Subject: wire.LaneFilter(app, schema.LaneBulk, wire.AnyToken)}
	b.NoError(b.conn.Scan(b.t.Context(), schema.SendStream(app), o, func(s broker.Stored) error {
		all = append(all, s)
		return nil
	}))
	return all
}

func TestWhatIsOrderedIsFedUnderTheIDsOfItsRecipients(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	o := terms()
	o.Source, o.ExpiresIn = "crm", time.Hour
	id := b.order(o, "o1", "o2")
	b.worker()
	b.until(id, fed(2))
	for i, s := range b.messages() {
		openID := []string{"o1", "o2"}[i]
		env, err := wire.ParseEnvelope(s.Header, true)
		b.NoError(err)
		b.Equal("kefu.again."+app+".bulk.sale", s.Subject)
		b.Equal(b.ids(openID), env.ID)
		b.Equal(b.ids(openID), s.Header.Get(schema.HeaderMsgID))
		b.Equal([]int{1, 1}, []int{env.Generation, env.Attempt})
		b.Equal("crm", env.Source)
		b.Equal(id, env.Job)
		b.WithinDuration(time.Now().Add(time.Hour), env.ExpiresAt, time.Minute)
		b.Equal(packetFor(openID), s.Data)
	}
	b.end(ends{sent: 2})
	b.until(id, isEnded)
	r, _, err := ReadRecord(t.Context(), b.conn, app, "sale")
	b.NoError(err)
	b.Equal(job.StateDone, r.Ended)
	b.Equal(2, r.Fed)
	b.True(r.Finished())
}

func TestFillTakesWhatIsToBeSent(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	u, err := NewUpload(b.conn, app, "sale")
	b.NoError(err)
	rows := file("done before", "o1", "bad", "o1 again", "closed", "o2")
	rows.rows[2].Problem = &recipients.Problem{Field: "touser"}
	rows.rows[3].Repeated = true
	told := 0
	closed, err := Fill(t.Context(), rows, u, Filling{Skip: 1,
		Closed: func(openID string) bool { return openID == "closed" },
		Row:    func(recipients.Row) error { told++; return nil }})
	b.NoError(err)
	b.Equal([]int{1, 6, 2, 1}, []int{closed, told, u.Rows(), u.Chunks()})
	stored, err := readRows(t.Context(), b.conn, app, u.ID, 1)
	b.NoError(err)
	b.Equal([]chunkRow{{3, "o1", packetFor("o1")}, {7, "o2", packetFor("o2")}}, stored)
	b.Positive(u.Bytes())

	enough := errors.New("enough")
	_, err = Fill(t.Context(), file("o1"), nil, Filling{
		Row: func(recipients.Row) error { return enough }})
	b.ErrorIs(err, enough)
	b.NoError(u.Abandon(t.Context()))
	_, err = readRows(t.Context(), b.conn, app, u.ID, 1)
	b.ErrorIs(err, ErrNoRows)
}

func TestAnUploadThatWasKilledIsReplacedByTheNext(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	killed, _ := b.uploaded(terms(), "o1", "o2")
	b.Equal(1, b.stored())
	p, u := b.uploaded(terms(), "o1", "o3")
	b.True(p.Begun)
	b.Equal(1, b.stored(), "the former one is gone")
	b.ErrorIs(killed.Order(t.Context(), b.conn, terms(), File{}, &Upload{ID: "other"}),
		ErrTakenOver, "it was not killed, and loses")
	b.NoError(p.Order(t.Context(), b.conn, terms(), File{Rows: 2}, u))
	b.worker()
	b.until(u.ID, fed(2))
	b.Equal([]string{"o1", "o3"}, b.queued())
	jobs, err := job.List(t.Context(), b.conn, job.KindCampaign)
	b.NoError(err)
	b.Len(jobs, 1)
}

func TestAnOrderThatWasNotStoredIsMadeAgain(t *testing.T) {
	t.Parallel()
	b := newBed(t)
	p, u := b.uploaded(terms(), "o1")
	r := p.Record
	r.Upload, r.OrderedAt = u.ID, time.Now()
	b.NoError(p.write(t.Context(), b.conn, r)) // and then the command was killed
	again, err := Foresee(t.Context(), b.conn, app, "sale")
	b.NoError(err)
	b.False(again.Ordered)
	id := b.order(terms(), "o1")
	again, err = Foresee(t.Context(), b.conn, app, "sale")
	b.NoError(err)
	b.True(again.Ordered)
	b.NotEqual(u.ID, id)
	b.Equal(1, b.stored())
}

func TestWhatAnEarlierVersionHasBegunGoesOn(t *testing.T) {
	t.Parallel()
	for name, keyed := range map[string]bool{"with a key": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBed(t)
			body, err := json.Marshal(map[string]any{
				"appid": app, "campaign": "sale", "file_sha256": "digest", "rows": 4, "next": 2,
				"published": 2, "keyed_ids": keyed, "in_doubt": 2, "source": "crm",
				"doubt_since": time.Now().Add(-time.Hour), "started_at": time.Now(),
			})
			b.NoError(err)
			_, err = b.conn.Outbox.PublishWait(t.Context(),
				broker.PutJob(recordKey(app, "sale"), body, 0))
			b.NoError(err)
			p, err := Foresee(t.Context(), b.conn, app, "sale")
			b.NoError(err)
			b.True(p.Earlier)
			b.Equal(2, p.Skip())
			b.Equal(2, p.MayDouble(time.Now(), time.Minute))
			b.Zero(p.MayDouble(time.Now(), 2*time.Hour))

			// An upload that is killed changes nothing of that.
			b.uploaded(terms(), "o1", "o2", "o3", "o4")
			p, err = Foresee(t.Context(), b.conn, app, "sale")
			b.NoError(err)
			b.Equal([]int{2, 2}, []int{p.Skip(), p.MayDouble(time.Now(), time.Minute)})

			id := b.order(terms(), "o1", "o2", "o3", "o4")
			b.worker()
			b.until(id, fed(2))
			b.Equal([]string{"o3", "o4"}, b.queued())
			want := schema.CampaignID(app, "sale", "o3")
			if keyed {
				want = b.ids("o3")
			}
			m := b.messages()[0]
			b.Equal(want, m.Header.Get(schema.HeaderMsgID))
			b.Equal("crm", m.Header.Get(schema.HeaderSource), "as it was begun")
			s, err := ReadStatus(t.Context(), b.conn, app, "sale")
			b.NoError(err)
			b.Equal([]int{4, 4}, []int{s.Rows, s.Published})
		})
	}
}

func TestAStartMustAskForWhatWasBegun(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	record := Record{File: "f", Template: "t", Source: "crm", SendAt: now.Add(time.Hour),
		ExpiresIn: 3600, ExpiresAt: now.Add(2 * time.Hour)}
	ordered := Prospect{Record: record, Begun: true, Ordered: true}
	earlier := Prospect{Record: record, Begun: true, Earlier: true}
	uploading := Prospect{Record: record, Begun: true}
	late := now.Add(3 * time.Hour)
	for _, row := range []struct {
		name           string
		p              Prospect
		t              Terms
		file, template string
		now            time.Time
		err            error
	}{
		{"the same", ordered, Terms{}, "f", "t", now, nil},
		{"the same in other words", ordered, Terms{Source: "crm", SendAt: record.SendAt,
			ExpiresIn: time.Hour, ExpiresAt: record.ExpiresAt}, "f", "t", now, nil},
		{"another file", ordered, Terms{}, "g", "t", now, ErrOtherFile},
		{"another template", ordered, Terms{}, "f", "u", now, ErrOtherTerms},
		{"another source", ordered, Terms{Source: "shop"}, "f", "t", now, ErrOtherTerms},
		{"another time", ordered, Terms{SendAt: late}, "f", "t", now, ErrOtherTerms},
		{"another life", ordered, Terms{ExpiresIn: time.Minute}, "f", "t", now, ErrOtherTerms},
		{"another deadline", ordered, Terms{ExpiresAt: late}, "f", "t", now, ErrOtherTerms},
		{"what is ordered, after its deadline", ordered, Terms{}, "f", "t", late, nil},
		{"the rest of an earlier version's", earlier, Terms{}, "f", "t", now, nil},
		{"that after its deadline", earlier, Terms{}, "f", "t", late, ErrTooLate},
		{"that of another file", earlier, Terms{}, "g", "t", now, ErrOtherFile},
		{"anything, after an upload that was killed", uploading, Terms{Source: "shop"}, "g", "u",
			late, nil},
		{"anything, where nothing was begun", Prospect{}, Terms{}, "g", "u", now, nil},
	} {
		require.ErrorIs(t, row.p.Check(row.t, row.file, row.template, row.now), row.err, row.name)
	}
}

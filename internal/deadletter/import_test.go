package deadletter

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// exported returns the letters that a filter chooses as a file.
func (b *bed) exported(f Filter) string {
	b.t.Helper()
	var text strings.Builder
	plan, err := b.box.PlanExport(b.t.Context(), f)
	b.NoError(err)
	_, err = b.box.Export(b.t.Context(), &text, Viewer{Actor: "me"}, f, plan, nil)
	b.NoError(err)
	return text.String()
}

// importFile imports a file and returns without an error.
func (b *bed) importFile(text string, o ImportOptions) ImportResult {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), brokertest.Patience)
	defer cancel()
	result, err := b.tryImport(ctx, text, o)
	b.NoError(err)
	result.Took = 0
	return result
}

func (b *bed) tryImport(ctx context.Context, text string, o ImportOptions) (ImportResult, error) {
	b.t.Helper()
	plan, err := CheckImport(b.t.Context(), strings.NewReader(text), o.AppID)
	b.NoError(err)
	return b.box.Import(ctx, strings.NewReader(text), plan, o)
}

func TestLettersComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	b := newBed(t, 10_000)
	const n = 2000
	b.buryMany("letter-", n)
	before := b.exported(Filter{})

	b.Equal(ImportResult{Present: n}, b.importFile(before, ImportOptions{By: "me"}))
	b.Equal(before, b.exported(Filter{}))
	for range 3 { // within the time in which the stream takes them for duplicates
		b.Equal(n, b.discard(Filter{}, DiscardOptions{}).Discarded)
		b.Equal(ImportResult{Imported: n}, b.importFile(before, ImportOptions{By: "me"}))
		b.Equal(before, b.exported(Filter{}))
	}
	b.Equal(ImportResult{Present: n}, b.importFile(before, ImportOptions{By: "me"}))
}

func TestAnImportIsFoundByID(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.buryMany("letter-", 20)
	file := b.exported(Filter{})
	b.discard(Filter{}, DiscardOptions{})
	b.NoError(b.box.Cover(t.Context(), true))
	b.importFile(file, ImportOptions{})
	b.buryMany("later-", recent+100)
	reads := b.reads(func() {
		items, err := b.box.Get(t.Context(), "", "letter-3")
		b.NoError(err)
		b.Len(items, 1)
	})
	b.LessOrEqual(reads, 3)
}

func TestALetterIsNotStoredTwiceWhenTheDuplicateWindowIsOver(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	stream, err := b.conn.JS.Stream(t.Context(), schema.StreamDead)
	b.NoError(err)
	b.bury(letter("a"), letter("a", func(l *schema.Letter) { l.Generation = 2 }),
		letter("a", func(l *schema.Letter) { l.Sequence = 8 }))
	file := b.exported(Filter{})
	b.NoError(stream.Purge(t.Context()))
	// stored under another message id, as if the window were over
	for line := range strings.Lines(file) {
		b.publish(schema.DeadSubject(app, schema.ReasonExhausted), strings.TrimSpace(line), nil)
	}
	b.Equal(ImportResult{Present: 3}, b.importFile(file, ImportOptions{}))
	b.Equal(ImportResult{Present: 6}, b.importFile(file+file, ImportOptions{}))
	b.Equal([]string{"a", "a", "a"}, b.ids(Filter{}))
	b.NoError(stream.Purge(t.Context()))
	b.Equal(ImportResult{Imported: 3, Present: 3}, b.importFile(file+file, ImportOptions{}))
	b.Equal([]string{"a", "a", "a"}, b.ids(Filter{}))
}

func TestAnImportKeepsWhatThisVersionDoesNotKnow(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	msg, err := Message(letter("a", func(l *schema.Letter) { l.DiedAt = noon.AddDate(0, -2, 0) }))
	b.NoError(err)
	file := strings.Replace(string(msg.Data), "{", `{"from_tomorrow":1.50,`, 1) + "\n"
	b.Equal(ImportResult{Imported: 1, Aged: 1}, b.importFile(file, ImportOptions{By: "me"}))
	b.Equal(file, b.exported(Filter{}))
	entries := b.audited()
	b.Equal("import", entries[0].Verb)
	b.Equal(app, entries[0].AppID)
	b.Equal("begins, 1 in the file", entries[0].Detail)
	b.Equal("imported 1, already there 0, refused 0", entries[1].Detail)
	b.Equal(1, entries[1].Count)
}

func TestAnImportThatIsInterruptedGoesOn(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.buryMany("letter-", 2000)
	file := b.exported(Filter{})
	b.discard(Filter{}, DiscardOptions{})
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	result, err := b.tryImport(ctx, file, ImportOptions{Progress: func(int) { interrupt() }})
	b.ErrorIs(err, context.Canceled)
	b.Equal(importBatch, result.Imported)
	entries := b.audited()
	b.True(strings.HasSuffix(entries[len(entries)-1].Detail, "; interrupted"))
	b.Equal(ImportResult{Imported: 2000 - importBatch, Present: importBatch},
		b.importFile(file, ImportOptions{}))
	b.Len(b.ids(Filter{}), 2000)
}

func TestAnImportGoesOnAfterARestartOfTheBroker(t *testing.T) {
	t.Parallel()
	server := brokertest.Bare(t)
	b := newBedOn(t, server.Connect(), 100)
	b.buryMany("letter-", 2000)
	file := b.exported(Filter{})
	b.discard(Filter{}, DiscardOptions{})
	restarted := make(chan struct{})
	restart := func() { defer close(restarted); server.Restart() }
	result := b.importFile(file, ImportOptions{Progress: func(int) {
		if restart != nil {
			go restart()
			restart = nil
		}
	}})
	<-restarted
	b.Equal(ImportResult{Imported: 2000}, result)
	b.Len(b.ids(Filter{}), 2000)
}

func TestAnImportSaysThatTheBoxIsFull(t *testing.T) {
	t.Parallel()
	b := newBed(t, 100)
	b.buryMany("letter-", 10)
	file := b.exported(Filter{})
	stream, err := b.conn.JS.Stream(t.Context(), schema.StreamDead)
	b.NoError(err)
	full := stream.CachedInfo().Config
	full.MaxMsgs = 4
	b.discard(Filter{}, DiscardOptions{})
	_, err = b.conn.JS.UpdateStream(t.Context(), full)
	b.NoError(err)
	result, err := b.tryImport(t.Context(), file, ImportOptions{})
	b.True(broker.Full(err), err)
	b.Equal(4, result.Imported)
}

func TestCheckImportSaysWhichLineBreaksWhichRule(t *testing.T) {
	t.Parallel()
	line := func(change ...func(*schema.Letter)) string {
		b, err := encode(letter("a", change...), 0)
		require.NoError(t, err)
		return string(b)
	}
	good := line()
	for _, c := range []struct{ line, rule string }{
		{good, ""},
		{line(of(schema.ReasonInvalid), func(l *schema.Letter) {
			l.Subject, l.Lane, l.Generation = "not.kefus", "", 0
			wire.SetPacket(l, nil)
		}), ""},
		{"   ", ""},
		{"SECRET", "it is no JSON"},
		{`["SECRET"]`, "it is no JSON object"},
		{`{"id":1}`, "id: is a JSON number"},
		{`{"died_at":"SECRET"}`, "a time or base64 in it cannot be read"},
		{`{"body_base64":"-SECRET-"}`, "a time or base64 in it cannot be read"},
		{"{\"id\":\"\xff\"}", "it is not UTF-8"},
		{`{}`, "appid"},
		{line(func(l *schema.Letter) { l.AppID = "wx SECRET" }), "appid"},
		{line(func(l *schema.Letter) { l.ID = "SECRET\n" }), "id: must be printable ASCII"},
		{line(of("SECRET")), "reason: missing, or none that is known"},
		{line(func(l *schema.Letter) { l.Lane = "SECRET" }), "lane: not live or bulk"},
		{line(func(l *schema.Letter) { l.Generation = -1 }), "generation: not within 0 and 65535"},
		{line(func(l *schema.Letter) { l.Subject = "" }), "subject: missing"},
		{line(func(l *schema.Letter) { l.BodyBase64 = []byte("x") }), "body: must not stand beside body_base64"},
		{line(func(l *schema.Letter) { l.DiedAt = time.Time{} }), "died_at: missing"},
		{line(func(l *schema.Letter) { l.AppID = "wx2" }), "appid: not the one that --app chooses"},
	} {
		plan, err := CheckImport(t.Context(), strings.NewReader(good+"\r\n\n"+c.line), app)
		require.NoError(t, err, c.line)
		if c.rule == "" {
			require.Zero(t, plan.Invalid, "%s: %v", c.line, plan.Bad)
			continue
		}
		require.Equal(t, 1, plan.Invalid, c.line)
		require.Equal(t, 3, plan.Bad[0].Line)
		require.Contains(t, plan.Bad[0].Rule, c.rule)
		require.NotContains(t, plan.Bad[0].Rule, "SECRET")
	}
}

func TestCheckImportOfFilesThatAreNone(t *testing.T) {
	t.Parallel()
	check := func(text string) (ImportPlan, error) {
		return CheckImport(t.Context(), strings.NewReader(text), "")
	}
	plan, err := check("")
	require.NoError(t, err)
	require.Zero(t, plan.Total)
	plan, err = check(strings.Repeat("x\n", 50))
	require.NoError(t, err)
	require.Equal(t, 50, plan.Invalid)
	require.Len(t, plan.Bad, mostBadLines)
	_, err = check("\n" + strings.Repeat("x", maxLine+1))
	require.EqualError(t, err, "line 2 is longer than 8 MiB: is this an export?")

	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	line, err := encode(letter("a"), 0)
	require.NoError(t, err)
	_, err = fmt.Fprintf(w, "\ufeff%s\n", line)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	plan, err = check(packed.String())
	require.NoError(t, err)
	require.Equal(t, 1, plan.Total)
	_, err = check(packed.String()[:packed.Len()-9])
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

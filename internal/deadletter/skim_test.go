package deadletter

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// random makes letters of all kinds.
type random struct{ *rand.Rand }

// texts are strings that JSON writes in many ways.
var texts = []string{
	"", "a", "order-4711", `say "hi" \ bye`, "line\nand\ttab\x00\x7f", "接口繁忙，请稍后", "😀 \u2028 é",
	"<&>", "broken \xff\xfe utf8", `\u0041`, "rid: 6b04f11a-15c6e625", `"`, `\`, "{}[],:",
	strings.Repeat("长", 300),
}

func (r random) text() string { return texts[r.IntN(len(texts))] }

func (r random) code() *int {
	if r.IntN(3) == 0 {
		return nil
	}
	code := []int{0, -1, 45015, 40001, 1 << 40}[r.IntN(5)]
	return &code
}

func (r random) time() time.Time {
	at := noon.Add(time.Duration(r.Int64N(int64(time.Hour))))
	switch r.IntN(4) {
	case 0:
		return time.Time{}
	case 1:
		return at.In(time.FixedZone("", 8*3600))
	case 2:
		return at.Truncate(time.Second)
	}
	return at
}

func (r random) letter() *schema.Letter {
	l := &schema.Letter{
		ID: r.text(), AppID: r.text(), Generation: r.IntN(3) - 1, Lane: schema.Lane(r.text()),
		Campaign: r.text(), OpenID: r.text(), Source: r.text(), Reason: schema.Reason(r.text()),
		Detail: r.text(), Errcode: r.code(), Errmsg: r.text(), RID: r.text(),
		HTTPStatus: r.IntN(2) * 502, PossibleDuplicate: r.IntN(2) == 0,
		Subject: r.text(), Sequence: r.Uint64() >> r.IntN(64),
		PublishedAt: r.time(), FirstAt: r.time(), LastAt: r.time(), DiedAt: r.time(),
		Worker: r.text(),
	}
	forgotten := r.IntN(2)
	for i := range r.IntN(4) {
		l.Attempts = append(l.Attempts, schema.Attempt{Number: forgotten + i + 1, At: r.time(),
			DurationMS: []float64{0, 12, 0.25, 1e-9, 1e30}[r.IntN(5)], Outcome: r.text(),
			Errcode: r.code(), Errmsg: r.text(), RID: r.text(), HTTPStatus: r.IntN(2) * 200,
			Worker: r.text()})
	}
	wire.SetPacket(l, []byte(r.text()))
	headers := map[string][]string{r.text(): {r.text(), r.text()}, "N": {}}
	if r.IntN(4) == 0 {
		headers["N"] = nil
	}
	wire.SetHeader(l, headers)
	return l
}

// seenInFull is what skim must say of bytes that it can read.
func seenInFull(t *testing.T, data []byte) schema.Letter {
	t.Helper()
	item := itemOf(broker.Stored{Data: data})
	require.False(t, item.Broken, "%s", data)
	l := item.Letter
	return schema.Letter{
		ID: l.ID, AppID: l.AppID, Generation: l.Generation, Lane: l.Lane, Campaign: l.Campaign,
		OpenID: l.OpenID, Source: l.Source, Reason: l.Reason, Detail: l.Detail,
		Errcode: l.Errcode, Errmsg: l.Errmsg, Attempts: l.Attempts,
		PossibleDuplicate: l.PossibleDuplicate, PublishedAt: l.PublishedAt, DiedAt: l.DiedAt,
	}
}

func TestSkimSeesWhatAFullDecodeSees(t *testing.T) {
	t.Parallel()
	r := random{rand.New(rand.NewPCG(1, 2))}
	skimmed := 0
	const n = 5_000
	for range n {
		data, err := encode(r.letter(), 0)
		require.NoError(t, err)
		var l schema.Letter
		if !skim(string(data), &l) {
			continue
		}
		skimmed++
		want := seenInFull(t, data)
		require.Equal(t, AttemptsOf(&want), AttemptsOf(&l))
		l.Attempts, want.Attempts = nil, nil
		require.Equal(t, want, l, "%s", data)
	}
	require.Greater(t, skimmed, n/10)
}

func TestSkimReadsTheLettersThatKefuWrites(t *testing.T) {
	t.Parallel()
	l := letter("order-1", bulk("双十一"), code(45015), errmsg("say \"no\" <now>"),
		func(l *schema.Letter) {
			l.Attempts = []schema.Attempt{{Number: 1, At: noon, DurationMS: 12.25, Outcome: "busy",
				Errcode: l.Errcode, HTTPStatus: 200, Worker: "w"}}
			l.PossibleDuplicate, l.FirstAt, l.LastAt, l.RID = true, noon, noon, "6b04"
		})
	m, err := Message(l)
	require.NoError(t, err)
	var seen schema.Letter
	require.True(t, skim(string(m.Data), &seen))
	require.Len(t, seen.Attempts, 1)
	require.Equal(t, l.Errmsg, seen.Errmsg)
	require.Equal(t, "双十一", seen.Campaign)
}

// TestSkimLeavesTheRestToEncodingJSON changes letters at random places: what skim still reads,
// encoding/json reads alike.
func TestSkimLeavesTheRestToEncodingJSON(t *testing.T) {
	t.Parallel()
	r := random{rand.New(rand.NewPCG(3, 4))}
	pieces := []string{"", " ", `"`, `\`, "{", "}", "[", "]", ",", ":", "null", "0", "-", ".", "e",
		"true", "\n", "\x80", `"id":"x",`, `"ID":"y",`, `\u12`, `,"worker":"w"`, "9999999999999999999"}
	for range 8_000 {
		data, err := encode(r.letter(), 0)
		require.NoError(t, err)
		at := r.IntN(len(data))
		end := min(len(data), at+r.IntN(3))
		changed := string(data[:at]) + pieces[r.IntN(len(pieces))] + string(data[end:])
		var l schema.Letter
		if !skim(changed, &l) {
			continue
		}
		want := seenInFull(t, []byte(changed))
		require.Equal(t, AttemptsOf(&want), AttemptsOf(&l), "%s", changed)
		l.Attempts, want.Attempts = nil, nil
		require.Equal(t, want, l, "%s", changed)
	}
}

func FuzzSkim(f *testing.F) {
	r := random{rand.New(rand.NewPCG(5, 6))}
	for range 10 {
		data, err := encode(r.letter(), 0)
		require.NoError(f, err)
		f.Add(string(data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		var l schema.Letter
		if !skim(text, &l) {
			return
		}
		want := seenInFull(t, []byte(text))
		require.Equal(t, AttemptsOf(&want), AttemptsOf(&l))
		l.Attempts, want.Attempts = nil, nil
		require.Equal(t, want, l)
	})
}

func BenchmarkSkim(b *testing.B) {
	data, err := encode(letter("order-1", code(45015), errmsg("no rid: 6b04f11a-15c6e625")), 0)
	require.NoError(b, err)
	for name, read := range map[string]func(l *schema.Letter) bool{
		"skim": func(l *schema.Letter) bool { return skim(string(data), l) },
		"full": func(l *schema.Letter) bool { return json.Unmarshal(data, l) == nil },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				var l schema.Letter
				require.True(b, read(&l))
			}
		})
	}
}

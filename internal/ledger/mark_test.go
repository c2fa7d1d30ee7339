package ledger

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// TestTheFormatOfABatchIsFinal holds the bytes as they are stored for three
// days by one version and read by the next.
func TestTheFormatOfABatchIsFinal(t *testing.T) {
	t.Parallel()
	b := newBatch(0x0102030405060708, 4)
	for _, m := range []Mark{
		{Key: 0x1112131415161718, Seq: 0x212223242526, Body: 0x31323334, Generation: 0x4142,
			Attempt: 0x51, Unknown: 0x52, Kind: Sent, Again: true},
		{Key: 1, Seq: 2, Kind: Start, Attempt: 1},
		{Key: 1, Seq: 2, Stream: 0x6162636465666768, Kind: Start, Attempt: 1},
		{Key: 1, Seq: 2, Stream: 0x7172737475767778, Kind: Start, Attempt: 1},
		{Key: 1, Seq: 2, Stream: 0x6162636465666768, Kind: Start, Attempt: 1, Again: true},
		{Key: 1, Seq: 2, Stream: 0x6162636465666768, Campaign: 0x8182838485868788, Kind: Start,
			Attempt: 1},
		{Key: 1, Seq: 2, Campaign: NoCampaign, Before: ParseEnd("cancelled possible_duplicate"),
			Kind: Dead, Reason: schema.ReasonExpired},
		{Key: 1, Seq: 2, Job: 0x91929394, Kind: Sent, Attempt: 1, Again: true},
		{Key: 1, Seq: 2, Before: endClosed | duplicate, Kind: Dead, Reason: schema.ReasonRecipient,
			Closed: true},
	} {
		require.True(t, b.add(m))
	}
	require.Equal(t, "01"+"0102030405060708"+
		"1112131415161718"+"212223242526"+"31323334"+"4142"+"51"+"52"+"04"+"01"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"01"+"00"+"01"+"00"+
		"6162636465666768"+"000000000000"+"00000000"+"0000"+"00"+"00"+"09"+"02"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"01"+"00"+"01"+"02"+
		"7172737475767778"+"000000000000"+"00000000"+"0000"+"00"+"00"+"09"+"04"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"01"+"00"+"01"+"04"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"01"+"00"+"01"+"03"+
		"6162636465666768"+"8182838485868788"+"00"+"00"+"00000000"+"09"+"06"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"01"+"00"+"01"+"06"+
		"0000000000000000"+"0000000000000001"+"12"+"07"+"00000000"+"09"+"08"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"00"+"00"+"05"+"08"+
		"0000000000000000"+"0000000000000000"+"00"+"00"+"91929394"+"09"+"0a"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"01"+"00"+"04"+"0b"+
		"0000000000000000"+"0000000000000000"+"14"+"04"+"00000000"+"09"+"0d"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"00"+"00"+"05"+"0c",
		hex.EncodeToString(b.data))
	for kind, number := range map[Kind]int{Start: 1, Clear: 2, Later: 3, Sent: 4, Dead: 5,
		Cancelled: 6, Suspect: 7, Harmless: 8, Gone: 10,
		Dying(schema.ReasonRejected): 16, Dying(schema.ReasonRecipient): 17,
		Dying(schema.ReasonExhausted): 18, Dying(schema.ReasonUnknown): 19,
		Dying(schema.ReasonExpired): 20, Dying(schema.ReasonPoison): 21,
		Dying(schema.ReasonInvalid): 22, Dying(schema.ReasonIDReuse): 23,
	} {
		require.EqualValues(t, number, kind, kind)
	}
	for end, number := range map[string]int{
		"sent": 1, "cancelled": 2, "dead rejected": 3, "dead recipient": 4, "dead exhausted": 5,
		"dead unknown": 6, "dead expired": 7,
		"dead poison": 8, "dead invalid": 9, "dead id-reuse": 10, "sent possible_duplicate": 17,
	} {
		require.EqualValues(t, number, ParseEnd(end), end)
	}
}

func TestTheHashesAreFinal(t *testing.T) {
	t.Parallel()
	require.Equal(t, Key(0xaa9441a9c0485877), KeyOf("wx0000000000000001", "order-1"))
	require.Equal(t, uint32(0xba7816bf), BodyOf([]byte("abc")))
	require.NotEqual(t, KeyOf("wx1", "2"), KeyOf("wx", "12"), "app and id do not run together")
	require.NotEqual(t, KeyOf("wx1", "a"), KeyOf("wx2", "a"))
	require.Equal(t, Campaign(0x3e1f5152804a0500), CampaignOf("wx0000000000000001", "double-11"))
	require.NotEqual(t, uint64(KeyOf("wx1", "a")), uint64(CampaignOf("wx1", "a")))
	require.Equal(t, Job(0xaa9441a9), JobOf("order-1", "wx0000000000000001"))
	require.NotEqual(t, JobOf("a", "wx1"), JobOf("a", "wx2"))
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	var marks []Mark
	b := newBatch(77, 500)
	for i := range 500 {
		m := Mark{
			Key: Key(r.Uint64()), Seq: r.Uint64() & maxSeq, Stream: int64(i % (maxContexts + 1)),
			Body: r.Uint32(), Kind: Kind(1 + r.IntN(8)), Generation: uint16(r.Uint32()),
			Attempt: uint8(r.Uint32()), Unknown: uint8(r.Uint32()), Again: r.IntN(2) == 0,
		}
		if m.Stream > 0 {
			m.Campaign, m.Before = Campaign(m.Stream)<<32, End(m.Stream).valid()
			m.Job = Job(m.Stream % 3)
		}
		if m.Kind == Dead && m.Stream > 0 {
			m.Kind = Sent // a context of its own for each reason
		}
		marks = append(marks, m)
		require.True(t, b.add(m))
	}
	require.Len(t, b.contexts, maxContexts)
	require.False(t, b.add(Mark{Stream: maxContexts + 1}), "more contexts go into the next batch")
	number, err := checkBatch(b.data)
	require.NoError(t, err)
	require.EqualValues(t, 77, number)
	var got []Mark
	readBatch(b.data, func(m Mark) { got = append(got, m) })
	require.Equal(t, marks, got)
}

// TestVersionsReadEachOthersMarks has an older worker read the batch of a newer
// one, and the other way round: while one replaces the other they share a log.
func TestVersionsReadEachOthersMarks(t *testing.T) {
	t.Parallel()
	b := newBatch(1, 2)
	for _, m := range []Mark{
		{Key: 1, Seq: 10, Stream: 5, Campaign: 6, Kind: Start, Attempt: 1},
		{Key: 2, Seq: 11, Stream: 5, Campaign: 7, Before: endSent, Kind: Start, Attempt: 1,
			Again: true},
	} {
		require.True(t, b.add(m))
	}
	// An older one looks at bit 0 of the flags, and takes no notice of a kind that
	// it does not know.
	var older []Mark
	for m := b.data[headerSize:]; len(m) > 0; m = m[markSize:] {
		if Kind(m[22]) <= Harmless {
			readBatch(append(newBatch(1, 1).data, append(bytes.Clone(m[:23]), m[23]&1)...),
				func(m Mark) { older = append(older, m) })
		}
	}
	require.Equal(t, []Mark{{Key: 1, Seq: 10, Kind: Start, Attempt: 1},
		{Key: 2, Seq: 11, Kind: Start, Attempt: 1, Again: true}}, older)

	// One that knows no jobs does not look at a context's last bytes, and leaves them 0.
	b = newBatch(1, 1)
	m := Mark{Key: 1, Seq: 10, Stream: 5, Campaign: 6, Before: endSent, Job: 7, Kind: Sent}
	require.True(t, b.add(m))
	clear(b.data[headerSize+18 : headerSize+22])
	m.Job = 0
	readBatch(b.data, func(read Mark) { require.Equal(t, m, read) })

	// One that knows no closed windows does not look at a context's flag.
	b = newBatch(1, 1)
	m = Mark{Key: 1, Seq: 10, Before: endClosed, Kind: Dead, Reason: schema.ReasonRecipient,
		Closed: true}
	require.True(t, b.add(m))
	b.data[headerSize+23] &^= flagClosed
	m.Before, m.Closed = endRecipient, false
	readBatch(b.data, func(read Mark) { require.Equal(t, m, read) })

	// A newer one may use flags and kinds that mean nothing here.
	b = newBatch(1, 2)
	require.True(t, b.add(Mark{Key: 3, Kind: 77}))
	// 9 is a stream that nothing names.
	b.data = appendMark(b.data, Mark{Key: 1, Seq: 10, Kind: Start, Attempt: 1}, 9)
	x := newIndex(0)
	readBatch(b.data, func(m Mark) { x.mark(m, x.worker("newer")) })
	require.Equal(t, 1, x.len())
	e, _ := x.get(1)
	require.Equal(t, messageOf(0, 10), e.message)
}

// TestClosedWindowsCostNoBytes holds what one flag says of two ends.
func TestClosedWindowsCostNoBytes(t *testing.T) {
	t.Parallel()
	recipient := func(before End, closed bool) Mark {
		return Mark{Key: 1, Seq: 2, Before: before, Kind: Dead, Reason: schema.ReasonRecipient,
			Closed: closed}
	}
	expired := Mark{Key: 1, Seq: 2, Before: endClosed, Kind: Dead, Reason: schema.ReasonExpired}
	started := Mark{Key: 1, Seq: 2, Before: endClosed, Kind: Start, Attempt: 1}
	for _, c := range []struct {
		name       string
		mark, want Mark
	}{
		{"an end", recipient(0, true), recipient(0, true)},
		{"an end after one that says nothing of windows", recipient(endSent, true),
			recipient(endSent, true)},
		{"the end before", started, started},
		{"the end before another", expired, expired},
		{"both", recipient(endClosed, true), recipient(endClosed, true)},
		{"neither", recipient(endRecipient, false), recipient(endRecipient, false)},
		{"they differ: the end before is closed", recipient(endClosed, false),
			recipient(endRecipient, false)},
		{"they differ: the end is closed", recipient(endRecipient, true),
			recipient(endClosed, true)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBatch(1, 1)
			require.True(t, b.add(c.mark))
			require.Len(t, b.data, headerSize+2*markSize)
			readBatch(b.data, func(m Mark) { require.Equal(t, c.want, m) })
		})
	}
}

func FuzzReadBatch(f *testing.F) {
	f.Add([]byte(nil))
	b := newBatch(1, 1)
	b.add(Mark{Key: 1, Seq: maxSeq, Kind: Dead, Generation: 65535, Attempt: 255, Again: true,
		Stream: 1})
	b.add(Mark{Key: 1, Kind: Dead, Reason: schema.ReasonRecipient, Closed: true, Before: endClosed})
	f.Add(b.data)
	f.Fuzz(func(t *testing.T, data []byte) {
		number, err := checkBatch(data)
		if err != nil {
			require.ErrorIs(t, err, errBatch)
			return
		}
		again := newBatch(number, 1)
		var marks, same []Mark
		readBatch(data, func(m Mark) {
			if again.add(m) {
				marks = append(marks, m)
			}
		})
		readBatch(again.data, func(m Mark) { same = append(same, m) })
		require.Equal(t, marks, same)
	})
}

func TestKindsHaveNames(t *testing.T) {
	t.Parallel()
	for kind, c := range map[Kind]struct {
		name     string
		terminal bool
	}{
		Start: {"start", false}, Clear: {"clear", false}, Later: {"later", false},
		Suspect: {"suspect", false},
		Sent:    {"sent", true}, Dead: {"dead", true}, Cancelled: {"cancelled", true},
		42: {"kind 42", false},
	} {
		require.Equal(t, c.name, kind.String())
		require.Equal(t, c.terminal, kind.Terminal(), c.name)
	}
	for ruling, name := range []string{"", "go", "ended", "repeat", "reuse", "started"} {
		require.Equal(t, name, Ruling(ruling).String())
	}
}

func TestEveryReasonCanBeStored(t *testing.T) {
	t.Parallel()
	for _, r := range schema.Reasons() {
		stored, ok := Dying(r).Dying()
		require.True(t, ok, "%s: append it to storedReasons", r)
		require.Equal(t, r, stored)
	}
}

package ledger

import (
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
	data := appendHeader(nil, 0x0102030405060708)
	data = appendMark(data, Mark{
		Key: 0x1112131415161718, Seq: 0x212223242526, Body: 0x31323334, Generation: 0x4142, Attempt: 0x51, Unknown: 0x52, Kind: Sent, Again: true,
	})
	data = appendMark(data, Mark{Key: 1, Seq: 2, Kind: Start, Attempt: 1})
	require.Equal(t, "01"+"0102030405060708"+
		"1112131415161718"+"212223242526"+"31323334"+"4142"+"51"+"52"+"04"+"01"+
		"0000000000000001"+"000000000002"+"00000000"+"0000"+"01"+"00"+"01"+"00",
		hex.EncodeToString(data))
	for kind, number := range map[Kind]int{Start: 1, Clear: 2, Later: 3, Sent: 4, Dead: 5, Cancelled: 6, Suspect: 7, Harmless: 8,
		Dying(schema.Rejected): 16, Dying(schema.Recipient): 17, Dying(schema.Exhausted): 18, Dying(schema.Unknown): 19,
		Dying(schema.Expired): 20, Dying(schema.Poison): 21, Dying(schema.Invalid): 22, Dying(schema.IDReuse): 23,
	} {
		require.EqualValues(t, number, kind, kind)
	}
}

func TestTheHashesAreFinal(t *testing.T) {
	t.Parallel()
	require.Equal(t, Key(0xaa9441a9c0485877), KeyOf("wx0000000000000001", "order-1"))
	require.Equal(t, uint32(0xba7816bf), BodyOf([]byte("abc")))
	require.NotEqual(t, KeyOf("wx1", "2"), KeyOf("wx", "12"), "app and id do not run together")
	require.NotEqual(t, KeyOf("wx1", "a"), KeyOf("wx2", "a"))
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	var marks []Mark
	data := appendHeader(nil, 77)
	for range 500 {
		m := Mark{
			Key: Key(r.Uint64()), Seq: r.Uint64() & maxSeq, Body: r.Uint32(), Kind: Kind(1 + r.IntN(8)), Generation: uint16(r.Uint32()),
			Attempt: uint8(r.Uint32()), Unknown: uint8(r.Uint32()), Again: r.IntN(2) == 0,
		}
		marks = append(marks, m)
		data = appendMark(data, m)
	}
	number, err := checkBatch(data)
	require.NoError(t, err)
	require.EqualValues(t, 77, number)
	var got []Mark
	readBatch(data, func(m Mark) { got = append(got, m) })
	require.Equal(t, marks, got)
}

func FuzzReadBatch(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(appendMark(appendHeader(nil, 1), Mark{Key: 1, Seq: maxSeq, Kind: Dead, Generation: 65535, Attempt: 255, Again: true}))
	f.Fuzz(func(t *testing.T, data []byte) {
		number, err := checkBatch(data)
		if err != nil {
			require.ErrorIs(t, err, errBatch)
			return
		}
		again := appendHeader(nil, number)
		readBatch(data, func(m Mark) { again = appendMark(again, m) })
		for i := headerSize + markSize - 1; i < len(data); i += markSize {
			data[i] &= flagAgain // flags of a later version are not kept
		}
		require.Equal(t, data, again)
	})
}

func TestKindsHaveNames(t *testing.T) {
	t.Parallel()
	for kind, c := range map[Kind]struct {
		name     string
		terminal bool
	}{
		Start: {"start", false}, Clear: {"clear", false}, Later: {"later", false}, Suspect: {"suspect", false},
		Sent: {"sent", true}, Dead: {"dead", true}, Cancelled: {"cancelled", true}, 42: {"kind 42", false},
	} {
		require.Equal(t, c.name, kind.String())
		require.Equal(t, c.terminal, kind.Terminal(), c.name)
	}
	for ruling, name := range []string{"", "go", "ended", "repeat", "reuse", "started"} {
		require.Equal(t, name, Ruling(ruling).String())
	}
}

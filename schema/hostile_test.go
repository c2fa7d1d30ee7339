package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// hostile returns packets that are made to cost as much as possible.
func hostile() map[string][]byte {
	fill := func(head, each, tail string) []byte {
		n := (schema.MaxPacket - len(head) - len(tail)) / len(each)
		return []byte(head + strings.Repeat(each, n) + tail)
	}
	keys := func(n int, head, format, tail string) []byte {
		var b bytes.Buffer
		b.WriteString(head)
		for i := 0; i < n && b.Len() < schema.MaxPacket-64; i++ {
			fmt.Fprintf(&b, format, i)
		}
		b.WriteString(tail)
		return b.Bytes()
	}
	const text = `{"touser":"o","msgtype":"text","text":{"content":"a"}`
	const news = `{"touser":"o","msgtype":"news","news":{"articles":[`
	return map[string][]byte{
		"a million keys":           []byte(`{` + strings.Repeat(`"a":0,`, 1_000_000) + `"a":0}`),
		"as many keys as fit":      keys(1_000_000, text, `,"%x":0`, `}`),
		"as many deep keys as fit": keys(1_000_000, text+`,"x":[[{"":0`, `,"%x":0`, `}]]}`),
		"keys that must be folded": keys(1_000_000, text, `,"Ä%x":0`, `}`),
		"depth 20000": []byte(text + `,"x":` + strings.Repeat(`[`, 20_000) +
			strings.Repeat(`]`, 20_000) + `}`),
		"many small objects": fill(text+`,"x":[{}`, `,{"a":{}}`, `]}`),
		"many articles":      fill(news+`{}`, `,{}`, `]}}`),
		"many menu items": fill(`{"touser":"o","msgtype":"msgmenu","msgmenu":{"list":[`,
			`{"id":"1","content":"a"},`, `{"id":1,"content":"a"}]}}`),
		"a long number":           fill(text+`,"x":1`, `0`, `}`),
		"many escapes":            fill(text+`,"x":"`, `\u4e2d`, `"}`),
		"many escaped strings":    fill(text+`,"x":[1`, `,"\n"`, `]}`),
		"white space":             fill(text, ` `, `}`),
		"a string without an end": fill(text+`,"x":"`, `a`, ``),
		"backslashes":             fill(text+`,"x":"`, `\\`, ``),
	}
}

// Not parallel: it measures the process. Times are compared with those of encoding/json for a
// packet of as many keys, taken in between, so that neither a busy machine nor the race detector
// matters.
func TestDecodeIsCheapForHostilePackets(t *testing.T) {
	packets := hostile()
	keys := packets["as many keys as fit"]
	for name, raw := range packets {
		t.Run(name, func(t *testing.T) {
			best, reference := time.Hour, time.Hour
			for range 5 {
				start := time.Now()
				var object map[string]any
				_ = json.Unmarshal(keys, &object)
				reference = min(reference, time.Since(start))
				start = time.Now()
				_, _ = schema.Decode(raw, schema.Limits{})
				best = min(best, time.Since(start))
			}
			// It takes about as long; comparing each key with each other would take far more than
			// this.
			require.Less(t, best, 25*reference)

			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _ = schema.Decode(raw, schema.Limits{})
			runtime.ReadMemStats(&after)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64*schema.MaxPacket),
				"bytes")
		})
	}
}

func TestDecodeTakesNumbersOfAnySize(t *testing.T) {
	t.Parallel()
	digits := "1" + strings.Repeat("0", 400) + "e400000000000000000000"
	raw := `{"touser":"o","msgtype":"text","text":{"content":"a"},"x":` + digits + `}`
	p, err := schema.Decode([]byte(raw), schema.Limits{})
	require.NoError(t, err)
	require.Equal(t, raw, string(schema.Encode(p)))
}

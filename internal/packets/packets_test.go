package packets

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

const goodPacket = `{"touser":"o1","msgtype":"text","text":{"content":"hi"}}`

func TestReadingALongFileTakesNoMemory(t *testing.T) {
	t.Parallel()
	const n = 20_000
	list := "[" + strings.Repeat("\n\n"+goodPacket+",", n-1) + "\n\n" + goodPacket + "\n]\n"
	p := NewReader("p.json", strings.NewReader(list))
	kept := 0
	for i := range n {
		line, raw, err := p.Next()
		require.NoError(t, err)
		require.Equal(t, goodPacket, string(raw))
		require.Equal(t, 3+2*i, line)
		kept = max(kept, len(p.values.in.ends))
	}
	_, _, err := p.Next()
	require.Equal(t, io.EOF, err)
	require.Less(t, kept, n/10,
		"line ends: what the decoder has read ahead, not what is in the file")
}

func TestAnEndlessValueIsAnError(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"", "[", "[" + goodPacket + ",\n"} {
		endless := io.MultiReader(strings.NewReader(start+`{"a":"`), neverEnding('x'))
		v := newJSONValues(bufio.NewReader(endless), 1<<20)
		for {
			_, _, err := v.next()
			if err != nil {
				require.Equal(t, errLongValue, err)
				break
			}
		}
	}
}

// neverEnding is a file of one character.
type neverEnding byte

func (c neverEnding) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c)
	}
	return len(p), nil
}

func TestTheTextOfInvalidJSONEndsWithAWholeCharacter(t *testing.T) {
	t.Parallel()
	for shift := range 3 {
		broken := `[{"touser":1,"a":"` + strings.Repeat("x", shift) + strings.Repeat("长", 40_000) +
			`",,}]`
		_, raw, err := newJSONValues(bufio.NewReader(strings.NewReader(broken)),
			maxValue).next()
		require.NoError(t, err)
		require.True(t, utf8.Valid(raw))
		require.Greater(t, len(raw), schema.MaxPacket-utf8.UTFMax)
	}
	require.Equal(t, "ab", string(wholeRunes([]byte("ab"))))
	require.Equal(t, "a长", string(wholeRunes([]byte("a长"))))
	require.Equal(t, "a", string(wholeRunes([]byte("a长")[:3])))
	require.Empty(t, wholeRunes(nil))
}

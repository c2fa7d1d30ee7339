package textfile_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/textfile"
)

func TestAByteOrderMarkIsNoPartOfTheText(t *testing.T) {
	t.Parallel()
	const mark = "\ufeff"
	long := strings.Repeat("长", 10_000)
	for _, c := range []struct{ name, file, want string }{
		{"no mark", "a", "a"},
		{"a mark", mark + "a", "a"},
		{"one mark only", mark + mark + "a", mark + "a"},
		{"a mark further on", "a" + mark, "a" + mark},
		{"half a mark", mark[:2], mark[:2]},
		{"a character that begins like one", "\uf000", "\uf000"},
		{"a mark alone", mark, ""},
		{"nothing", "", ""},
		{"a long text", mark + long, long},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, string(textfile.Trim([]byte(c.file))))
			for _, in := range []io.Reader{
				strings.NewReader(c.file),
				iotest.OneByteReader(strings.NewReader(c.file)),
				iotest.DataErrReader(strings.NewReader(c.file)),
			} {
				got, err := io.ReadAll(textfile.NewReader(in))
				require.NoError(t, err)
				require.Equal(t, c.want, string(got))
			}
		})
	}
}

func TestReaderReportsWhatItCannotRead(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk failure")
	for _, start := range []string{"", "\ufeff", "\xef\xbb", "a"} {
		file := io.MultiReader(strings.NewReader(start), iotest.ErrReader(broken))
		got, err := io.ReadAll(textfile.NewReader(file))
		require.ErrorIs(t, err, broken)
		require.Equal(t, strings.TrimPrefix(start, "\ufeff"), string(got))
	}
}

func TestReaderWaitsForNoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	go func() { _, _ = out.Write([]byte("{}")) }()
	got := make([]byte, 16)
	n, err := textfile.NewReader(in).Read(got)
	require.NoError(t, err)
	require.Equal(t, "{}", string(got[:n]))
}

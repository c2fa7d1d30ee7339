package recipients

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// read reads a file to its end.
func read(t testing.TB, in io.Reader, o Options) (*Reader, []Row, error) {
	t.Helper()
	r, err := Open(in, o)
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	var rows []Row
	for {
		row, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r, rows, nil
		}
		if err != nil {
			return r, rows, err
		}
		row.Packet, row.Raw = append([]byte(nil), row.Packet...), append([]byte(nil), row.Raw...)
		rows = append(rows, row)
	}
}

func TestAFileIsCheckedRowByRow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what     string
		format   Format
		file     string
		rows     int
		good     int
		repeated int
		problems []string
	}{
		{"CSV", CSV, "openid,name\no1,a\no2,b\n", 2, 2, 0, nil},
		{"a byte order mark, line ends of Windows, no last line end", CSV,
			"\ufeffopenid,name\r\no1,a\r\no2,b", 2, 2, 0, nil},
		{"the column touser, other columns, a quoted line break", CSV,
			"x,name,touser\n1,\"a\nb\",o1\n", 1, 1, 0, nil},
		{"the same recipient twice", CSV, "openid,name\no1,a\no2,b\no1,c\n", 3, 2, 1, nil},
		{"bad rows", CSV,
			"openid,name\no1,a\n,b\no 3,c\no4\no5,a\x01\no6,\xff\no7,a\"b\no8,x\n", 8, 2, 0,
			[]string{"3 touser", "4 touser", "5 row", "6 text.content", "7 name", "8 row"}},
		{"NDJSON", NDJSON, `{"openid":"o1","name":"a"}` + "\n\n" +
			`{"touser":"o2","name":12345678901234567890}` + "\n", 2, 2, 0, nil},
		{"bad lines", NDJSON,
			`{"openid":"o1","name":"a"}` + "\n" + `{"openid":"o2"}` + "\n[]\nx\n" +
				`{"openid":"o3","name":null}` + "\n" + `{"openid":"o4","touser":"o5","name":""}` +
				"\n" + `{"name":"a"}` + "\n" + `{"openid":"o6","name":"a","name":"b"}` + "\n",
			8, 1, 0,
			[]string{"2 name", "3 row", "4 row", "5 name", "6 openid", "7 openid", "8 row"}},
	} {
		r, _, err := read(t, strings.NewReader(c.file), Options{Format: c.format,
			Template: template(t, hello)})
		require.NoError(t, err, c.what)
		s := r.Summary()
		require.Equal(t, []int{c.rows, c.good, c.repeated, len(c.problems)},
			[]int{s.Rows, s.Recipients, s.Repeated, s.Invalid}, "%s: %v", c.what, s.Problems)
		var places []string
		for _, p := range s.Problems {
			places = append(places, fmt.Sprintf("%d %s", p.Line, p.Field))
			require.NotEmpty(t, p.Rule)
		}
		require.Equal(t, c.problems, places, c.what)
	}
}

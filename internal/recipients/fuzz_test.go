package recipients

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// FuzzRead: whatever a file is, reading it ends without a panic, each row is counted once, what is
// valid is a packet, and it makes no difference in which pieces the file comes.
func FuzzRead(f *testing.F) {
	for _, file := range []string{
		"openid,name\no1,a\no1,\"a\"\"\nb\"\n\no2\n", gb("openid|name\n\"o1\"|小明\no2|x輡\"\n"),
		inUTF16("\ufeffopenid;name\r\no1;小明\r\n", false), inUTF16("openid\tname\no1\t𠀀\n", true),
		gzipped("openid,name\no1,小明\n"), zstandard("openid,name\no1,小明\n"), "o1\no2\n",
		`{"openid":"o1","name":"a"}` + "\n" + `{"touser":"o2","name":1}`, "sep=;\nopenid;name\n",
		"openid,name\no1,\xd0\xa1\xc3\xf7\no2,\xff\n", "openid,name\no1,\"a\no2,b\n",
	} {
		f.Add([]byte(file), uint8(0))
		f.Add([]byte(file), uint8(1))
	}
	named := template(f, hello)
	unnamed := template(f, plainOpenID)
	f.Fuzz(func(t *testing.T, file []byte, which uint8) {
		o := Options{Template: [...]*Template{named, unnamed, nil}[which%3]}
		r, rows, err := read(t, bytes.NewReader(file), o)
		again, same, other := read(t, iotest.OneByteReader(bytes.NewReader(file)), o)
		require.Equal(t, err, other)
		require.Equal(t, rows, same)
		if r == nil {
			require.Error(t, err)
			return
		}
		require.Equal(t, r.Shape(), again.Shape())
		s := r.Summary()
		require.Equal(t, s, again.Summary())
		require.Equal(t, s.Rows, s.Recipients+s.Invalid+s.Repeated)
		require.Len(t, rows, s.Rows)
		line := 0
		for i, row := range rows {
			require.Equal(t, i, row.Number)
			require.Greater(t, row.Line, line)
			line = row.Line
			if row.Problem == nil {
				p, err := schema.Decode(row.Packet, schema.Limits{})
				require.NoError(t, err)
				require.Equal(t, p.ToUser, row.OpenID)
			}
		}
	})
}

// FuzzCSV: a file that encoding/csv reads without an error has the same cells here.
func FuzzCSV(f *testing.F) {
	f.Add("a,b\n\"c\"\"\r\nd\",e\r\n\n,\n", byte(','))
	f.Add("a;\"\"\r", byte(';'))
	f.Fuzz(func(t *testing.T, text string, delimiter byte) {
		if !strings.Contains(delimiters, string(rune(delimiter))) {
			return
		}
		in := csv.NewReader(strings.NewReader(text))
		in.Comma, in.FieldsPerRecord = rune(delimiter), -1
		want, err := in.ReadAll()
		if err != nil {
			return
		}
		want = slices.DeleteFunc(want, hasNothing)
		got := slices.DeleteFunc(cellsOf(t, text, delimiter), hasNothing)
		require.Len(t, got, len(want))
		for i := range want {
			require.Equal(t, want[i], got[i])
		}
	})
}

func hasNothing(cells []string) bool {
	return strings.Trim(strings.Join(cells, ""), delimiters+" \r\n") == ""
}

func cellsOf(t *testing.T, text string, delimiter byte) (rows [][]string) {
	t.Helper()
	s := newSplitter(iotest.HalfReader(strings.NewReader(text)), utf8Text)
	s.delimiter = delimiter
	c := cutter{delimiter: delimiter, most: mostColumns}
	for {
		row, err := s.next()
		if errors.Is(err, io.EOF) {
			return rows
		}
		require.NoError(t, err)
		got, n, rule := c.cut(row.raw)
		require.Empty(t, rule)
		require.Len(t, got, n)
		var cells []string
		for _, cell := range got {
			cells = append(cells, string(cell))
		}
		rows = append(rows, cells)
	}
}

// FuzzObject: the values of a row of NDJSON are those that encoding/json finds.
func FuzzObject(f *testing.F) {
	f.Add(`{"openid":"o1","a":"x\"\\\n\u4f60","b":[{"a":"]"},"}"],"c":-1.5e3}`)
	f.Add(`{ "c" : true , "a" : 12345678901234567890 , "toUser" : "o1" }`)
	f.Add(`{"a":{"a":1},"openid":"o1"}`)
	f.Add(`{}`)
	t := template(f, `{"msgtype":"text","text":{"content":"{{a}}"}}`)
	f.Fuzz(func(test *testing.T, line string) {
		o := newObject(t)
		_, broken := o.render(nil, []byte(line))
		if broken != nil {
			return
		}
		in := json.NewDecoder(strings.NewReader(line))
		in.UseNumber()
		var columns map[string]any
		require.NoError(test, in.Decode(&columns))
		require.Equal(test, fmt.Sprint(columns["a"]), string(o.values[0]))
		openID, broken := o.recipient()
		require.Nil(test, broken)
		for name, value := range columns {
			if isRecipient(name) {
				require.Equal(test, fmt.Sprint(value), string(openID))
			}
		}
	})
}

package recipients

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

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

func hexSHA256(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }

func TestAFileThatCannotBeUsedSaysWhy(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk failure")
	rows := "openid,name\no1,a\no2,b\n"
	long := "openid,name\n" + strings.Repeat("o1,a\n", 5_000)
	for _, c := range []struct {
		what    string
		options Options
		file    string
		says    string
	}{
		{"nothing", Options{}, "", "the file is empty"},
		{"blanks", Options{Name: "a.ndjson"}, " \n\t\r\n", "the file is empty"},
		{"no recipient", Options{}, "name\na\n",
			`no column openid or touser, only "name" (are the columns separated by commas?)`},
		{"no recipient among several", Options{}, "uid,name\n", `only "uid", "name": name the`},
		{"commas of full width", Options{}, "openid，name\n",
			"separate the columns by commas of half"},
		{"two recipients", Options{}, "openid,touser,name\n",
			"both columns, openid and touser: which"},
		{"a column twice", Options{}, "openid,name,name\n",
			`the column "name" twice: rename one of them`},
		{"a place that is no column", Options{}, "openid,nam\no1,a\n",
			`the template has {{name}}, and the file has no such column, only "openid", "nam"`},
		{"a list, and a template with places", Options{}, "oABCDEFGHIJKLMNOPQRSTUVWXYZa\n",
			`the template has {{name}}, and the file has no such column, only "openid"`},
		{"a place that no line has", Options{}, `{"openid":"o1","nam":"a"}`,
			"the template has {{name}}, and no row has it"},
		{"a header in no encoding", Options{}, "openid,\xff\xff\n",
			`the header is not valid UTF-8: save`},
		{"a quote in the header", Options{}, "openid,na\"me\n", "header: not CSV: a quote inside"},
		{"a quote that stays open in the header", Options{}, "openid,\"name\n",
			"header: line 1: a quote is opened and never closed"},
		{"a header of too many columns", Options{}, "openid" + strings.Repeat(",", 1<<15) + "\n",
			"the header has 32769 columns, at most 16384"},
		{"a quote that stays open", Options{}, rows + "o3,\"b\no4,c\n",
			"line 4: a quote is opened and never closed"},
		{"a quote that swallows lines", Options{}, rows + "o3,\"b\no4,c\no5,\"d\"\no6,e\n",
			"line 4: a quote is opened, and the one on line 6 stands where it cannot close it"},
		{"a quote without an end in sight", Options{},
			rows + "o3,\"" + strings.Repeat("a\n", 5<<20),
			"line 4: a row is longer than 4 MiB: is a quote not closed?"},
		{"a line without an end in sight", Options{}, `{"a":"` + strings.Repeat("a", 5<<20),
			"line 1: a row is longer than 4 MiB"},
		{"gzip that is cut off", Options{}, cut(gzipped(long)),
			"the gzip archive is cut off: copy it"},
		{"zstd that is cut off", Options{}, cut(zstandard(long)),
			"the zstd archive is cut off: copy it"},
		{"gzip that is cut off at its start", Options{}, gzipped(long)[:15],
			"line 1: the gzip archive is"},
		{"gzip that is cut off in its head", Options{}, gzipped(long)[:5],
			"the gzip archive is cut off"},
		{"gzip with something else behind it", Options{}, gzipped(rows) + "something else",
			"line 4: the gzip archive cannot be read: "},
		{"a workbook", Options{}, "PK\x03\x04...",
			`Excel workbook or a ZIP archive: save it as "CSV UTF-8"`},
		{"an old workbook", Options{}, "\xd0\xcf\x11\xe0\xa1", `an old Excel workbook: save it as`},
		{"bzip2", Options{}, "BZh91AY", "bzip2: use gzip or zstd"},
		{"no text", Options{}, "a\x00\x00b\x00\n", "the file is no text"},
		{"line ends of old Macs", Options{}, "openid,name\ro1,a\r",
			"the lines of the file end as on old Macs"},
		{"a list in JSON", Options{Name: "a.json"}, `[{"openid":"o1"}]`,
			"put each object on a line of its own"},
		{"an unknown format", Options{Format: "xls"}, "a",
			`format "xls" is none of csv, tsv, ndjson, list`},
		{"an unknown encoding", Options{Encoding: "latin1"}, "a",
			`encoding "latin1" is none of utf-8`},
		{"a mark that says otherwise", Options{Encoding: "gbk"}, "\ufeff" + rows,
			"the file begins with the mark of UTF-8: it is not GB18030"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			c.options.Template = template(t, hello)
			r, _, err := read(t, strings.NewReader(c.file), c.options)
			require.ErrorContains(t, err, c.says)
			if r != nil {
				require.Empty(t, r.Summary().File)
			}
		})
	}
	_, got, err := read(t, io.MultiReader(strings.NewReader(rows), iotest.ErrReader(broken)),
		Options{Template: template(t, hello)})
	require.ErrorIs(t, err, broken)
	require.EqualError(t, err, "line 4: disk failure")
	require.Len(t, got, 2, "what was read before is not lost")
	_, err = Open(strings.NewReader("openid\n"), Options{})
	require.EqualError(t, err, "a CSV file needs a template")
	_, err = Open(strings.NewReader("o1\n"), Options{})
	require.EqualError(t, err, "a list of openids needs a template")
}

func cut(s string) string { return s[:len(s)-20] }

func TestWhatTheUserKnowsIsNotGuessed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what     string
		options  Options
		template string
		file     string
		shape    string
		rows     []string
	}{
		{"GB18030 that might be UTF-8", Options{Encoding: "GBK"}, hello, gb("openid,name\no1,模\n"),
			"CSV with commas in GB18030, 2 columns", []string{"2: o1 模，您好"}},
		{"UTF-8 with broken rows", Options{Encoding: "utf8"}, hello, gb("openid,name\no1,小明\n"),
			"CSV with commas in UTF-8, 2 columns", []string{"2: name: not valid UTF-8"}},
		{"UTF-16 with a mark", Options{Encoding: "utf-16"}, hello,
			inUTF16("\ufeffopenid,name\no1,a", true),
			"CSV with commas in UTF-16BE, 2 columns", []string{"2: o1 a，您好"}},
		{"UTF-16 without one", Options{Encoding: "UTF_16"}, hello,
			inUTF16("openid,name\no1,a", false),
			"CSV with commas in UTF-16LE, 2 columns", []string{"2: o1 a，您好"}},
		{"a byte too much of UTF-16", Options{Encoding: "utf-16le"}, hello,
			inUTF16("openid,name\no1,a", false) + "x", "CSV with commas in UTF-16LE, 2 columns",
			[]string{"2: name: not valid UTF-16LE"}},
		{"a list that looks like a header", Options{Format: List}, plainOpenID, "openid\nname\n",
			"one openid on each line in UTF-8", []string{"1: openid 您好", "2: name 您好"}},
		{"TSV", Options{Format: TSV}, plainOpenID,
			"openid\tx,y,name\no1\ta\n", "TSV in UTF-8, 2 columns",
			[]string{"2: o1 您好"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			c.options.Template = template(t, c.template)
			r, rows, err := read(t, strings.NewReader(c.file), c.options)
			require.NoError(t, err)
			require.Equal(t, c.rows, inWords(t, rows))
			require.Equal(t, c.shape, r.Shape().String())
		})
	}
}

func TestTheContentDecidesWhenTheNameSaysOtherwise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, first string
		want        Format
	}{
		{"a.csv", "openid,name", CSV},
		{"a.CSV.gz", "openid,name", CSV},
		{"a.csv", "openid\tname", TSV},
		{"a.tsv", "openid,name", CSV},
		{"a.tsv.zst", "openid", TSV},
		{"a.csv", `{"openid":"o1"}`, NDJSON},
		{"a.ndjson", "openid,name", CSV},
		{"a.jsonl", "x", NDJSON},
		{"a.txt", "o12345678", List},
		{"a.csv", "o12345678", List},
		{"", "openid", CSV},
		{"", "name", CSV},
		{"", ` {"openid"`, NDJSON},
	} {
		l, err := findLayout(Options{Name: c.name, Template: template(t, hello)}, []byte(c.first))
		require.NoError(t, err)
		require.Equal(t, c.want, l.format, "%s: %s", c.name, c.first)
	}
}

// TestTheCharsetIsKnownBeforeItMatters: a long file may be ASCII up to a name at its end.
func TestTheCharsetIsKnownBeforeItMatters(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("openid,name\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "o%d,Li\n", i)
	}
	for encoding, file := range map[string]string{
		"UTF-8": b.String() + "x,小明\n", "GB18030": b.String() + gb("x,小明\n"),
	} {
		r, rows, err := read(t, strings.NewReader(file), Options{Template: template(t, hello)})
		require.NoError(t, err)
		require.Equal(t, encoding, r.Shape().Encoding)
		require.Equal(t, []int{10_001, 10_001, 0, 0}, counts(r.Summary()))
		require.Equal(t, []string{"10002: x 小明，您好"}, inWords(t, rows[len(rows)-1:]))
	}
	odd := "openid,name\no1,\xc3\xf7\n" + strings.Repeat("o2,Li\n", 12_000) +
		"o3,小明\no4,小明\n"
	_, rows, err := read(t, strings.NewReader(odd), Options{Template: template(t, hello)})
	require.ErrorContains(t, err, "say in which encoding the file is")
	require.Len(t, rows, 12_003)
	// 模 alone could be a letter of UTF-8: what follows tells.
	file := gb("openid,name\no1,模\n" + strings.Repeat("o2,小明\n", 10_000))
	_, rows, err = read(t, strings.NewReader(file), Options{Template: template(t, hello)})
	require.NoError(t, err)
	require.Equal(t, "2: o1 模，您好", inWords(t, rows[:1])[0])
}

func TestAReaderCanBeLeftAtAnyTime(t *testing.T) {
	t.Parallel()
	in, out := io.Pipe()
	var writer sync.WaitGroup
	writer.Go(func() { _, _ = out.Write(people(20_000)) }) // until the pipe is closed
	r, err := Open(in, Options{Template: template(t, order)})
	require.NoError(t, err)
	_, err = r.Next()
	require.NoError(t, err)
	r.Close()
	r.Close()
	_, err = r.Next()
	require.ErrorIs(t, err, errClosed)
	require.NoError(t, in.Close())
	writer.Wait()
}

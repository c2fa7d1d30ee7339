package recipients

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/simplifiedchinese"
)

const (
	plainOpenID = `{"msgtype":"text","text":{"content":"您好"}}`
	places      = `{"msgtype":"text","text":{"content":"{{姓名}}:{{note}}"}}`
)

// TestAnOddFileIsReadForWhatItIs: whatever a file is written in, its rows are the same.
func TestAnOddFileIsReadForWhatItIs(t *testing.T) {
	t.Parallel()
	two := []string{"2: o1 小明，您好", "3: o2 Ann，您好"}
	const file = "openid,name\no1,小明\no2,Ann\n"
	for _, c := range []struct {
		what, template string
		file           string
		shape          string
		rows           []string
	}{
		{"CSV", hello, file, "CSV with commas in UTF-8, 2 columns", two},
		{"ASCII only", hello, "openid,name\no1,Li\n", "CSV with commas in UTF-8, 2 columns",
			[]string{"2: o1 Li，您好"}},
		{"a byte order mark", hello, "\ufeff" + file, "CSV with commas in UTF-8, 2 columns", two},
		{"line ends of Windows", hello, strings.ReplaceAll(file, "\n", "\r\n"),
			"CSV with commas in UTF-8, 2 columns", two},
		{"no last line end", hello, strings.TrimSuffix(file, "\n"),
			"CSV with commas in UTF-8, 2 columns", two},
		{"semicolons", hello, strings.ReplaceAll(file, ",", ";"),
			"CSV with semicolons in UTF-8, 2 columns", two},
		{"Excel's line about the delimiter", hello,
			"sep=;\r\n" + strings.ReplaceAll(file, ",", ";"),
			"CSV with semicolons in UTF-8, 2 columns",
			[]string{"3: o1 小明，您好", "4: o2 Ann，您好"}},
		{"tabs", hello, strings.ReplaceAll(file, ",", "\t"), "TSV in UTF-8, 2 columns", two},
		{"bars", hello, strings.ReplaceAll(file, ",", "|"),
			"CSV with bars in UTF-8, 2 columns", two},
		{"a delimiter in quotes in the header", hello,
			"openid;\"a,b,c,d\";name\no1;;小明\no2;;Ann\n",
			"CSV with semicolons in UTF-8, 3 columns", two},
		{"GB18030", hello, gb(file), "CSV with commas in GB18030, 2 columns", two},
		{"bars in GB18030, one of them half a character, then a quote", hello,
			gb("openid|name|x\n\"o1\"|小明|x輡\"\no2|Ann|\"a\"\"\nb\"\n"),
			"CSV with bars in GB18030, 3 columns",
			[]string{"2: row: " + bareQuote, "3: o2 Ann，您好"}},
		{"Chinese columns in GB18030", places, gb("openid,姓名,note\no1,小明,“你好”\n"),
			"CSV with commas in GB18030, 3 columns", []string{"2: o1 小明:“你好”"}},
		{"four bytes a character and the euro sign of Windows", hello,
			gb("openid,name\no1,𠀀\no2,") + "\x80\n", "CSV with commas in GB18030, 2 columns",
			[]string{"2: o1 𠀀，您好", "3: o2 €，您好"}},
		{"UTF-16 of Windows", hello, inUTF16("\ufeff"+file, false),
			"CSV with commas in UTF-16LE, 2 columns", two},
		{"UTF-16 the other way round", hello, inUTF16("\ufeff"+file, true),
			"CSV with commas in UTF-16BE, 2 columns", two},
		{"UTF-16 without a mark", hello, inUTF16(file, false),
			"CSV with commas in UTF-16LE, 2 columns", two},
		{"UTF-16BE without a mark, and pairs", hello,
			inUTF16("openid,name\no1,𠀀\n", true), "CSV with commas in UTF-16BE, 2 columns",
			[]string{"2: o1 𠀀，您好"}},
		{"half a pair", hello,
			strings.Replace(inUTF16("\ufeff"+file, false), "\x0f\x5c", "\x00\xd8", 1),
			"CSV with commas in UTF-16LE, 2 columns",
			[]string{"2: name: not valid UTF-16LE", "3: o2 Ann，您好"}},
		{"gzip", hello, gzipped(gb(file)), "CSV with commas in GB18030, gzip, 2 columns", two},
		{"two archives, one behind the other", hello,
			gzipped(file[:20]) + gzipped(file[20:]),
			"CSV with commas in UTF-8, gzip, 2 columns", two},
		{"zstd", hello, zstandard(file), "CSV with commas in UTF-8, zstd, 2 columns", two},
		{"quotes, doubled quotes, delimiters and line breaks in fields", hello,
			"openid,name\r\no1,\"a \"\"b\"\", c\r\nd\"\r\n\"o2\",\"\"\"\"\r\n",
			"CSV with commas in UTF-8, 2 columns",
			[]string{"2: o1 a \"b\", c\nd，您好", "4: o2 \"，您好"}},
		{"empty lines, also those of spreadsheets", hello,
			"\n\r\nopenid,name\n\n \t\no1,Li\n,\r\n\no2,Bo", "CSV with commas in UTF-8, 2 columns",
			[]string{"6: o1 Li，您好", "9: o2 Bo，您好"}},
		{"the recipient's column in other letters, behind others", hello,
			"x, name ,OpenID\n1,Li,o1\n", "CSV with commas in UTF-8, 3 columns",
			[]string{"2: o1 Li，您好"}},
		{"a template that has the recipient from another column",
			`{"touser":"{{uid}}","msgtype":"text","text":{"content":"a"}}`,
			"uid,openid\no1,x\n", "CSV with commas in UTF-8, 2 columns", []string{"2: o1 a"}},
		{"one column", plainOpenID, "openid\no1\n\no2\n", "CSV with commas in UTF-8, 1 column",
			[]string{"2: o1 您好", "4: o2 您好"}},
		{"one openid on each line", plainOpenID,
			"\ufeffoABCDEFGHIJKLMNOPQRSTUVWXYZa\r\n\r\n o2 \r\no3,x\r\n" +
				"oABCDEFGHIJKLMNOPQRSTUVWXYZa",
			"one openid on each line in UTF-8",
			[]string{"1: oABCDEFGHIJKLMNOPQRSTUVWXYZa 您好", "3: o2 您好",
				"4: row: more than an openid, and the first line was one alone",
				"5: oABCDEFGHIJKLMNOPQRSTUVWXYZa again"}},
		{"NDJSON", hello,
			"{\"openid\":\"o1\",\"name\":\"小明\"}\r\n\n{\"touser\":\"o2\",\"name\":7}",
			"NDJSON in UTF-8", []string{"1: o1 小明，您好", "3: o2 7，您好"}},
		{"NDJSON in GB18030", hello, gb(`{"openid":"o1","name":"小明"}`),
			"NDJSON in GB18030", []string{"1: o1 小明，您好"}},
		{"packets", "", `{"touser":"o1","msgtype":"text","text":{"content":"a"}}` + "\n{}\n",
			"NDJSON in UTF-8", []string{"1: o1 a", "2: msgtype: missing"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			var o Options
			if c.template != "" {
				o.Template = template(t, c.template)
			}
			for _, in := range []io.Reader{
				strings.NewReader(c.file),
				iotest.OneByteReader(strings.NewReader(c.file)),
				iotest.DataErrReader(strings.NewReader(c.file)),
			} {
				r, rows, err := read(t, in, o)
				require.NoError(t, err)
				require.Equal(t, c.rows, inWords(t, rows))
				require.Equal(t, c.shape, r.Shape().String())
				require.Equal(t, hexSHA256(c.file), r.Summary().File)
			}
		})
	}
}

// TestABadRowIsNamedAndReadingGoesOn: the rows around it are those of any file.
func TestABadRowIsNamedAndReadingGoesOn(t *testing.T) {
	t.Parallel()
	articles := strings.Repeat(`{"title":"a"},`, 10) + `{"title":"a"}`
	for _, c := range []struct{ what, template, file, problem string }{
		{"a missing column", hello, "openid,name\n%s1,a\n%s2\n%s3,a\n",
			"row: has 1 columns, the header 2"},
		{"a column more", hello, "openid,name\n%s1,a\n%s2,a,b\n%s3,a\n",
			"row: has 3 columns, the header 2"},
		{"a million columns more", hello,
			"openid,name\n%s1,a\n%s2" + strings.Repeat(",", 1<<20) + "\n%s3,a\n",
			"row: has 1048577 columns, the header 2"},
		{"an empty value", hello, "openid,name\n%s1,a\n%s2, \n%s3,a\n", "name: " + emptyPlace},
		{"an empty value in NDJSON", hello, "\n{\"openid\":\"%s1\",\"name\":\"a\"}\n" +
			"{\"openid\":\"%s2\",\"name\":\"\"}\n{\"openid\":\"%s3\",\"name\":\"a\"}\n",
			"name: " + emptyPlace},
		{"no such place in a line", hello, "\n{\"openid\":\"%s1\",\"name\":\"a\"}\n" +
			"{\"openid\":\"%s2\",\"nam\":\"a\"}\n{\"openid\":\"%s3\",\"name\":\"a\"}\n",
			"name: missing"},
		{"no JSON", hello, "\n{\"openid\":\"%s1\",\"name\":\"a\"}\n" +
			"{\"openid\":\"%s2\",\n{\"openid\":\"%s3\",\"name\":\"a\"}\n", "row: not JSON: "},
		{"no recipient", hello, "openid,name\n%s1,a\n,%s2\n%s3,a\n", "touser: blank"},
		{"a control character", hello, "openid,name\n%s1,a\n%s2,\x01\n%s3,a\n",
			"text.content: control character U+0001"},
		{"what is not UTF-8 behind UTF-8", hello, "openid,name\n%s1,小明\n%s2,\xc3\xf7\n%s3,a\n",
			"name: not valid UTF-8"},
		{"what is not GB18030 behind GB18030", hello,
			"openid,name\n%s1,\xd0\xa1\xc3\xf7\n%s2,\xff\n%s3,\xd0\xa1\n",
			"name: not valid GB18030"},
		{"neither", hello, "openid,name\n%s1,a\n%s2,\xff\xff\n%s3,a\n", "name: not valid UTF-8"},
		{"a quote that nothing opened", hello, "openid,name\n%s1,a\n%s2,a\"b\n%s3,a\n",
			"row: " + bareQuote},
		{"text behind quotes", hello, "openid,name\n%s1,a\n%s2,\"a\" b\"\n%s3,a\n",
			"row: " + behindQuote},
		{"a field of a megabyte", hello,
			"openid,name\n%s1,a\n%s2," + strings.Repeat("a", 1<<20) + "\n%s3,a\n",
			"packet: larger than 65536 bytes"},
		{"a packet of a megabyte", "", "\n" + packet("%s1") + "\n" +
			strings.Replace(packet("%s2"), "您好", strings.Repeat("a", 1<<20), 1) + "\n" +
			packet("%s3") + "\n", "packet: 10486"},
		{"eleven articles", "", "\n" + packet("%s1") + "\n" +
			`{"touser":"%s2","msgtype":"news","news":{"articles":[` + articles + "]}}\n" +
			packet("%s3") + "\n", "news.articles: "},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			var o Options
			if c.template != "" {
				o.Template = template(t, c.template)
			}
			file := strings.ReplaceAll(c.file, "%s", "o")
			r, rows, err := read(t, strings.NewReader(file), o)
			require.NoError(t, err)
			require.Len(t, rows, 3)
			require.Equal(t, []int{3, 2, 1, 0}, counts(r.Summary()))
			bad := rows[1]
			require.NotNil(t, bad.Problem)
			require.Contains(t, bad.Problem.Field+": "+bad.Problem.Rule, c.problem)
			require.Equal(t, []Problem{*bad.Problem}, r.Summary().Problems)
			require.Equal(t, 3, bad.Line)
			require.Equal(t, []string{"o1", "", "o3"},
				[]string{rows[0].OpenID, bad.OpenID, rows[2].OpenID})
			require.Equal(t, strings.Count(c.file, "\n"), rows[2].Line)
		})
	}
}

func TestALongFieldThatIsNotUsedDoesNoHarm(t *testing.T) {
	t.Parallel()
	file := "openid,name,x\no1,a,\"" + strings.Repeat("a\n", 1<<19) + "\"\no2,b,\n"
	r, rows, err := read(t, strings.NewReader(file), Options{Template: template(t, hello)})
	require.NoError(t, err)
	require.Equal(t, 2, r.Summary().Recipients)
	require.Equal(t, 3+1<<19, rows[1].Line)
}

// inWords describes rows: the line, the recipient and the text, or what is wrong.
func inWords(t testing.TB, rows []Row) (words []string) {
	t.Helper()
	for _, r := range rows {
		switch {
		case r.Problem != nil:
			require.Empty(t, r.Packet)
			require.Equal(t, r.Line, r.Problem.Line)
			p := r.Problem
			words = append(words, fmt.Sprintf("%d: %s: %s", r.Line, p.Field, p.Rule))
		case r.Repeated:
			words = append(words, fmt.Sprintf("%d: %s again", r.Line, r.OpenID))
		default:
			var p struct {
				ToUser string
				Text   struct{ Content string }
			}
			require.NoError(t, json.Unmarshal(r.Packet, &p))
			require.Equal(t, p.ToUser, r.OpenID)
			words = append(words, fmt.Sprintf("%d: %s %s", r.Line, r.OpenID, p.Text.Content))
		}
	}
	return words
}

func counts(s Summary) []int { return []int{s.Rows, s.Recipients, s.Invalid, s.Repeated} }

func packet(openID string) string {
	return `{"touser":"` + openID + `","msgtype":"text","text":{"content":"您好"}}`
}

func gb(s string) string {
	encoded, err := simplifiedchinese.GB18030.NewEncoder().String(s)
	if err != nil {
		panic(err)
	}
	return encoded
}

func inUTF16(s string, big bool) string {
	var b []byte
	for _, c := range utf16.Encode([]rune(s)) {
		if big {
			b = append(b, byte(c>>8), byte(c))
		} else {
			b = append(b, byte(c), byte(c>>8))
		}
	}
	return string(b)
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s)) // to memory
	_ = w.Close()
	return b.String()
}

func zstandard(s string) string {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err)
	}
	return string(w.EncodeAll([]byte(s), nil))
}

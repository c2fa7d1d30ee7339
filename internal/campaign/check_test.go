package campaign

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func check(t *testing.T, source Source, tmpl *Template) (Summary, error) {
	t.Helper()
	return Job{AppID: app, Campaign: "c1", Source: source, Template: tmpl}.Check(t.Context())
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
		s, err := check(t, text(c.format, c.file), template(t, hello))
		require.NoError(t, err, c.what)
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

func TestAFileThatCannotBeUsedSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format     Format
		file, want string
	}{
		{CSV, "", "the file is empty"},
		{CSV, "name\na\n", "no column openid or touser (are the columns separated by commas?)"},
		{CSV, "openid,touser,name\n", "both columns"},
		{CSV, "openid,name,name\n", `the column "name" twice`},
		{CSV, "openid,nam\no1,a\n", "the template has {{name}}, and the file has no such column"},
		{CSV, "openid,\xff\n", `save the file as "CSV UTF-8"`},
		{CSV, "openid,name\no1,a\no2,\"b\no3,c\n", "line 3: not CSV"},
		{CSV, "openid,name\no1,\"" + strings.Repeat("a\n", 3<<20), "line 2: a row is longer than"},
		{NDJSON, `{"openid":"o1","nam":"a"}`, "the template has {{name}}, and no row has it"},
		{NDJSON, `{"a":"` + strings.Repeat("a", 2<<20), "line 1: a row is longer than"},
		{"xls", "", `format "xls"`},
	} {
		_, err := check(t, text(c.format, c.file), template(t, hello))
		require.ErrorContains(t, err, c.want)
	}
	_, err := check(t, text(CSV, "openid\n"), nil)
	require.EqualError(t, err, "a CSV file needs a template")
	_, err = Job{AppID: app, Campaign: "a.b"}.Check(t.Context())
	require.ErrorContains(t, err, "campaign: ")
}

func TestLinesMayBeWholePackets(t *testing.T) {
	t.Parallel()
	s, err := check(t, text(NDJSON, `{"touser":"o1","msgtype":"text","text":{"content":"a"}}
{"touser":"o2","msgtype":"image","image":{"media_id":"m"}}
{"touser":"o3","msgtype":"fax"}
`), nil)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"text": 1, "image": 1}, s.MsgTypes)
	require.Equal(t, 1, s.Invalid)
	require.Equal(t, 3, s.Problems[0].Line)
}

func TestTheFormatFollowsFromTheName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, want := range map[string]struct {
		text   string
		format Format
	}{
		"a.csv": {"{", CSV}, "a.NDJSON": {"x", NDJSON}, "a.jsonl": {"", NDJSON},
		"a.txt": {"\ufeff \n{\"openid\"", NDJSON}, "b.txt": {"openid,name", CSV}, "c": {"", CSV},
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(want.text), 0o600))
		s, err := File(path)
		require.NoError(t, err)
		require.Equal(t, want.format, s.Format, name)
	}
	_, err := File(dir)
	require.ErrorContains(t, err, "no regular file")
	_, err = File(filepath.Join(dir, "none.csv"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

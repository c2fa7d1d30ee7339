package recipients

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rejectsOf reads a file, writes its bad rows, and returns what the file of them holds.
func rejectsOf(t *testing.T, file string, o Options) (text string, bad []Row) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "rejects.csv")
	require.NoError(t, os.WriteFile(path, []byte("of another run"), 0o644))
	r, rows, err := read(t, strings.NewReader(file), o)
	require.NoError(t, err)
	rejects := NewRejects(path, r.Shape())
	for _, row := range rows {
		if row.Problem != nil {
			require.NoError(t, rejects.Write(row))
			bad = append(bad, row)
		}
	}
	require.True(t, rejects.Made())
	require.NoError(t, rejects.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "\ufeff", string(raw[:3]))
	return string(raw), bad
}

func TestBadRowsAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("长", 5000)
	for what, c := range map[string]struct {
		file string
		want [][]string
	}{
		"CSV has the columns of the file": {
			gb("openid;name\no1;小明\no2\n\"o3\";\"\n\"\no4;小\"明\n") + "o5;\xff\n" +
				gb("o6;小;"+long+"\n\"o\"7;小明\n"),
			[][]string{
				{"line", "reason", "openid", "name"},
				{"3", "row: has 1 columns, the header 2", "o2"},
				{"4", "name: " + emptyPlace, "o3", "\n"},
				{"6", "row: " + bareQuote, "o4", "小\"明"},
				{"7", "name: not valid GB18030", "o5", "\xff"},
				{"8", "row: has 3 columns, the header 2", "o6", "小", long},
				{"9", "row: " + behindQuote, "\"o\"7", "小明"},
			}},
		"what has such columns keeps them": {"line,reason,reason_2,openid,name\n3,r,s,o1,\n",
			[][]string{
				{"line_2", "reason_3", "line", "reason", "reason_2", "openid", "name"},
				{"2", "name: " + emptyPlace, "3", "r", "s", "o1", ""},
			}},
		"NDJSON has the line": {`{"openid":"o1","name":"小, "}` + "\n" + `{"openid":"o2"}` + "\n",
			[][]string{{"line", "reason", "row"}, {"2", "name: missing", `{"openid":"o2"}`}}},
	} {
		text, _ := rejectsOf(t, c.file, Options{Template: template(t, hello)})
		in := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "\ufeff")))
		in.FieldsPerRecord = -1
		records, err := in.ReadAll()
		require.NoError(t, err, what)
		require.Equal(t, c.want, records, what)
	}
}

func TestNoBadRowsMakeNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rejects.csv")
	rejects := NewRejects(path, Shape{Format: List})
	require.False(t, rejects.Made())
	require.NoError(t, rejects.Close())
	require.NoFileExists(t, path)
	none := NewRejects(filepath.Join(path, "none"), Shape{Format: List})
	require.Error(t, none.Write(Row{Problem: &Problem{}}))
}

// TestCorrectedRowsCanBeSent: the file of bad rows is a file of recipients. What nobody has
// corrected in it stays bad.
func TestCorrectedRowsCanBeSent(t *testing.T) {
	t.Parallel()
	const list = `{"msgtype":"text","text":{"content":"hi"}}`
	for what, c := range map[string]struct {
		file, template string
		bad            int
		correct        *strings.Replacer
	}{
		"semicolons in GB18030": {gb("openid;name;city\no 1;小, 明;\"a \"\"b\"\"\nc\"\no2;;x\n") +
			"o3;\xff;y\n", hello, 3, strings.NewReplacer("o 1", "o1", "o2,", "o2,小红", "\xff", "小")},
		"tabs": {"openid\tname\no1\t\no2\tb\no 4\t\"b,\"\n", hello, 2,
			strings.NewReplacer("o1,", "o1,a", "o 4", "o4")},
		"a list": {"o1o1o1o1o1o1o1o1o1o1\no 2\n\"o3\n", list, 2,
			strings.NewReplacer("o 2", "o2", `"""o3"`, "o3")},
	} {
		o := Options{Template: template(t, c.template)}
		text, bad := rejectsOf(t, c.file, o)
		require.Len(t, bad, c.bad, what)
		_, again, err := read(t, strings.NewReader(text), o)
		require.NoError(t, err, what)
		for _, row := range again {
			require.NotNil(t, row.Problem, what)
		}
		r, rows, err := read(t, strings.NewReader(c.correct.Replace(text)), o)
		require.NoError(t, err, what)
		require.Equal(t, c.bad, r.Summary().Recipients, "%s: %v", what, r.Summary().Problems)
		require.Len(t, rows, c.bad, what)
	}
}

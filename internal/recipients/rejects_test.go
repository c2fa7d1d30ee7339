package recipients

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBadRowsAreWrittenForPeople(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rejects.csv")
	require.NoError(t, os.WriteFile(path, []byte("of another run"), 0o644))
	rejects := NewRejects(path)
	file := gb("openid;name\no1;小明\no2\n\"o3\";\"\n\"\no4;小\"明\n") + "o5;\xff\n" +
		gb("o6;小;"+strings.Repeat("长", 5000)+"\n")
	_, rows, err := read(t, strings.NewReader(file), Options{Template: template(t, hello)})
	require.NoError(t, err)
	for _, row := range rows[1:] {
		require.NoError(t, rejects.Write(row))
	}
	require.True(t, rejects.Made())
	require.NoError(t, rejects.Close())
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	table, marked := strings.CutPrefix(string(text), "\ufeff")
	require.True(t, marked)
	records, err := csv.NewReader(strings.NewReader(table)).ReadAll()
	require.NoError(t, err)
	long := records[5]
	require.Equal(t, [][]string{
		{"line", "reason", "row"},
		{"3", "row: has 1 columns, the header 2", "o2"},
		{"4", "name: " + emptyPlace, "\"o3\";\"\n\""},
		{"6", "row: " + bareQuote, "o4;小\"明"},
		{"7", "name: not valid GB18030", "o5;\ufffd"},
	}, records[:5])
	require.Less(t, len(long[2]), mostRejected+4)
	require.Regexp(t, "^o6;小;长+…$", long[2])
}

func TestNoBadRowsMakeNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rejects.csv")
	rejects := NewRejects(path)
	require.False(t, rejects.Made())
	require.NoError(t, rejects.Close())
	require.NoFileExists(t, path)
	require.Error(t, NewRejects(filepath.Join(path, "none")).Write(Row{Problem: &Problem{}}))
}

// TestACorrectedRowCanBeSent: what the file of bad rows has of a row is the row.
func TestACorrectedRowCanBeSent(t *testing.T) {
	t.Parallel()
	const header, bad = "openid,name,city\n", "\"o1\",\"\",\"a \"\"b\"\"\r\nc\""
	_, rows, err := read(t, strings.NewReader(header+bad+"\r\n"),
		Options{Template: template(t, hello)})
	require.NoError(t, err)
	require.Equal(t, bad, rejected(rows[0].Raw))
}

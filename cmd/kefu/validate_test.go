package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

const (
	goodPacket  = `{"touser":"o1","msgtype":"text","text":{"content":"hi"}}`
	otherPacket = `{"touser":"o1","msgtype":"image","image":{"media_id":"m"}}`
	badPacket   = `{"touser":"o1","msgtype":"text","text":{}}`
)

func TestValidateReadsEveryFormOfFile(t *testing.T) {
	t.Parallel()
	pretty := "{\n  \"touser\": \"o1\",\n  \"msgtype\": \"text\",\n  \"text\": {\"content\": \"hi\"}\n}\n"
	long := `{"touser":"o1","msgtype":"text","text":{"content":"` + strings.Repeat("x", 2<<20) + `"}}`
	for _, c := range []struct {
		name, file, text string
		verdicts         []string
		code             int
	}{
		{"one packet on one line", "p.json", goodPacket, []string{"1 text"}, exitDone},
		{"one packet on many lines", "p.json", "\n\n" + pretty, []string{"3 text"}, exitDone},
		{"several of those", "p.json", pretty + pretty, []string{"1 text", "6 text"}, exitDone},
		{"a list", "p.json", "[\n" + goodPacket + ",\n\n" + badPacket + "\n]\n", []string{"2 text", "4 text.content"}, exitFailed},
		{"one per line, with empty lines", "p.json", goodPacket + "\n\n  \n" + otherPacket + "\n" + badPacket,
			[]string{"1 text", "4 image", "5 text.content"}, exitFailed},
		{"one per line, the first one broken", "p.json", `{"touser":}` + "\n" + goodPacket, []string{"1 touser", "2 text"}, exitFailed},
		{"one per line by its name, the first one cut off", "p.ndjson", `{"touser":` + "\n" + goodPacket, []string{"1 touser", "2 text"}, exitFailed},
		{"Windows line ends and a byte order mark", "p.json", "\ufeff" + goodPacket + "\r\n" + otherPacket + "\r\n", []string{"1 text", "2 image"}, exitDone},
		{"a byte order mark before a list", "p.json", "\ufeff[" + goodPacket + "]", []string{"1 text"}, exitDone},
		{"a line longer than any packet", "p.ndjson", long + "\n" + goodPacket, []string{"1 packet", "2 text"}, exitFailed},
		{"no JSON", "p.json", "hello", []string{"1 packet"}, exitFailed},
		{"a packet cut off", "p.json", pretty[:20], []string{"1 packet"}, exitFailed},
		{"a list cut off", "p.json", "[" + goodPacket, []string{"1 text", "0 file"}, exitFailed},
		{"a list with something behind it", "p.json", "[" + goodPacket + "] x", []string{"1 text", "0 file"}, exitFailed},
		{"no UTF-8", "p.json", strings.Replace(goodPacket, "hi", "\xff", 1), []string{"1 packet"}, exitFailed},
		{"an empty file", "p.json", " \n", nil, exitNothing},
		{"an empty list", "p.json", "[]", nil, exitNothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), c.file)
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			got := kefu(t, try{args: []string{"validate", path, "-o", "json"}})
			require.Equal(t, c.code, got.code, got.err)
			var rows []checked
			require.NoError(t, json.Unmarshal([]byte(got.out), &rows))
			var verdicts []string
			for _, row := range rows {
				require.Equal(t, path, row.File)
				require.Equal(t, row.Valid, row.Rule == "")
				verdicts = append(verdicts, strings.TrimPrefix(row.place(), path+":")[:1]+" "+row.MsgType+row.Field)
				if row.Line == 0 {
					verdicts[len(verdicts)-1] = "0 " + row.Field
				}
			}
			require.Equal(t, c.verdicts, verdicts)
		})
	}
}

func TestValidateReadsStandardInput(t *testing.T) {
	t.Parallel()
	got := kefu(t, try{args: args("validate -"), stdin: goodPacket + "\n" + badPacket + "\n"})
	require.Equal(t, exitFailed, got.code)
	require.Contains(t, got.out, "PACKET   MSGTYPE  VERDICT\nstdin:1  text     ok\nstdin:2           text.content: ")
	require.Equal(t, "kefu: 2 packets: 1 valid, 1 invalid\n", got.err)
}

func TestValidateAnswersWhileAPipeIsStillOpen(t *testing.T) {
	t.Parallel()
	in, writer := io.Pipe()
	results, out := io.Pipe()
	c := newCLI(nil, in, out, io.Discard)
	done := make(chan int, 1)
	go func() {
		done <- c.execute(t.Context(), args("validate - -o ndjson"))
		_ = out.Close()
	}()
	decoder := json.NewDecoder(results)
	for line := 1; line <= 3; line++ {
		_, err := io.WriteString(writer, goodPacket+"\n")
		require.NoError(t, err)
		var row checked
		require.NoError(t, decoder.Decode(&row))
		require.Equal(t, checked{File: "stdin", Line: line, MsgType: "text", Valid: true}, row)
	}
	require.NoError(t, writer.Close())
	require.Equal(t, exitDone, <-done)
}

func TestValidateGoesOnBehindAFileItCannotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.json")
	require.NoError(t, os.WriteFile(path, []byte(goodPacket), 0o600))
	got := kefu(t, try{args: []string{"validate", "/nowhere/p.json", path, "-o", "ndjson"}})
	require.Equal(t, exitFailed, got.code)
	require.Equal(t, `{"file":"/nowhere/p.json","valid":false,"field":"file","rule":"no such file or directory"}`+"\n"+
		`{"file":"`+path+`","line":1,"msgtype":"text","valid":true}`+"\n", got.out)
}

func TestValidateCanListWhatIsInvalidOnly(t *testing.T) {
	t.Parallel()
	got := kefu(t, try{args: args("validate - --invalid"), stdin: goodPacket + "\n" + badPacket})
	require.NotContains(t, got.out, "ok")
	require.Contains(t, got.out, "stdin:2")
	fine := kefu(t, try{args: args("validate - --invalid"), stdin: goodPacket})
	require.Equal(t, result{exitDone, "", "1 packet, all valid\n"}, fine)
	quiet := kefu(t, try{args: args("validate - --invalid --quiet"), stdin: goodPacket})
	require.Equal(t, result{exitDone, "", ""}, quiet)
}

func TestValidateSaysWhereItStopped(t *testing.T) {
	t.Parallel()
	got := kefu(t, try{args: args("validate -"), stdin: "{\n\"touser\": 1,,\n}\n{\n}\n"})
	require.Contains(t, got.out, "; what follows was not checked")
}

func TestValidateTakesTheLimitsOfAnApp(t *testing.T) {
	t.Parallel()
	packet := strings.Replace(goodPacket, "hi", "four", 1)
	c := try{args: args("validate - --app wx1"), file: twoApps, environ: []string{"S=x"}, stdin: packet}
	require.Equal(t, exitFailed, kefu(t, c).code)
	c.args = args("validate - --app wx2")
	require.Equal(t, exitDone, kefu(t, c).code)
	c.args, c.file = args("validate -"), "nope: 1"
	require.Equal(t, exitDone, kefu(t, c).code, "without an app no configuration is needed")
}

func TestValidateSaysWhatTheSchemaSays(t *testing.T) {
	t.Parallel()
	_, err := schema.Decode([]byte(badPacket), schema.Limits{})
	require.Error(t, err)
	got := kefu(t, try{args: args("validate -"), stdin: badPacket})
	require.Contains(t, got.out, err.Error())
}

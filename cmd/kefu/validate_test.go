package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

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
		{"a list over many lines", "p.json", "\n[\n" + pretty + ",\n\n" + pretty + "," + goodPacket + "\n]\n", []string{"3 text", "1 text", "1 text"}, exitDone},
		{"a list with a comma too many", "p.json", "[\n" + goodPacket + ",,\n" + goodPacket + "]", []string{"2 text", "3 packet"}, exitFailed},
		{"a list that ends in commas", "p.json", "[" + goodPacket + ",,\n ", []string{"1 text", "2 packet"}, exitFailed},
		{"a list without a comma", "p.json", "[" + goodPacket + "\n" + goodPacket + "]", []string{"1 text", "2 packet"}, exitFailed},
		{"a list that ends as an object", "p.json", "[" + goodPacket + "}", []string{"1 text", "0 file"}, exitFailed},
		{"a list of no packets", "p.json", "[1,\n\"a\",null]", []string{"1 packet", "2 packet", "2 packet"}, exitFailed},
		{"a list of packets too long", "p.json", "[\n" + long + "\n,\n" + goodPacket + "]", []string{"2 packet", "4 text"}, exitFailed},
		{"two lists", "p.json", "[" + goodPacket + "]\n[" + goodPacket + "]", []string{"1 text", "0 file"}, exitFailed},
		{"a comma alone", "p.json", ",\n", []string{"2 packet"}, exitFailed},
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

func TestValidateReadsAListWhileItIsWritten(t *testing.T) {
	t.Parallel()
	in, writer := io.Pipe()
	results, out := io.Pipe()
	c := newCLI(nil, in, out, io.Discard)
	done := make(chan int, 1)
	go func() {
		done <- c.execute(t.Context(), args("validate - -o json"))
		_ = out.Close()
	}()
	decoder := json.NewDecoder(results)
	write := func(text string) {
		_, err := io.WriteString(writer, text)
		require.NoError(t, err)
	}
	write("[\n")
	for line := 2; line <= 4; line++ {
		if line > 2 {
			write(",\n")
		}
		write(goodPacket)
		if line == 2 {
			_, err := decoder.Token()
			require.NoError(t, err)
		}
		var row checked
		require.NoError(t, decoder.Decode(&row))
		require.Equal(t, checked{File: "stdin", Line: line, MsgType: "text", Valid: true}, row)
	}
	write("]")
	require.NoError(t, writer.Close())
	_, err := decoder.Token()
	require.NoError(t, err)
	require.Equal(t, exitDone, <-done)
}

func TestValidateKeepsNothingOfALongFile(t *testing.T) {
	t.Parallel()
	const n = 20_000
	list := "[" + strings.Repeat("\n\n"+goodPacket+",", n-1) + "\n\n" + goodPacket + "\n]\n"
	p := newPackets("p.json", strings.NewReader(list))
	kept := 0
	for i := range n {
		line, raw, err := p.next()
		require.NoError(t, err)
		require.Equal(t, goodPacket, string(raw))
		require.Equal(t, 3+2*i, line)
		kept = max(kept, len(p.values.in.ends))
	}
	_, _, err := p.next()
	require.Equal(t, io.EOF, err)
	require.Less(t, kept, n/10, "line ends: what the decoder has read ahead, not what is in the file")
}

func TestAValueWithoutAnEndIsNotReadForEver(t *testing.T) {
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

func TestAVerdictOnTheRestEndsWithAWholeCharacter(t *testing.T) {
	t.Parallel()
	for shift := range 3 {
		broken := `[{"touser":1,"a":"` + strings.Repeat("x", shift) + strings.Repeat("长", 40_000) + `",,}]`
		_, raw, err := newJSONValues(bufio.NewReader(strings.NewReader(broken)), longestValue).next()
		require.NoError(t, err)
		require.True(t, utf8.Valid(raw))
		require.Greater(t, len(raw), schema.MaxPacket-utf8.UTFMax)
	}
	require.Equal(t, "ab", string(wholeRunes([]byte("ab"))))
	require.Equal(t, "a长", string(wholeRunes([]byte("a长"))))
	require.Equal(t, "a", string(wholeRunes([]byte("a长")[:3])))
	require.Empty(t, wholeRunes(nil))
}

func TestValidateWarns(t *testing.T) {
	t.Parallel()
	doubtful := `{"touser":"o1","msgtype":"msgmenu","msgmenu":{"head_content":"a\\nb","list":[{"id":"yes","content":"a"}]}}`
	news := `{"touser":"o1","msgtype":"news","news":{"articles":[{},{}]}}`
	blank := strings.Replace(goodPacket, "hi", "　 ", 1)
	c := try{args: args("validate - -o json"), stdin: goodPacket + "\n" + doubtful + "\n" + news + "\n" + blank + "\n"}
	got := kefu(t, c)
	require.Equal(t, exitDone, got.code)
	require.Equal(t, "4 packets, all valid (3 with warnings)\n", got.err)
	var rows []checked
	require.NoError(t, json.Unmarshal([]byte(got.out), &rows))
	var fields []string
	for _, row := range rows {
		require.True(t, row.Valid)
		for _, w := range row.Warnings {
			require.NotEmpty(t, w.Text)
			fields = append(fields, fmt.Sprintf("%d %s", row.Line, w.Field))
		}
	}
	require.Equal(t, []string{"2 msgmenu.head_content", "2 msgmenu.list[0].id", "3 news.articles", "4 text.content"}, fields)
	require.NotContains(t, strings.Split(got.out, "}")[0], "warnings", "a packet without any says nothing of them")

	c.args = args("validate -")
	table := kefu(t, c)
	require.Equal(t, exitDone, table.code)
	require.Contains(t, table.out, "stdin:3  news     ok; warning: news.articles: 2 articles")
	c.stdin += badPacket
	mixed := kefu(t, c)
	require.Equal(t, exitFailed, mixed.code)
	require.Equal(t, "kefu: 5 packets: 4 valid (3 with warnings), 1 invalid\n", mixed.err)

	many := `{"touser":"o1","msgtype":"msgmenu","msgmenu":{"list":[` + strings.Repeat(`{"id":"a","content":"a"},`, 9) + `{"id":"1","content":"a"}]}}`
	c.stdin = many
	require.Contains(t, kefu(t, c).out, "; and 6 more\n")
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

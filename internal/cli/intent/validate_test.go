package intent_test

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/root"
	"github.com/kefuhq/kefu/internal/packets"
	"github.com/kefuhq/kefu/schema"
)

const (
	otherPacket = `{"touser":"o1","msgtype":"image","image":{"media_id":"m"}}`
	badPacket   = `{"touser":"o1","msgtype":"text","text":{}}`
)

func TestValidateReadsEveryFormOfFile(t *testing.T) {
	t.Parallel()
	pretty := "{\n  \"touser\": \"o1\",\n  \"msgtype\": \"text\",\n  \"text\": {\"content\": \"hi\"}\n}\n"
	long := `{"touser":"o1","msgtype":"text","text":{"content":"` + strings.Repeat("x", 2<<20) +
		`"}}`
	for _, c := range []struct {
		name, file, text string
		verdicts         []string
		code             int
	}{
		{"one packet on one line", "p.json", clitest.GoodPacket, []string{"1 text"}, cli.ExitDone},
		{"one packet on many lines", "p.json", "\n\n" + pretty, []string{"3 text"}, cli.ExitDone},
		{"several of those", "p.json", pretty + pretty, []string{"1 text", "6 text"}, cli.ExitDone},
		{"a list", "p.json", "[\n" + clitest.GoodPacket + ",\n\n" + badPacket + "\n]\n",
			[]string{"2 text", "4 text.content"}, cli.ExitFailed},
		{"one per line, with empty lines", "p.json",
			clitest.GoodPacket + "\n\n  \n" + otherPacket + "\n" + badPacket,
			[]string{"1 text", "4 image", "5 text.content"}, cli.ExitFailed},
		{"one per line, the first one broken", "p.json", `{"touser":}` + "\n" + clitest.GoodPacket,
			[]string{"1 touser", "2 text"}, cli.ExitFailed},
		{"one per line by its name, the first one cut off", "p.ndjson",
			`{"touser":` + "\n" + clitest.GoodPacket, []string{"1 touser", "2 text"},
			cli.ExitFailed},
		{"Windows line ends and a byte order mark", "p.json",
			"\ufeff" + clitest.GoodPacket + "\r\n" + otherPacket + "\r\n",
			[]string{"1 text", "2 image"}, cli.ExitDone},
		{"a byte order mark before a list", "p.json", "\ufeff[" + clitest.GoodPacket + "]",
			[]string{"1 text"}, cli.ExitDone},
		{"a line longer than any packet", "p.ndjson", long + "\n" + clitest.GoodPacket,
			[]string{"1 packet", "2 text"}, cli.ExitFailed},
		{"no JSON", "p.json", "hello", []string{"1 packet"}, cli.ExitFailed},
		{"a packet cut off", "p.json", pretty[:20], []string{"1 packet"}, cli.ExitFailed},
		{"a list cut off", "p.json", "[" + clitest.GoodPacket, []string{"1 text", "0 file"},
			cli.ExitFailed},
		{"a list with something behind it", "p.json", "[" + clitest.GoodPacket + "] x",
			[]string{"1 text", "0 file"}, cli.ExitFailed},
		{"no UTF-8", "p.json", strings.Replace(clitest.GoodPacket, "hi", "\xff", 1),
			[]string{"1 packet"}, cli.ExitFailed},
		{"a list over many lines", "p.json",
			"\n[\n" + pretty + ",\n\n" + pretty + "," + clitest.GoodPacket + "\n]\n",
			[]string{"3 text", "1 text", "1 text"}, cli.ExitDone},
		{"a list with a comma too many", "p.json",
			"[\n" + clitest.GoodPacket + ",,\n" + clitest.GoodPacket + "]",
			[]string{"2 text", "3 packet"}, cli.ExitFailed},
		{"a list that ends in commas", "p.json", "[" + clitest.GoodPacket + ",,\n ",
			[]string{"1 text", "2 packet"}, cli.ExitFailed},
		{"a list without a comma", "p.json",
			"[" + clitest.GoodPacket + "\n" + clitest.GoodPacket + "]",
			[]string{"1 text", "2 packet"}, cli.ExitFailed},
		{"a list that ends as an object", "p.json", "[" + clitest.GoodPacket + "}",
			[]string{"1 text", "0 file"}, cli.ExitFailed},
		{"a list of no packets", "p.json", "[1,\n\"a\",null]",
			[]string{"1 packet", "2 packet", "2 packet"}, cli.ExitFailed},
		{"a list of packets too long", "p.json", "[\n" + long + "\n,\n" + clitest.GoodPacket + "]",
			[]string{"2 packet", "4 text"}, cli.ExitFailed},
		{"two lists", "p.json", "[" + clitest.GoodPacket + "]\n[" + clitest.GoodPacket + "]",
			[]string{"1 text", "0 file"}, cli.ExitFailed},
		{"a comma alone", "p.json", ",\n", []string{"2 packet"}, cli.ExitFailed},
		{"an empty file", "p.json", " \n", nil, cli.ExitNothing},
		{"an empty list", "p.json", "[]", nil, cli.ExitNothing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), c.file)
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			got := clitest.Run(t, clitest.Try{Args: []string{"validate", path, "-o", "json"}})
			require.Equal(t, c.code, got.Code, got.Err)
			var rows []packets.Verdict
			require.NoError(t, json.Unmarshal([]byte(got.Out), &rows))
			var verdicts []string
			for _, row := range rows {
				require.Equal(t, path, row.File)
				require.Equal(t, row.Valid, row.Rule == "")
				verdicts = append(verdicts, strconv.Itoa(row.Line)[:1]+" "+row.MsgType+row.Field)
			}
			require.Equal(t, c.verdicts, verdicts)
		})
	}
}

func TestValidateReadsStandardInput(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t,
		clitest.Try{Args: clitest.Args("validate -"),
			Stdin: clitest.GoodPacket + "\n" + badPacket + "\n"})
	require.Equal(t, cli.ExitFailed, got.Code)
	require.Contains(t, got.Out,
		"PACKET   MSGTYPE  VERDICT\nstdin:1  text     ok\nstdin:2           text.content: ")
	require.Equal(t, "kefu: 2 packets: 1 valid, 1 invalid\n", got.Err)
}

func TestValidateAnswersWhileAPipeIsStillOpen(t *testing.T) {
	t.Parallel()
	in, writer := io.Pipe()
	results, out := io.Pipe()
	c := cli.Process{In: in, Out: out, Err: io.Discard, Search: []string{}}
	done := make(chan int, 1)
	go func() {
		done <- root.Run(t.Context(), clitest.Args("validate - -o ndjson"), c)
		_ = out.Close()
	}()
	decoder := json.NewDecoder(results)
	for line := 1; line <= 3; line++ {
		_, err := io.WriteString(writer, clitest.GoodPacket+"\n")
		require.NoError(t, err)
		var row packets.Verdict
		require.NoError(t, decoder.Decode(&row))
		require.Equal(t, packets.Verdict{File: "stdin", Line: line, MsgType: "text", Valid: true},
			row)
	}
	require.NoError(t, writer.Close())
	require.Equal(t, cli.ExitDone, <-done)
}

func TestValidateReadsAListWhileItIsWritten(t *testing.T) {
	t.Parallel()
	in, writer := io.Pipe()
	results, out := io.Pipe()
	c := cli.Process{In: in, Out: out, Err: io.Discard, Search: []string{}}
	done := make(chan int, 1)
	go func() {
		done <- root.Run(t.Context(), clitest.Args("validate - -o json"), c)
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
		write(clitest.GoodPacket)
		if line == 2 {
			_, err := decoder.Token()
			require.NoError(t, err)
		}
		var row packets.Verdict
		require.NoError(t, decoder.Decode(&row))
		require.Equal(t, packets.Verdict{File: "stdin", Line: line, MsgType: "text", Valid: true},
			row)
	}
	write("]")
	require.NoError(t, writer.Close())
	_, err := decoder.Token()
	require.NoError(t, err)
	require.Equal(t, cli.ExitDone, <-done)
}

func TestValidateWarns(t *testing.T) {
	t.Parallel()
	doubtful := `{"touser":"o1","msgtype":"msgmenu","msgmenu":{"head_content":"a\\nb","list":[{"id":"yes","content":"a"}]}}`
	news := `{"touser":"o1","msgtype":"news","news":{"articles":[{},{}]}}`
	blank := strings.Replace(clitest.GoodPacket, "hi", "　 ", 1)
	c := clitest.Try{Args: clitest.Args("validate - -o json"),
		Stdin: clitest.GoodPacket + "\n" + doubtful + "\n" + news + "\n" + blank + "\n"}
	got := clitest.Run(t, c)
	require.Equal(t, cli.ExitDone, got.Code)
	require.Equal(t, "4 packets, all valid (3 with warnings)\n", got.Err)
	var rows []packets.Verdict
	require.NoError(t, json.Unmarshal([]byte(got.Out), &rows))
	var fields []string
	for _, row := range rows {
		require.True(t, row.Valid)
		for _, w := range row.Warnings {
			require.NotEmpty(t, w.Text)
			fields = append(fields, fmt.Sprintf("%d %s", row.Line, w.Field))
		}
	}
	require.Equal(t, []string{"2 msgmenu.head_content", "2 msgmenu.list[0].id", "3 news.articles",
		"4 text.content"}, fields)
	require.NotContains(t, strings.Split(got.Out, "}")[0], "warnings",
		"a packet without any says nothing of them")

	c.Args = clitest.Args("validate -")
	table := clitest.Run(t, c)
	require.Equal(t, cli.ExitDone, table.Code)
	require.Contains(t, table.Out, "stdin:3  news     ok; warning: news.articles: 2 articles")
	c.Stdin += badPacket
	mixed := clitest.Run(t, c)
	require.Equal(t, cli.ExitFailed, mixed.Code)
	require.Equal(t, "kefu: 5 packets: 4 valid (3 with warnings), 1 invalid\n", mixed.Err)

	many := `{"touser":"o1","msgtype":"msgmenu","msgmenu":{"list":[` +
		strings.Repeat(`{"id":"a","content":"a"},`, 9) + `{"id":"1","content":"a"}]}}`
	c.Stdin = many
	require.Contains(t, clitest.Run(t, c).Out, "; and 6 more\n")
}

func TestValidateGoesOnBehindAFileItCannotRead(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "p.json")
	require.NoError(t, os.WriteFile(path, []byte(clitest.GoodPacket), 0o600))
	got := clitest.Run(t,
		clitest.Try{Args: []string{"validate", "/nowhere/p.json", path, "-o", "ndjson"}})
	require.Equal(t, cli.ExitFailed, got.Code)
	require.Equal(t,
		`{"file":"/nowhere/p.json","valid":false,"field":"file","rule":"no such file or directory"}`+"\n"+
			`{"file":"`+path+`","line":1,"msgtype":"text","valid":true}`+"\n", got.Out)
}

func TestValidateCanListWhatIsInvalidOnly(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t,
		clitest.Try{Args: clitest.Args("validate - --invalid"),
			Stdin: clitest.GoodPacket + "\n" + badPacket})
	require.NotContains(t, got.Out, "ok")
	require.Contains(t, got.Out, "stdin:2")
	fine := clitest.Run(t,
		clitest.Try{Args: clitest.Args("validate - --invalid"), Stdin: clitest.GoodPacket})
	require.Equal(t, clitest.Ended(cli.ExitDone, "", "1 packet, all valid\n"), fine)
	quiet := clitest.Run(t,
		clitest.Try{Args: clitest.Args("validate - --invalid --quiet"), Stdin: clitest.GoodPacket})
	require.Equal(t, clitest.Ended(cli.ExitDone, "", ""), quiet)
}

func TestValidateSaysWhereItStopped(t *testing.T) {
	t.Parallel()
	got := clitest.Run(t,
		clitest.Try{Args: clitest.Args("validate -"), Stdin: "{\n\"touser\": 1,,\n}\n{\n}\n"})
	require.Contains(t, got.Out, "; what follows was not checked")
}

func TestValidateTakesTheLimitsOfAnApp(t *testing.T) {
	t.Parallel()
	packet := strings.Replace(clitest.GoodPacket, "hi", "four", 1)
	c := clitest.Try{Args: clitest.Args("validate - --app wx1"), File: clitest.TwoApps,
		Environ: []string{"S=x"}, Stdin: packet}
	require.Equal(t, cli.ExitFailed, clitest.Run(t, c).Code)
	c.Args = clitest.Args("validate - --app wx2")
	require.Equal(t, cli.ExitDone, clitest.Run(t, c).Code)
	c.Args, c.File = clitest.Args("validate -"), "nope: 1"
	require.Equal(t, cli.ExitDone, clitest.Run(t, c).Code,
		"without an app no configuration is needed")
}

func TestValidateSaysWhatTheSchemaSays(t *testing.T) {
	t.Parallel()
	_, err := schema.Decode([]byte(badPacket), schema.Limits{})
	require.Error(t, err)
	got := clitest.Run(t, clitest.Try{Args: clitest.Args("validate -"), Stdin: badPacket})
	require.Contains(t, got.Out, err.Error())
}

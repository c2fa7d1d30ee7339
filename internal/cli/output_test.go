package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/rivo/uniseg"
	"github.com/stretchr/testify/require"
)

// person is a row for the tests of the output layer.
type person struct {
	Name string `json:"name"`
	Age  int    `json:"age"`
	Says string `json:"says"`
}

var people = []person{
	{"Ann", 7, "hello"},
	{"旗舰店", 42, "您好，请问有什么可以帮您？我们将尽快回复。"},
	{"Bo", 100, "a rather long sentence of plain words, which has to be broken into lines somewhere"},
}

func personColumns() []Column[person] {
	return []Column[person]{
		{Title: "NAME", Cell: func(p person) string { return p.Name }},
		{Title: "AGE", Right: true,
			Cell: func(p person) string { return strings.Repeat("|", p.Age/10) }},
		{Title: "SAYS", Wraps: true, Cell: func(p person) string { return p.Says },
			Style: func(p person) Style {
				if p.Age > 50 {
					return Red
				}
				return ""
			}},
	}
}

// printed returns what f prints on a terminal of the given width; 0 is a pipe.
func printed(t *testing.T, width int, environ []string, f func(*Streams) error) string {
	t.Helper()
	var out bytes.Buffer
	c := New(Process{Environ: environ, Out: &out, Err: &out}).Streams
	c.Terminal = Terminal{Out: width > 0, Width: width}
	require.NoError(t, f(c))
	return out.String()
}

func listPeople(c *Streams) error { return List(c, people, personColumns()) }

func TestATableInAPipeKeepsEachRowOnOneLine(t *testing.T) {
	t.Parallel()
	require.Equal(t, ""+
		"NAME           AGE  SAYS\n"+
		"Ann                 hello\n"+
		"旗舰店        ||||  您好，请问有什么可以帮您？我们将尽快回复。\n"+
		"Bo      ||||||||||  a rather long sentence of plain words, which has to be broken into lines somewhere\n",
		printed(t, 0, nil, listPeople))
}

func TestATableOnATerminalIsNoWiderThanThat(t *testing.T) {
	t.Parallel()
	require.Equal(t, ""+
		"NAME           AGE  SAYS\n"+
		"Ann                 hello\n"+
		"旗舰店        ||||  您好，请问有什么可以\n"+
		"                    帮您？我们将尽快回\n"+
		"                    复。\n"+
		"Bo      ||||||||||  a rather long\n"+
		"                    sentence of plain\n"+
		"                    words, which has to\n"+
		"                    be broken into lines\n"+
		"                    somewhere\n",
		printed(t, 40, []string{"NO_COLOR=1"}, listPeople))

	for width := 12; width < 140; width++ {
		for line := range strings.Lines(printed(t, width, []string{"NO_COLOR=1"}, listPeople)) {
			require.LessOrEqual(t,
				uniseg.StringWidth(strings.TrimRight(line, "\n")), width)
		}
	}
}

func TestColoursAreForTerminalsWhoseUserWantsThem(t *testing.T) {
	t.Parallel()
	const coloured = "\x1b["
	require.Contains(t, printed(t, 200, nil, listPeople), "\x1b[31ma rather long sentence")
	require.Contains(t, printed(t, 200, nil, listPeople), "\x1b[1mNAME\x1b[0m")
	require.NotContains(t, printed(t, 0, nil, listPeople), coloured)
	require.NotContains(t, printed(t, 200, []string{"NO_COLOR=1"}, listPeople), coloured)
	require.NotContains(t, printed(t, 200, []string{"TERM=dumb"}, listPeople), coloured)
	require.NotContains(t,
		printed(t, 200, nil, func(c *Streams) error { c.noColor = true; return listPeople(c) }),
		coloured)
	require.Contains(t, printed(t, 200, []string{"NO_COLOR="}, listPeople), coloured,
		"an empty NO_COLOR is none")
}

func TestColoursDoNotChangeTheLayout(t *testing.T) {
	t.Parallel()
	for width := 12; width < 120; width += 7 {
		coloured := printed(t, width, nil, listPeople)
		plain := printed(t, width, []string{"NO_COLOR=1"}, listPeople)
		for _, s := range []string{"\x1b[0m", "\x1b[1m", "\x1b[31m"} {
			coloured = strings.ReplaceAll(coloured, s, "")
		}
		require.Equal(t, plain, coloured)
	}
}

func TestJSONIsAListAndNDJSONIsLines(t *testing.T) {
	t.Parallel()
	var back []person
	require.NoError(t, json.Unmarshal([]byte(printed(t, 80, nil,
		func(c *Streams) error { c.format = formatJSON; return listPeople(c) })), &back))
	require.Equal(t, people, back)

	lines := strings.Split(strings.TrimSpace(printed(t, 80, nil,
		func(c *Streams) error { c.format = formatNDJSON; return listPeople(c) })), "\n")
	require.Len(t, lines, len(people))
	require.Equal(t, `{"name":"Ann","age":7,"says":"hello"}`, lines[0])
}

func TestNothingIsAnEmptyListOrNoTable(t *testing.T) {
	t.Parallel()
	none := func(f format) func(*Streams) error {
		return func(c *Streams) error { c.format = f; return List[person](c, nil, personColumns()) }
	}
	require.Empty(t, printed(t, 80, nil, none(formatTable)))
	require.Equal(t, "[]\n", printed(t, 80, nil, none(formatJSON)))
	require.Empty(t, printed(t, 80, nil, none(formatNDJSON)))
}

func TestARecordIsLinesOfNameAndValue(t *testing.T) {
	t.Parallel()
	show := func(c *Streams) error {
		return Record(c, people[0],
			[]Field{{Name: "name", Value: "Ann"}, {Name: "nothing"},
				{Name: "says", Value: "hello\nworld"}})
	}
	require.Equal(t, "name  Ann\nsays  hello world\n", printed(t, 0, nil, show))
	require.Equal(t, "{\"name\":\"Ann\",\"age\":7,\"says\":\"hello\"}\n",
		printed(t, 0, nil, func(c *Streams) error { c.format = formatNDJSON; return show(c) }))
}

func TestTextFromOutsideCannotPlayWithTheTerminal(t *testing.T) {
	t.Parallel()
	nasty := []person{{Name: "a\x1b[2Jb\x07\u009b31m",
		Says: "x\u202ey\u2066z\r\nnext\u2028last\ufeff\xff\x00 é 👨‍👩‍👧"}}
	for _, width := range []int{0, 30} {
		table := printed(t, width, []string{"NO_COLOR=1"}, func(c *Streams) error {
			return List(c, nasty, personColumns())
		})
		require.Contains(t, table, "a[2Jb31m")
		require.False(t, strings.ContainsFunc(table, isHarmful), "%q", table)
		require.Contains(t, strings.ReplaceAll(table, "\n", ""), "xyz")
	}
	out := printed(t, 0, nil,
		func(c *Streams) error { c.format = formatJSON; return List(c, nasty, nil) })
	require.False(t, strings.ContainsFunc(out, isHarmful), "%q", out)
	var back []person
	require.NoError(t, json.Unmarshal([]byte(out), &back))
	require.Equal(t, nasty[0].Name, back[0].Name, "JSON escapes, it does not change")

	var errs bytes.Buffer
	c := New(Process{Err: &errs}).Streams
	c.complain("first \x1b[31m\nsecond\u202e")
	require.Equal(t, "kefu: first [31m\nkefu: second\n", errs.String())
}

func TestWhereTextIsBroken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		text     string
		width    int
		expected string
	}{
		{"not at all when it fits", "one two", 7, "one two"},
		{"between words", "one two three", 8, "one two\nthree"},
		{"within a word only when it is too long", "a abcdefghij b", 4, "a\nabcd\nefgh\nij b"},
		{"between Chinese characters", "客服消息发送", 5, "客服\n消息\n发送"},
		{"never before a closing mark", "客服消息，发送", 8, "客服消\n息，发送"},
		{"never behind an opening mark", "客服消息（发送）", 10, "客服消息\n（发送）"},
		{"not within a flag or an id", "see --limit of order-4711", 7, "see\n--limit\nof\norder-4\n711"},
		{"between the two scripts", "消息sent给用户", 8, "消息sent\n给用户"},
		{"blanks at a break are dropped", "one   two", 4, "one\ntwo"},
		{"a wide character needs two columns", "a客b服c", 3, "a客\nb服\nc"},
	} {
		require.Equal(t, c.expected, wrap(c.text, c.width), c.name)
	}
}

func FuzzWrap(f *testing.F) {
	f.Add("客服消息，发送 one two three", uint8(5))
	f.Add("a\u0301bc  ", uint8(1))
	f.Fuzz(func(t *testing.T, s string, width uint8) {
		s = Clean(s)
		w := int(width)%40 + 2
		wrapped := wrap(s, w)
		for line := range strings.SplitSeq(wrapped, "\n") {
			require.LessOrEqual(t, uniseg.StringWidth(line), w)
		}
		letters := func(s string) string { return strings.Join(strings.Fields(s), "") }
		require.Equal(t, letters(s), letters(wrapped), "nothing is lost but blanks")
	})
}

func TestLogsAreJSONInAPipeAndColouredOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := New(Process{Err: &out}).Streams
	level := &slog.LevelVar{}
	log := c.Logger(level)
	log.Debug("not shown")
	log.Info("shown", "app", "wx1")
	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, "shown", line["msg"])
	require.Equal(t, "wx1", line["app"])

	level.Set(slog.LevelDebug)
	out.Reset()
	log.Debug("now shown")
	require.Contains(t, out.String(), "now shown", "the level can be changed while it runs")

	out.Reset()
	c.Terminal.Err = true
	c.Logger(level).With("by", "\x1b[2J").Warn("odd\x1b[2J", "said", "x\x1b[2Jy\u202ez", "err",
		errors.New("\x1b[2J"), "n", 1,
		slog.Group("g", "list", []string{"\x1b[2J"}))
	require.Contains(t, out.String(), "WRN")
	require.Contains(t, out.String(), "\x1b[", "colours")
	require.NotContains(t, out.String(), "\x1b[2J")
	require.NotContains(t, out.String(), "\u202e")

	out.Reset()
	c.noColor = true
	c.Logger(level).Warn("plain")
	require.NotContains(t, out.String(), "\x1b[")
}

func TestAStreamOfRowsIsTheListOfThem(t *testing.T) {
	t.Parallel()
	rows := []person{{Name: "a\u202e<&>", Says: "x\ny"}, {Name: "b"}, {}}
	for n := range len(rows) + 1 {
		for _, f := range []format{formatJSON, formatNDJSON} {
			var whole, streamed bytes.Buffer
			c := New(Process{Out: &whole, Err: io.Discard}).Streams
			c.format = f
			require.NoError(t, List(c, rows[:n], nil))
			c.Out = &streamed
			s := Rows[person]{Streams: c}
			for _, row := range rows[:n] {
				require.NoError(t, s.Add(row))
			}
			require.NoError(t, s.End())
			require.Equal(t, whole.String(), streamed.String())
		}
	}
}

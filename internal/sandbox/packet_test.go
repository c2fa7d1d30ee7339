package sandbox

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestScanPacket(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		in   string
		want packet
	}{
		{"both members", `{"touser":"o1","msgtype":"text"}`,
			packet{ok: true, toUser: member{text, "o1"}, msgType: member{text, "text"}}},
		{"white space everywhere",
			" {\t\"touser\" :\r\"o1\" , \n\"x\" : [ 1 , { } ] } ",
			packet{ok: true, toUser: member{text, "o1"}}},
		{"the last of two wins",
			`{"touser":"a","touser":"b"}`, packet{ok: true, toUser: member{text, "b"}}},
		{"the last of two wins, whatever it is",
			`{"touser":"a","touser":null}`, packet{ok: true, toUser: member{kind: notString}}},
		{"other letters are another name", `{"ToUser":"a"}`, packet{ok: true}},
		{"a name inside another object", `{"text":{"touser":"a"}}`, packet{ok: true}},
		{"a name inside a string", `{"a":"\"touser\":\"b\""}`, packet{ok: true}},
		{"an escape in a value is resolved",
			`{"touser":"o\"\u4f60"}`,
			packet{ok: true, escaped: true, toUser: member{text, "o\"你"}}},
		{"an empty object", `{}`, packet{ok: true}},
		{"every kind of value", `{"a":[true,false,null,-0.5e+7,0,12E3],"b":""}`, packet{ok: true}},
		{"nothing", ``, packet{}},
		{"an array", `[]`, packet{}},
		{"a comma too many", `{"a":1,}`, packet{}},
		{"a comma too few", `{"a":1 "b":2}`, packet{}},
		{"no colon", `{"a" 1}`, packet{}},
		{"a leading zero", `{"a":01}`, packet{}},
		{"a bare point", `{"a":1.}`, packet{}},
		{"a bare exponent", `{"a":1e}`, packet{}},
		{"a line break in a string", "{\"a\":\"\n\"}", packet{}},
		{"an unknown escape", `{"a":"\x"}`, packet{}},
		{"half an escape", `{"a":"\u12"}`, packet{escaped: true}},
		{"cut off behind a backslash", `{"a":"\`, packet{}},
		{"a second document", `{} {}`, packet{}},
		{"nested as deep as encoding/json allows",
			`{"a":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + "}",
			packet{ok: true}},
		{"nested one deeper", `{"a":` + strings.Repeat("[", maxDepth) +
			strings.Repeat("]", maxDepth) + "}", packet{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got := scanPacket(tc.in)
			require.Equal(t, tc.want.ok, got.ok)
			if tc.want.ok {
				require.Equal(t, tc.want, got)
			}
		})
	}
}

// FuzzScanPacket holds the scanner against encoding/json: the same documents are good, and the two
// members are the same.
func FuzzScanPacket(f *testing.F) {
	for _, seed := range []string{
		message("oUser1", "你好 😀"), `{"touser":"a","touser":5}`, `{"to\u0075ser":"\ud83d\ude00"}`,
		`{"a":-1.5E+3,"b":[{}],"c":"\\"}`, `[1]`, `{"a":1}x`, "{\"a\":\"\x7f\xff\"}",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got := scanPacket(in)
		want := json.Valid([]byte(in)) && strings.HasPrefix(strings.TrimLeft(in, " \t\r\n"), "{")
		require.Equal(t, want, got.ok)
		if !want || !utf8.ValidString(in) {
			return
		}
		var m map[string]json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(in), &m))
		for name, have := range map[string]member{"touser": got.toUser, "msgtype": got.msgType} {
			raw, present := m[name]
			require.Equal(t, present, have.kind != absent)
			var s string
			if present && raw[0] == '"' {
				require.NoError(t, json.Unmarshal(raw, &s))
			}
			require.Equal(t, s, have.text)
		}
	})
}

package recipients

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func render(t *Template, openID string, columns map[string]string) (string, error) {
	var values [][]byte
	for _, name := range t.columns {
		values = append(values, []byte(columns[name]))
	}
	b, broken := t.render(nil, []byte(openID), values)
	if broken != nil {
		return "", broken
	}
	return string(b), nil
}

func TestRender(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ what, template, value, want string }{
		{"plain", hello, "小明",
			`{"touser":"o1","msgtype":"text","text":{"content":"小明，您好"}}`},
		{"a quote cannot break out", hello, `","x":"`,
			`{"touser":"o1","msgtype":"text","text":{"content":"\",\"x\":\"，您好"}}`},
		{"a backslash at the end does not eat the next character",
			`{"msgtype":"text","text":{"content":"{{name}}"}}`, `\`,
			`{"touser":"o1","msgtype":"text","text":{"content":"\\"}}`},
		{"line breaks and tabs are escaped", hello, "a\n\tb\r",
			`{"touser":"o1","msgtype":"text","text":{"content":"a\n\tb\r，您好"}}`},
		{"a value is never a template itself", hello, "{{name}}",
			`{"touser":"o1","msgtype":"text","text":{"content":"{{name}}，您好"}}`},
		{"blanks around the name", `{"msgtype":"text","text":{"content":"{{ name }}"}}`, "x",
			`{"touser":"o1","msgtype":"text","text":{"content":"x"}}`},
		{"twice", `{"msgtype":"text","text":{"content":"{{name}}{{name}}!"}}`, "x",
			`{"touser":"o1","msgtype":"text","text":{"content":"xx!"}}`},
		{"escapes of the template stay",
			`{"msgtype":"text","text":{"content":"\"{{name}}\"\n\u4f60"}}`, "x",
			`{"touser":"o1","msgtype":"text","text":{"content":"\"x\"\n你"}}`},
		{"an own touser", `{"touser":"{{name}}","msgtype":"text","text":{"content":"hi"}}`, "o2",
			`{"touser":"o2","msgtype":"text","text":{"content":"hi"}}`},
		{"a control character is left to the packet's rules", hello, "\x01",
			`{"touser":"o1","msgtype":"text","text":{"content":"\u0001，您好"}}`},
		{"html is not escaped", hello, `<a href='x'>&</a>`,
			`{"touser":"o1","msgtype":"text","text":{"content":"<a href='x'>&</a>，您好"}}`},
	} {
		got, err := render(template(t, c.template), "o1", map[string]string{"name": c.value})
		require.NoError(t, err, c.what)
		require.Equal(t, c.want, got, c.what)
		require.True(t, json.Valid([]byte(got)), c.what)
	}
	_, err := render(template(t, hello), "o1",
		map[string]string{"name": strings.Repeat("a", schema.MaxPacket)})
	require.EqualError(t, err, "packet: larger than 65536 bytes")
}

func TestATemplateThatCannotBeMeantIsRefused(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		``:                         "template: not JSON",
		`{}`:                       "template: must be a JSON object, the packet",
		`[1]`:                      "template: must be a JSON object, the packet",
		`{"a":{{name}}}`:           "placeholders stand inside strings",
		`{"a":"{{name"}`:           "does not end with }}",
		`{"a":"{{ }}"}`:            "has no name",
		`{"a":"{{{name}}}"}`:       "holds a brace",
		`{"{{name}}":"a"}`:         "cannot stand in the name of a field",
		`{"touser":"o1","a":"b"}`:  "touser is the same for every row",
		`{"a":"1","a":"2"}`:        "template: duplicate key",
		"{\"a\":\"\x01\"}":         "template: ",
		strings.Repeat(" ", 70000): "template: 70000 bytes, at most 65536",
	} {
		_, err := ParseTemplate([]byte(raw))
		require.ErrorContains(t, err, want, raw)
	}
}

func TestWhiteSpaceMakesNoOtherTemplate(t *testing.T) {
	t.Parallel()
	a, b := template(t, hello), template(t, "\ufeff"+strings.ReplaceAll(hello, ":", " :\n "))
	require.Equal(t, a.Digest(), b.Digest())
	require.NotEqual(t, a.Digest(), template(t, strings.ReplaceAll(hello, "您好", "你好")).Digest())
	require.Equal(t, []string{"name"}, a.columns)
}

// FuzzRender: whatever template and values, what comes out is JSON whose strings hold the values
// and whose structure is the template's.
func FuzzRender(f *testing.F) {
	f.Add(hello, "o1", `"},"x":{"`)
	f.Add(`{"a":["{{name}}","\\{{name}}"],"b":{"c":"{{ x }}\\"}}`, `\`, "\u2028\n")
	f.Add(`{"touser":"{{name}}{{x}}","n":1e5}`, "", "{{name}}")
	f.Fuzz(func(t *testing.T, raw, openID, value string) {
		parsed, err := ParseTemplate([]byte(raw))
		if err != nil {
			return
		}
		fill := func(v string) (string, error) {
			columns := make(map[string]string)
			for _, name := range parsed.columns {
				columns[name] = v
			}
			return render(parsed, v, columns)
		}
		plain, err := fill("x")
		if err != nil {
			require.ErrorContains(t, err, "larger than")
			return
		}
		for _, v := range []string{value, openID} {
			got, err := fill(v)
			if err != nil || !utf8.ValidString(v) {
				continue
			}
			require.True(t, json.Valid([]byte(got)), got)
			var a, b any
			require.NoError(t, json.Unmarshal([]byte(plain), &a))
			require.NoError(t, json.Unmarshal([]byte(got), &b))
			requireSameShape(t, a, b)
			if packet, err := schema.Decode([]byte(got), schema.Limits{}); err == nil &&
				!parsed.toUser {
				require.Equal(t, v, packet.ToUser)
			}
		}
	})
}

// requireSameShape says that two values differ in the text of strings only.
func requireSameShape(t *testing.T, a, b any) {
	t.Helper()
	switch a := a.(type) {
	case map[string]any:
		other, ok := b.(map[string]any)
		require.True(t, ok)
		require.Len(t, other, len(a))
		for key := range a {
			require.Contains(t, other, key)
			requireSameShape(t, a[key], other[key])
		}
	case []any:
		other, ok := b.([]any)
		require.True(t, ok)
		require.Len(t, other, len(a))
		for i := range a {
			requireSameShape(t, a[i], other[i])
		}
	case string:
		require.IsType(t, "", b)
	default:
		require.Equal(t, a, b)
	}
}

const hello = `{"msgtype":"text","text":{"content":"{{name}}，您好"}}`

func template(t testing.TB, raw string) *Template {
	t.Helper()
	parsed, err := ParseTemplate([]byte(raw))
	require.NoError(t, err)
	return parsed
}

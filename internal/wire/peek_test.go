package wire_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

func TestPeekToUser(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, packet, want string }{
		{"a packet that is refused", `{"x":1,"touser":"oA_b-1"}`, "oA_b-1"},
		{"after a raw line break", "{\"text\":{\"content\":\"a\nb\"},\"touser\":\"o\"}", "o"},
		{"after invalid UTF-8", "{\"text\":{\"content\":\"\xC4\xE3\xC2\"},\"touser\":\"o\"}", "o"},
		{"after a lone surrogate, control characters and duplicates",
			`{"x":["\ud800\b\u0000",{"a":1,"a":2}],"touser":"o"}`, "o"},
		{"before the end is cut off", `{"touser":"o","text":{"con`, "o"},
		{"in another letter case", `{"ToUser":"o"}`, "o"},
		{"no object", `["touser"]`, ""},
		{"no touser", `{"msgtype":"text"}`, ""},
		{"no string", `{"touser":1}`, ""},
		{"no openid", `{"touser":"a.b"}`, ""},
		{"not JSON before it", `{"x":y,"touser":"o"}`, ""},
		{"a string without an end", `{"touser":"o`, ""},
		{"nothing", ``, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, wire.PeekToUser([]byte(tt.packet)))
		})
	}
}

// FuzzPeekToUser also reads what Decode refuses.
func FuzzPeekToUser(f *testing.F) {
	f.Add([]byte(`{"touser":"o","msgtype":"text","text":{"content":"a"}}`))
	f.Add([]byte(`{"text":{"content":"\ud800"},"ToUser":"o"}`))
	f.Add([]byte("{\"x\":\"\xC2"))
	f.Add([]byte(`{"x":"\`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		openid := wire.PeekToUser(raw)
		if openid != "" {
			require.NoError(t, schema.CheckToken("touser", openid))
		}
		if p, err := schema.Decode(raw, schema.Limits{}); err == nil {
			require.Equal(t, p.ToUser, openid)
		}
	})
}

package schema_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestTheJSONOfAPacketIsTheAPIs(t *testing.T) {
	t.Parallel()
	p := schema.Packet{
		ToUser: "OPENID", Body: &schema.Text{Content: "您好"},
		CustomService: &schema.CustomService{KFAccount: "test1@kftest"},
		AIMsgContext:  &schema.AIMsgContext{IsAIMsg: true},
		Extra:         []schema.Member{{Name: "businessid", Value: []byte("1.0")}},
	}
	const want = `{"touser":"OPENID","msgtype":"text","text":{"content":"您好"},` +
		`"customservice":{"kf_account":"test1@kftest"},"aimsgcontext":{"is_ai_msg":1},"businessid":1.0}`
	for name, v := range map[string]any{"a value": p, "a pointer": &p, "within another": []any{p}} {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		require.Equal(t, want, strings.Trim(string(raw), "[]"), name)
	}
	var read struct{ Packet schema.Packet }
	require.NoError(t, json.Unmarshal([]byte(`{"Packet": `+want+` }`), &read))
	require.Equal(t, p, read.Packet)
}

func TestTheJSONOfAMessageIsThatOfThePacketsObject(t *testing.T) {
	t.Parallel()
	for _, example := range documented {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			var p schema.Packet
			require.NoError(t, json.Unmarshal([]byte(example.packet), &p))
			raw, err := json.Marshal(p.Body)
			require.NoError(t, err)
			require.Contains(t, html(string(schema.Encode(&p))),
				`"`+p.Body.MsgType()+`":`+string(raw))
			blank := schema.Packet{ToUser: "o"}
			kind := p.Body.MsgType()
			packet := `{"touser":"o","msgtype":"` + kind + `","` + kind + `":` + string(raw) + `}`
			require.NoError(t, json.Unmarshal([]byte(packet), &blank))
			again, err := json.Marshal(blank.Body)
			require.NoError(t, err)
			require.Equal(t, string(raw), string(again))
		})
	}
	var menu schema.MsgMenu
	require.NoError(t,
		json.Unmarshal([]byte(` {"list":[{"id":101,"content":"a"},{"id":"102","content":"b"}]}`),
			&menu))
	raw, err := json.Marshal(menu)
	require.NoError(t, err)
	require.Equal(t, `{"list":[{"id":101,"content":"a"},{"id":"102","content":"b"}]}`, string(raw),
		"a number stays one")
	require.NoError(t, json.Unmarshal([]byte(`{"content":"c","id":"103"}`), &menu.List[0]))
	require.Equal(t, schema.MenuItem{ID: "103", Content: "c"}, menu.List[0],
		"nothing of what it was is left")
	require.NoError(t, json.Unmarshal([]byte(`null`), &menu.List[0]))
	require.Equal(t, "103", menu.List[0].ID)
}

// html is JSON as encoding/json escapes it.
func html(s string) string {
	var out bytes.Buffer
	json.HTMLEscape(&out, []byte(s))
	return out.String()
}

func TestJSONIsReadAsStrictlyAsDecodeDoes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, raw, want string
		into            any
	}{
		{"two keys", `{"touser":"o","touser":"p","msgtype":"text","text":{"content":"a"}}`,
			`duplicate key "touser"`, new(schema.Packet)},
		{"another letter case", `{"touser":"o","msgtype":"text","text":{"Content":"a"}}`,
			"text.content: must be spelled in lower case", new(schema.Packet)},
		{"no message", `{"touser":"o"}`, "msgtype: missing", new(schema.Packet)},
		{"a missing field", `{}`, "media_id: missing", new(schema.Image)},
		{"another type", `{"media_id":1}`, "media_id: must be a string", new(schema.Voice)},
		{"an entry without a field", `{"list":[{"id":"1"}]}`, "list[0].content: missing",
			new(schema.MsgMenu)},
		{"a flag that is none", `{"is_ai_msg":2}`, "is_ai_msg: must be 0 or 1",
			new(schema.AIMsgContext)},
		{"an account that is none", `{"kf_account":"x"}`, "kf_account: must be prefix@wechatid",
			new(schema.CustomService)},
		{"no object", `"x"`, "object: must be an object", new(schema.Text)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := json.Unmarshal([]byte(tt.raw), tt.into)
			require.ErrorContains(t, err, tt.want)
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
		})
	}
}

func TestWhatIsNoPacketIsNotWritten(t *testing.T) {
	t.Parallel()
	for want, v := range map[string]any{
		"touser: missing":         schema.Packet{Body: &schema.Text{Content: "a"}},
		"msgtype: missing":        schema.Packet{ToUser: "o"},
		"text.content: missing":   schema.Packet{ToUser: "o", Body: &schema.Text{}},
		"media_id: missing":       schema.Image{},
		"not valid UTF-8 at byte": &schema.Text{Content: "\xff"},
		"object: unknown field [0]": schema.Text{Content: "a",
			Extra: []schema.Member{{Name: "x", Value: []byte("{")}}},
	} {
		_, err := json.Marshal(v)
		require.ErrorContains(t, err, want)
	}
}

func TestJSONKnowsNoAppsLimits(t *testing.T) {
	t.Parallel()
	long := schema.Packet{ToUser: "o",
		Body: &schema.Text{Content: strings.Repeat("<", schema.MaxPacket-100)}}
	raw, err := json.Marshal(long) // Each < as six bytes.
	require.NoError(t, err)
	require.Greater(t, len(raw), schema.MaxPacket)
	var read schema.Packet
	require.NoError(t, json.Unmarshal(raw, &read))
	require.Equal(t, long, read)
	require.Error(t, read.Check(schema.Limits{}), "which are for Check")

	long.Body = &schema.Text{Content: strings.Repeat("a", schema.MaxPacket)}
	_, err = json.Marshal(long)
	require.ErrorContains(t, err, "at most 65536")
	raw = []byte(`{"touser":"o","msgtype":"text","text":{"content":"` +
		strings.Repeat("a", schema.MaxPacket) + `"}}`)
	require.ErrorContains(t, json.Unmarshal(raw, &read), "at most 65536")
}

func TestTheTextOfASubjectIsTheSubject(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(
		map[schema.Subject]schema.Subject{
			schema.LiveSubject("wx1", "o"): schema.BulkSubject("wx1", "spring")})
	require.NoError(t, err)
	require.Equal(t, `{"kefu.send.wx1.live.o":"kefu.send.wx1.bulk.spring"}`, string(raw))
	var read map[schema.Subject]schema.Subject
	require.NoError(t, json.Unmarshal(raw, &read))
	require.Equal(t, schema.BulkSubject("wx1", "spring"), read[schema.LiveSubject("wx1", "o")])

	_, err = json.Marshal(schema.Subject{})
	require.ErrorContains(t, err, "appid: must be")
	require.ErrorContains(t, json.Unmarshal([]byte(`{"kefu.send":""}`), &read), "subject: must be")
}

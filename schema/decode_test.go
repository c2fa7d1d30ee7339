package schema_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestDecodeTakesTheExamplesOfTheDocument(t *testing.T) {
	t.Parallel()
	for _, example := range documented {
		t.Run(example.name, func(t *testing.T) {
			t.Parallel()
			p, err := schema.Decode([]byte(example.packet), schema.Limits{})
			require.NoError(t, err)
			require.Equal(t, arrived[example.name], string(schema.Encode(p)))
			requireRoundTrip(t, p)
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	t.Parallel()
	for _, tt := range accepted {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := schema.Decode([]byte(tt.packet), schema.Limits{})
			require.NoError(t, err)
			require.Equal(t, tt.want, string(schema.Encode(p)))
			requireRoundTrip(t, p)
			requireSameMeaning(t, tt.packet, tt.want)
		})
	}
}

// requireRoundTrip proves that writing and reading a packet gives it back, and that Check agrees
// with Decode. Music without an hqmusicurl comes back with the one that is sent.
func requireRoundTrip(t *testing.T, p *schema.Packet) {
	t.Helper()
	requireRoundTripWith(t, p, schema.Limits{})
}

func requireRoundTripWith(t *testing.T, p *schema.Packet, limits schema.Limits) {
	t.Helper()
	require.NoError(t, p.Check(limits))
	again, err := schema.Decode(schema.Encode(p), limits)
	require.NoError(t, err)
	if music, ok := p.Body.(*schema.Music); ok && music.HQMusicURL == "" {
		filled := *music
		filled.HQMusicURL = music.MusicURL
		with := *p
		with.Body, p = &filled, &with
	}
	require.Equal(t, p, again)
	raw, err := json.Marshal(p)
	require.NoError(t, err)
	var read schema.Packet
	require.NoError(t, json.Unmarshal(raw, &read))
	require.Equal(t, p, &read)
}

// requireSameMeaning compares two packets as encoding/json understands them, but for what Decode
// promises to change: a wxcard may have gained its msgtype and music its hqmusicurl, and fields
// that are optional and null are left out.
func requireSameMeaning(t *testing.T, was, is string) {
	t.Helper()
	before, after := meaning(t, was), meaning(t, is)
	dropNulls(before, "msgtype", "customservice", "aimsgcontext")
	dropNulls(before, schema.MsgTypes()...)
	for _, name := range []string{"customservice", "aimsgcontext"} {
		if object, ok := before[name].(map[string]any); ok {
			dropNulls(object, "kf_account", "is_ai_msg")
			if len(object) == 0 {
				delete(before, name)
			}
		}
	}
	kind, given := before["msgtype"].(string)
	if _, other := before["msgtype"]; !given && !other {
		kind = "wxcard"
		before["msgtype"] = kind
	}
	if body, ok := before[kind].(map[string]any); ok {
		dropNulls(body, optional[kind]...)
		if _, given := body["hqmusicurl"]; kind == "music" && !given {
			body["hqmusicurl"] = body["musicurl"]
		}
		articles, _ := body["articles"].([]any)
		for _, article := range articles {
			if article, ok := article.(map[string]any); ok && kind == "news" {
				dropNulls(article, "title", "description", "url", "picurl")
			}
		}
	}
	require.Equal(t, before, after)
}

// optional are the fields of each type that need not be there.
var optional = map[string][]string{
	"video":           {"thumb_media_id", "title", "description"},
	"music":           {"hqmusicurl", "title", "description"},
	"wxcard":          {"card_ext"},
	"msgmenu":         {"head_content", "tail_content"},
	"miniprogrampage": {"appid"},
}

func dropNulls(object map[string]any, names ...string) {
	for _, name := range names {
		if value, there := object[name]; there && value == nil {
			delete(object, name)
		}
	}
}

func meaning(t *testing.T, packet string) map[string]any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(packet))
	d.UseNumber()
	var m map[string]any
	require.NoError(t, d.Decode(&m))
	_, err := d.Token()
	require.ErrorIs(t, err, io.EOF)
	return m
}

func TestDecodeSharesNoMemoryWithItsInput(t *testing.T) {
	t.Parallel()
	raw := []byte(`{"touser":"o","msgtype":"text","text":{"content":"hello"},"x":"y"}`)
	p, err := schema.Decode(raw, schema.Limits{})
	require.NoError(t, err)
	want := schema.Encode(p)
	copy(raw, bytes.Repeat([]byte{'!'}, len(raw)))
	require.Equal(t, string(want), string(schema.Encode(p)))
}

func TestUnknownFieldsDoNotShareTheirRoom(t *testing.T) {
	t.Parallel()
	p, err := schema.Decode(
		[]byte(`{"touser":"o","msgtype":"text","text":{"content":"hello"},"x":1,"y":2}`),
		schema.Limits{})
	require.NoError(t, err)
	p.Extra[0].Value = append(p.Extra[0].Value, '0')
	require.Equal(t,
		[]schema.Member{{Name: "x", Value: []byte("10")}, {Name: "y", Value: []byte("2")}}, p.Extra)
}

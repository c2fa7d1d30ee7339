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

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	const known = "(known: text, image, voice, video, music, news, " +
		"wxcard, mpnews, mpnewsarticle, msgmenu, miniprogrampage)"
	// with puts something behind a valid text.
	with := func(more string) string {
		return `{"touser":"o","msgtype":"text","text":{"content":"a"}` + more + `}`
	}
	text := func(content string) string {
		return `{"touser":"o","msgtype":"text","text":{"content":` + content + `}}`
	}
	body := func(msgtype, object string) string {
		return `{"touser":"o","msgtype":"` + msgtype + `","` + msgtype + `":` + object + `}`
	}
	music := func(url, hq string) string {
		return body("music", `{"thumb_media_id":"1","musicurl":"`+url+`","hqmusicurl":"`+hq+`"}`)
	}
	for _, tt := range []struct{ name, packet, want string }{
		// The packet as JSON.
		{"nothing", ``, `packet: not JSON: ends too early at byte 0`},
		{"white space", " \n", `packet: not JSON: ends too early at byte 2`},
		{"an array", `[]`, `packet: must be a JSON object`},
		{"a number", `1`, `packet: must be a JSON object`},
		{"something else", `touser=o`, `packet: must be a JSON object`},
		{"something else again", `<xml>`, `packet: not JSON: a value must stand here at byte 0`},
		{"a byte order mark", "\uFEFF" + text(`"a"`), `packet: begins with a byte order mark`},
		{"two objects", text(`"a"`) + `{}`,
			`packet: not JSON: nothing may follow the object at byte 54`},
		{"a NUL behind", text(`"a"`) + "\x00",
			`packet: not JSON: nothing may follow the object at byte 54`},
		{"an open object", `{"touser":"o"`, `packet: not JSON: ends too early at byte 13`},
		{"an open object after a comma", `{"touser":"o",`,
			`packet: not JSON: a key must be a string at byte 14`},
		{"an open string", `{"touser":"o`, `touser: not JSON: string without an end at byte 12`},
		{"an open string after an escape", `{"touser":"o\"`,
			`touser: not JSON: string without an end at byte 14`},
		{"a backslash at the end", `{"touser":"o\`,
			`touser: not JSON: string without an end at byte 13`},
		{"no value", `{"touser":`, `touser: not JSON: ends too early at byte 10`},
		{"no value in an unknown field", `{"x":`, `packet: not JSON: ends too early at byte 5`},
		{"no value before the end", `{"touser":}`,
			`touser: not JSON: a value must stand here at byte 10`},
		{"no colon", `{"touser" "o"}`, `packet: not JSON: a colon must follow a key at byte 10`},
		{"a bare key", `{touser:"o"}`, `packet: not JSON: a key must be a string at byte 1`},
		{"single quotes", `{'touser':'o'}`, `packet: not JSON: a key must be a string at byte 1`},
		{"a comma too many", with(`,`), `packet: not JSON: trailing comma at byte 53`},
		{"the commas of the page's wxcard example",
			`{"touser":"OPENID","wxcard":{"card_id":"1",},}`,
			`wxcard: not JSON: trailing comma at byte 42`},
		{"a trailing comma in an array", with(`,"x":[1, ]`),
			`packet: not JSON: trailing comma at byte 60`},
		{"a leading comma", `{,}`, `packet: not JSON: a key must be a string at byte 1`},
		{"no comma", `{"touser":"o" "msgtype":"text"}`,
			`packet: not JSON: a comma or } must stand here at byte 14`},
		{"no comma in an array", with(`,"x":[1 2]`),
			`packet: not JSON: a comma or ] must stand here at byte 61`},
		{"no comma between articles", body("news", `{"articles":[{} {}]}`),
			`news.articles: not JSON: a comma or ] must stand here at byte 54`},
		{"a bare key deep down", with(`,"x":{1}`),
			`packet: not JSON: a key must be a string at byte 59`},
		{"brackets that cross", with(`,"x":[1}`),
			`packet: not JSON: a comma or ] must stand here at byte 60`},
		{"a comment", with(`/**/`), `packet: not JSON: a comma or } must stand here at byte 53`},
		{"a word that is none", with(`,"x":nil`),
			`packet: not JSON: a value must stand here at byte 58`},
		{"a word too long", with(`,"x":nullx`),
			`packet: not JSON: a comma or } must stand here at byte 62`},
		{"NaN", with(`,"x":NaN`), `packet: not JSON: a value must stand here at byte 58`},
		{"a leading zero", with(`,"x":01`),
			`packet: not JSON: a comma or } must stand here at byte 59`},
		{"a plus", with(`,"x":+1`), `packet: not JSON: a value must stand here at byte 58`},
		{"a lonely minus", with(`,"x":-`), `packet: not JSON: a digit must stand here at byte 59`},
		{"a lonely point", with(`,"x":1.`), `packet: not JSON: a digit must stand here at byte 60`},
		{"a lonely exponent", with(`,"x":1e+`),
			`packet: not JSON: a digit must stand here at byte 61`},
		{"a hexadecimal", with(`,"x":0x1`),
			`packet: not JSON: a comma or } must stand here at byte 59`},
		{"too deep", with(`,"x":` + strings.Repeat(`[`, 32) + strings.Repeat(`]`, 32)),
			`packet: nested deeper than 32 at byte 89`},
		{"too deep in an object",
			with(`,"x":` + strings.Repeat(`{"a":`, 31) + `{}` + strings.Repeat(`}`, 31)),
			`packet: nested deeper than 32 at byte 213`},
		{"too large", text(`"` + strings.Repeat("a", schema.MaxPacket) + `"`),
			`packet: 65589 bytes, at most 65536`},

		// Characters.
		{"invalid UTF-8", text("\"a\xFFsecret\""), `packet: not valid UTF-8 at byte 51`},
		{"UTF-8 of a surrogate", text("\"\xED\xA0\x80\""), `packet: not valid UTF-8 at byte 50`},
		{"overlong UTF-8", text("\"\xC0\x80\""), `packet: not valid UTF-8 at byte 50`},
		{"invalid UTF-8 behind the object", text(`"a"`) + "\xC2",
			`packet: not valid UTF-8 at byte 54`},
		{"a NUL", text("\"a\x00\""), `text.content: control character U+0000 at byte 51`},
		{"an escaped NUL", text(`"a\u0000"`), `text.content: control character U+0000 at byte 51`},
		{"an escaped NUL after an escape", text(`"\n\u0000"`),
			`text.content: control character U+0000 at byte 52`},
		{"an escape character", text("\"\x1b[31m\""),
			`text.content: control character U+001B at byte 50`},
		{"a control character after an escape", text("\"\\n\x07\""),
			`text.content: control character U+0007 at byte 52`},
		{"DEL", text("\"\x7F\""), `text.content: control character U+007F at byte 50`},
		{"an escaped DEL", text(`"\u007f"`), `text.content: control character U+007F at byte 50`},
		{"a C1 control character", text("\"é\u0085\""),
			`text.content: control character U+0085 at byte 52`},
		{"an escaped C1 control character", text(`"\u0085"`),
			`text.content: control character U+0085 at byte 50`},
		{"a C1 control character after an escape", text("\"\\n\u009F\""),
			`text.content: control character U+009F at byte 52`},
		{"a backspace", text(`"\b"`), `text.content: control character U+0008 at byte 50`},
		{"a form feed", text(`"\f"`), `text.content: control character U+000C at byte 50`},
		{"a control character in a key", with(`,"\u0001":1`),
			`packet: control character U+0001 at byte 55`},
		{"a control character in an unknown field", with(`,"x":{"y":["\u0001"]}`),
			`packet: control character U+0001 at byte 65`},
		{"a raw line break", text("\"a\nb\""),
			`text.content: not JSON: line break or tab in a string, must be written as an escape, at byte 51`},
		{"a raw tab after an escape", text("\"\\n\t\""),
			`text.content: not JSON: line break or tab in a string, must be written as an escape, at byte 52`},
		{"a lone high surrogate", text(`"\ud83d"`), `text.content: lone surrogate at byte 50`},
		{"a lone low surrogate", text(`"\ude00"`), `text.content: lone surrogate at byte 50`},
		{"two high surrogates", text(`"\ud83d\ud83d\ude00"`),
			`text.content: lone surrogate at byte 50`},
		{"a surrogate before another escape", text(`"\ud83d\n"`),
			`text.content: lone surrogate at byte 50`},
		{"a surrogate before a broken one", text(`"\ud83d\uZZZZ"`),
			`text.content: lone surrogate at byte 50`},
		{"a surrogate in an unknown field", with(`,"x":"\ud83d"`),
			`packet: lone surrogate at byte 59`},
		{"an unknown escape", text(`"\x41"`), `text.content: not JSON: unknown escape at byte 50`},
		{"an escape cut short", text(`"\u12"`),
			`text.content: not JSON: four hex digits must follow \u at byte 50`},
		{"an escape cut short at the end", text(`"\u"`),
			`text.content: not JSON: four hex digits must follow \u at byte 50`},
		{"an escape that is no number", text(`"\u12g4"`),
			`text.content: not JSON: four hex digits must follow \u at byte 50`},

		// Keys.
		{"a duplicate key", with(`,"touser":"o"`), `packet: duplicate key "touser"`},
		{"a duplicate object", with(`,"text":{"content":"b"}`), `packet: duplicate key "text"`},
		{"a duplicate key by escape", with(`,"\u0074ouser":"o"`), `packet: duplicate key "touser"`},
		{"a duplicate key in an object", body("text", `{"content":"a","content":"a"}`),
			`text: duplicate key "content"`},
		{"a duplicate key in an article", body("news", `{"articles":[{},{"url":"","url":""}]}`),
			`news.articles[1]: duplicate key "url"`},
		{"a duplicate unknown key", with(`,"oSECRET":1,"oSECRET":2`),
			`packet: duplicate key at byte 66`},
		{"a duplicate key deep down", with(`,"x":[{"y":{"z":1,"z":2}}]`),
			`packet: duplicate key at byte 71`},
		{"a duplicate key in a crowd",
			with(`,"x":{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"j":0,"b":0}`),
			`packet: duplicate key at byte 119`},
		{"a known key in capitals", `{"TOUSER":"o","msgtype":"text","text":{"content":"a"}}`,
			`touser: must be spelled in lower case`},
		{"a known key in mixed case", `{"touser":"o","Msgtype":"text","text":{"content":"a"}}`,
			`msgtype: must be spelled in lower case`},
		{"a known key beside itself in capitals", with(`,"Touser":"p"`),
			`touser: must be spelled in lower case`},
		{"keys that differ by a Kelvin sign",
			with(`,"wxcard":{"kf_account":1,"` + "\u212A" + `":1,"k":1}`),
			`wxcard: two keys that differ only in letter case at byte 87`},
		{"a known key with a long s", with(`,"tou` + "\u017F" + `er":"p"`),
			`touser: must be spelled in lower case`},
		{"an object in capitals", with(`,"IMAGE":{}`), `image: must be spelled in lower case`},
		{"a field in capitals", body("text", `{"Content":"a"}`),
			`text.content: must be spelled in lower case`},
		{"a field of a menu in capitals", body("msgmenu", `{"list":[{"ID":"1"}]}`),
			`msgmenu.list[0].id: must be spelled in lower case`},
		{"unknown keys in two cases", with(`,"xY":1,"Xy":2`),
			`packet: two keys that differ only in letter case at byte 61`},
		{"unknown keys in two cases of Greek", with(`,"x":{"Σ":1,"ς":2}`),
			`packet: two keys that differ only in letter case at byte 66`},
		{"unknown keys in two cases in a crowd",
			with(`,"x":{"a":0,"b":0,"K":0,"d":0,"e":0,"f":0,"g":0,"h":0,"i":0,"` + "\u212A" +
				`":0}`), `packet: two keys that differ only in letter case at byte 113`},

		// The envelope of the packet.
		{"no touser", `{"msgtype":"text","text":{"content":"a"}}`, `touser: missing`},
		{"an empty touser", `{"touser":"","msgtype":"text","text":{"content":"a"}}`,
			`touser: blank`},
		{"a touser of blanks", `{"touser":" ","msgtype":"text","text":{"content":"a"}}`,
			`touser: must be 1 to 128 of A-Z a-z 0-9 _ -`},
		{"a touser with a dot", `{"touser":"a.b","msgtype":"text","text":{"content":"a"}}`,
			`touser: must be 1 to 128 of A-Z a-z 0-9 _ -`},
		{"a touser too long",
			`{"touser":"` + strings.Repeat("a", 129) + `","msgtype":"text","text":{"content":"a"}}`,
			`touser: must be 1 to 128 of A-Z a-z 0-9 _ -`},
		{"several tousers", `{"touser":["a","b"],"msgtype":"text","text":{"content":"a"}}`,
			`touser: must be a string`},
		{"no msgtype", `{"touser":"o","text":{"content":"a"}}`, `msgtype: missing`},
		{"no msgtype and no object", `{"touser":"o"}`, `msgtype: missing`},
		{"no msgtype and two objects",
			`{"touser":"o","wxcard":{"card_id":"1"},"text":{"content":"a"}}`, `msgtype: missing`},
		{"an empty msgtype", `{"touser":"o","msgtype":"","wxcard":{"card_id":"1"}}`,
			`msgtype: blank`},
		{"an unknown msgtype", `{"touser":"o","msgtype":"file","file":{}}`,
			`msgtype: unknown type "file" ` + known},
		{"a message of mini programs",
			body("link", `{"title":"1","description":"2","url":"http://a","thumb_url":"http://b"}`),
			`msgtype: link is a message of mini programs: if the app is one, say so (kind: miniprogram)`},
		{"an object of mini programs", with(`,"link":{"title":"1"}`),
			`link: not allowed with msgtype text`},
		{"a msgtype in capitals", `{"touser":"o","msgtype":"TEXT","text":{"content":"a"}}`,
			`msgtype: unknown type "TEXT" ` + known},
		{"a msgtype that is a key", `{"touser":"o","msgtype":"touser"}`,
			`msgtype: unknown type "touser" ` + known},
		{"a msgtype that is a text", `{"touser":"o","msgtype":"您好"}`,
			`msgtype: unknown type ` + known},
		{"a msgtype that is an openid", `{"touser":"o","msgtype":"oABCDEFGHIJKLMNOPQRSTUVWXYZ0"}`,
			`msgtype: unknown type ` + known},
		{"a msgtype that is no string", `{"touser":"o","msgtype":1}`, `msgtype: must be a string`},
		{"no object", `{"touser":"o","msgtype":"text"}`, `text: missing`},
		{"another object", `{"touser":"o","msgtype":"text","image":{"media_id":"1"}}`,
			`image: not allowed with msgtype text`},
		{"another object too", with(`,"image":{"media_id":"1"}`),
			`image: not allowed with msgtype text`},
		{"an object that is null", `{"touser":"o","msgtype":"text","text":null}`,
			`text: null, must be an object`},
		{"an object that is an array", `{"touser":"o","msgtype":"text","text":[]}`,
			`text: must be an object`},
		{"a kfaccount that is a string", with(`,"customservice":"a@b"`),
			`customservice: must be an object`},
		{"no kfaccount", with(`,"customservice":{}`), `customservice.kf_account: missing`},
		{"a blank kfaccount", with(`,"customservice":{"kf_account":""}`),
			`customservice.kf_account: blank`},
		{"a kfaccount without wechatid", with(`,"customservice":{"kf_account":"a@"}`),
			`customservice.kf_account: must be prefix@wechatid`},
		{"a kfaccount without prefix", with(`,"customservice":{"kf_account":"@a"}`),
			`customservice.kf_account: must be prefix@wechatid`},
		{"a kfaccount without at sign", with(`,"customservice":{"kf_account":"ab"}`),
			`customservice.kf_account: must be prefix@wechatid`},
		{"a kfaccount with two at signs", with(`,"customservice":{"kf_account":"a@b@c"}`),
			`customservice.kf_account: must be prefix@wechatid`},
		{"a kfaccount with a blank", with(`,"customservice":{"kf_account":"a @b"}`),
			`customservice.kf_account: must be prefix@wechatid`},
		{"no AI mark", with(`,"aimsgcontext":{}`), `aimsgcontext.is_ai_msg: missing`},
		{"an AI mark of 2", with(`,"aimsgcontext":{"is_ai_msg":2}`),
			`aimsgcontext.is_ai_msg: must be 0 or 1`},
		{"an AI mark that is true", with(`,"aimsgcontext":{"is_ai_msg":true}`),
			`aimsgcontext.is_ai_msg: must be 0 or 1`},
		{"an AI mark that is a string", with(`,"aimsgcontext":{"is_ai_msg":"1"}`),
			`aimsgcontext.is_ai_msg: must be 0 or 1`},
		{"an AI mark that is no JSON", with(`,"aimsgcontext":{"is_ai_msg":-}`),
			`aimsgcontext.is_ai_msg: not JSON: a digit must stand here at byte 83`},

		// Each type.
		{"no content", body("text", `{}`), `text.content: missing`},
		{"an empty content", text(`""`), `text.content: empty, at least 1 byte`},
		{"a content too long", text(`"` + strings.Repeat("a", 2049) + `"`),
			`text.content: 2049 bytes, at most 2048`},
		{"a content too long in UTF-8", text(`"` + strings.Repeat("订", 683) + `"`),
			`text.content: 2049 bytes, at most 2048`},
		{"a content that is a number", text(`1`), `text.content: must be a string`},
		{"a content that is null", text(`null`), `text.content: null, must be a string`},
		{"a touser that is null", `{"touser":null,"msgtype":"text","text":{"content":"a"}}`,
			`touser: null, must be a string`},
		{"a msgtype that is null", `{"touser":"o","msgtype":null,"text":{"content":"a"}}`,
			`msgtype: null, must be a string`},
		{"a packet that is null", `null`, `packet: null, must be a JSON object`},
		{"half a null", with(`,"customservice":nul`), `customservice: must be an object`},
		{"a null with something behind it", with(`,"customservice":nullx`),
			`packet: not JSON: a comma or } must stand here at byte 74`},
		{"a field that is null and given",
			body("video", `{"media_id":"1","thumb_media_id":"1","title":null,"title":"a"}`),
			`video: duplicate key "title"`},
		{"a field that is null in another case",
			body("video", `{"media_id":"1","thumb_media_id":"1","Title":null}`),
			`video.title: must be spelled in lower case`},
		{"another type that is null and given", with(`,"image":null,"image":{"media_id":"1"}`),
			`packet: duplicate key "image"`},
		{"a kfaccount that is null beside others",
			with(`,"customservice":{"kf_account":null,"x":1}`),
			`customservice.kf_account: null, must be a string`},
		{"an AI mark that is null beside others", with(`,"aimsgcontext":{"x":1,"is_ai_msg":null}`),
			`aimsgcontext.is_ai_msg: null, must be 0 or 1`},
		{"no media_id", body("image", `{}`), `image.media_id: missing`},
		{"a blank media_id", body("image", `{"media_id":" "}`), `image.media_id: blank`},
		{"an empty media_id", body("voice", `{"media_id":""}`), `voice.media_id: blank`},
		{"no thumb_media_id", body("video", `{"media_id":"1"}`), `video.thumb_media_id: missing`},
		{"no media_id of a video", body("video", `{"thumb_media_id":"1"}`),
			`video.media_id: missing`},
		{"a media_id that is null", body("image", `{"media_id":null}`),
			`image.media_id: null, must be a string`},
		{"a thumb_media_id that is null", body("video", `{"media_id":"1","thumb_media_id":null}`),
			`video.thumb_media_id: null, must be a string`},
		{"no musicurl", body("music", `{"hqmusicurl":"http://a","thumb_media_id":"1"}`),
			`music.musicurl: missing`},
		{"a blank hqmusicurl", music(`http://a`, ``), `music.hqmusicurl: blank`},
		{"a musicurl that is null",
			body("music", `{"musicurl":null,"hqmusicurl":"http://a","thumb_media_id":"1"}`),
			`music.musicurl: null, must be a string`},
		{"no thumb_media_id of music",
			body("music", `{"musicurl":"http://a","hqmusicurl":"http://a"}`),
			`music.thumb_media_id: missing`},
		{"a blank URL", music(``, `http://a`), `music.musicurl: blank`},
		{"a relative URL", music(`/a`, `http://a`),
			`music.musicurl: must be an absolute http or https URL`},
		{"a URL without scheme", music(`//a/b`, `http://a`),
			`music.musicurl: must be an absolute http or https URL`},
		{"a URL without host", music(`http://a`, `http:///a`),
			`music.hqmusicurl: must be an absolute http or https URL`},
		{"a URL with only a port", music(`http://a`, `http://:80/`),
			`music.hqmusicurl: must be an absolute http or https URL`},
		{"a URL of another scheme", music(`javascript:alert(1)`, `http://a`),
			`music.musicurl: must be an absolute http or https URL`},
		{"a URL with a blank", music(`http://a/b c`, `http://a`),
			`music.musicurl: must be an absolute http or https URL`},
		{"another placeholder", music(`HQ_MUSIC_URL`, `http://a`),
			`music.musicurl: must be an absolute http or https URL`},
		{"a placeholder in lower case", music(`MUSIC_URL`, `hq_music_url`),
			`music.hqmusicurl: must be an absolute http or https URL`},
		{"no articles", body("news", `{}`), `news.articles: missing`},
		{"empty articles", body("news", `{"articles":[]}`),
			`news.articles: no articles, at least 1`},
		{"too many articles", body("news", `{"articles":[{}`+strings.Repeat(`,{}`, 10)+`]}`),
			`news.articles: 11 articles, at most 10`},
		{"articles that are null", body("news", `{"articles":null}`),
			`news.articles: null, must be an array`},
		{"an article that is null", body("news", `{"articles":[{},null]}`),
			`news.articles[1]: null, must be an object`},
		{"articles that are one", body("news", `{"articles":{}}`),
			`news.articles: must be an array`},
		{"articles that are strings", body("news", `{"articles":[{},"a"]}`),
			`news.articles[1]: must be an object`},
		{"an article with a title of number", body("news", `{"articles":[{},{"title":1}]}`),
			`news.articles[1].title: must be a string`},
		{"broken articles", body("news", `{"articles":[{},`),
			`news.articles[1]: not JSON: a value must stand here at byte 54`},
		{"no card_id", body("wxcard", `{"card_ext":""}`), `wxcard.card_id: missing`},
		{"a card_ext that is an object", body("wxcard", `{"card_id":"1","card_ext":{}}`),
			`wxcard.card_ext: must be a string`},
		{"no media_id of mpnews", body("mpnews", `{}`), `mpnews.media_id: missing`},
		{"no article_id", body("mpnewsarticle", `{}`), `mpnewsarticle.article_id: missing`},
		{"no list", body("msgmenu", `{"head_content":"a"}`), `msgmenu.list: missing`},
		{"an empty list", body("msgmenu", `{"list":[]}`), `msgmenu.list: no entries, at least 1`},
		{"no id", body("msgmenu", `{"list":[{"id":"1","content":"a"},{"content":"a"}]}`),
			`msgmenu.list[1].id: missing`},
		{"a blank id", body("msgmenu", `{"list":[{"id":"　","content":"a"}]}`),
			`msgmenu.list[0].id: blank`},
		{"an id that is null", body("msgmenu", `{"list":[{"id":null,"content":"a"}]}`),
			`msgmenu.list[0].id: null, must be a string or a number`},
		{"an id that is true", body("msgmenu", `{"list":[{"id":true,"content":"a"}]}`),
			`msgmenu.list[0].id: must be a string or a number`},
		{"an id that is no JSON", body("msgmenu", `{"list":[{"id":1.,"content":"a"}]}`),
			`msgmenu.list[0].id: not JSON: a digit must stand here at byte 61`},
		{"no content of an entry", body("msgmenu", `{"list":[{"id":1}]}`),
			`msgmenu.list[0].content: missing`},
		{"a blank content of an entry", body("msgmenu", `{"list":[{"id":1,"content":"\n"}]}`),
			`msgmenu.list[0].content: blank`},
		{"no title", body("miniprogrampage", `{"appid":"2","pagepath":"3","thumb_media_id":"4"}`),
			`miniprogrampage.title: missing`},
		{"no appid", body("miniprogrampage", `{"title":"1","pagepath":"3","thumb_media_id":"4"}`),
			`miniprogrampage.appid: missing`},
		{"no pagepath", body("miniprogrampage", `{"title":"1","appid":"2","thumb_media_id":"4"}`),
			`miniprogrampage.pagepath: missing`},
		{"no thumb_media_id of a page",
			body("miniprogrampage", `{"title":"1","appid":"2","pagepath":"3"}`),
			`miniprogrampage.thumb_media_id: missing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := schema.Decode([]byte(tt.packet), schema.Limits{})
			require.EqualError(t, err, tt.want)
			require.Nil(t, p)
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
		})
	}
}

func TestDecodeObeysLimits(t *testing.T) {
	t.Parallel()
	limits := schema.Limits{NewsArticles: 1, TextBytes: 5}
	_, err := schema.Decode([]byte(`{"touser":"o","msgtype":"text","text":{"content":"hello"}}`),
		limits)
	require.NoError(t, err)
	_, err = schema.Decode(
		[]byte(`{"touser":"o","msgtype":"text","text":{"content":"\u4e2d\u6587"}}`), limits)
	require.EqualError(t, err, "text.content: 6 bytes, at most 5")
	_, err = schema.Decode([]byte(`{"touser":"o","msgtype":"news","news":{"articles":[{},{}]}}`),
		limits)
	require.EqualError(t, err, "news.articles: 2 articles, at most 1")
}

func TestAVideoMayDoWithoutThumb(t *testing.T) {
	t.Parallel()
	limits := schema.Limits{VideoThumb: schema.PresenceOptional}
	for packet, want := range map[string]string{
		`{"media_id":"1"}`:                           `{"media_id":"1"}`,
		`{"thumb_media_id":null,"media_id":"1"}`:     `{"media_id":"1"}`,
		`{"media_id":"1","thumb_media_id":"2"}`:      `{"media_id":"1","thumb_media_id":"2"}`,
		`{"media_id":"1","title":"t","x":[1.0]}`:     `{"media_id":"1","title":"t","x":[1.0]}`,
		`{"media_id":"1","title":"","x":{"a":null}}`: `{"media_id":"1","title":"","x":{"a":null}}`,
	} {
		const head = `{"touser":"o","msgtype":"video","video":`
		p, err := schema.Decode([]byte(head+packet+`}`), limits)
		require.NoError(t, err, packet)
		require.Equal(t, head+want+`}`, string(schema.Encode(p)))
		requireRoundTripWith(t, p, limits)
	}
	_, err := schema.Decode(
		[]byte(`{"touser":"o","msgtype":"video","video":{"media_id":"1","thumb_media_id":""}}`),
		limits)
	require.EqualError(t, err, "video.thumb_media_id: blank")
	video := &schema.Packet{ToUser: "o", Body: &schema.Video{MediaID: "1"}}
	require.NoError(t, video.Check(limits))
	require.EqualError(t, video.Check(schema.Limits{}), "video.thumb_media_id: missing")
	require.EqualError(t, video.Check(schema.Limits{VideoThumb: schema.PresenceRequired}),
		"video.thumb_media_id: missing")
}

func TestMessagesOfMiniPrograms(t *testing.T) {
	t.Parallel()
	limits := schema.Limits{Kind: schema.KindMiniProgram}
	body := func(msgtype, object string) string {
		return `{"touser":"o","msgtype":"` + msgtype + `","` + msgtype + `":` + object + `}`
	}
	for _, tt := range []struct{ name, packet, want string }{
		{
			"the document's link",
			body("link", `{"title":"Happy Day","description":"Is Really A Happy Day",`+
				`"url":"URL","thumb_url":"THUMB_URL"}`),
			body("link", `{"title":"Happy Day","description":"Is Really A Happy Day",`+
				`"url":"URL","thumb_url":"THUMB_URL"}`),
		},
		{
			"a link",
			body("link", `{"thumb_url":"http://b/\u56fe.png","x":1.0,`+
				`"url":"https://a/?b=1&c=2","description":"d","title":"t"}`),
			body("link", `{"title":"t","description":"d","url":"https://a/?b=1&c=2",`+
				`"thumb_url":"http://b/图.png","x":1.0}`),
		},
		{
			"a page of its own",
			body("miniprogrampage",
				`{"title":"t","pagepath":"pages/index/index?foo=bar","thumb_media_id":"m"}`),
			body("miniprogrampage",
				`{"title":"t","pagepath":"pages/index/index?foo=bar","thumb_media_id":"m"}`),
		},
		{
			"a page of an appid of null",
			body("miniprogrampage",
				`{"title":"t","appid":null,"pagepath":"p","thumb_media_id":"m"}`),
			body("miniprogrampage", `{"title":"t","pagepath":"p","thumb_media_id":"m"}`),
		},
		{
			"a page with an appid",
			body("miniprogrampage",
				`{"title":"t","appid":"wx2","pagepath":"p","thumb_media_id":"m"}`),
			body("miniprogrampage",
				`{"title":"t","appid":"wx2","pagepath":"p","thumb_media_id":"m"}`),
		},
		{"a text", body("text", `{"content":"a"}`), body("text", `{"content":"a"}`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := schema.Decode([]byte(tt.packet), limits)
			require.NoError(t, err)
			require.Equal(t, tt.want, string(schema.Encode(p)))
			requireRoundTripWith(t, p, limits)
		})
	}
	link := func(field, value string) string {
		object := map[string]string{"title": `"t"`, "description": `"d"`, "url": `"http://a"`,
			"thumb_url": `"http://b"`}
		object[field] = value
		var members []string
		for name, value := range object {
			if value != "" {
				members = append(members, `"`+name+`":`+value)
			}
		}
		return body("link", `{`+strings.Join(members, ",")+`}`)
	}
	page := func(object string) string { return body("miniprogrampage", object) }
	for packet, want := range map[string]string{
		link("title", ``):                "link.title: missing",
		link("title", `" "`):             "link.title: blank",
		link("description", ``):          "link.description: missing",
		link("description", `null`):      "link.description: null, must be a string",
		link("url", ``):                  "link.url: missing",
		link("url", `""`):                "link.url: blank",
		link("url", `"pages/index"`):     "link.url: must be an absolute http or https URL",
		link("url", `"THUMB_URL"`):       "link.url: must be an absolute http or https URL",
		link("thumb_url", ``):            "link.thumb_url: missing",
		link("thumb_url", `""`):          "link.thumb_url: blank",
		link("thumb_url", `"ftp://a/b"`): "link.thumb_url: must be an absolute http or https URL",
		link("x", `1,"Title":"t"`):       "link.title: must be spelled in lower case",

		page(`{"title":"t","thumb_media_id":"m"}`):    "miniprogrampage.pagepath: missing",
		page(`{"pagepath":"p","thumb_media_id":"m"}`): "miniprogrampage.title: missing",
		page(`{"title":"t","pagepath":"p"}`):          "miniprogrampage.thumb_media_id: missing",

		page(`{"title":"t","appid":" ","pagepath":"p","thumb_media_id":"m"}`): "miniprogrampage" +
			".appid: blank",
		body("file", `{}`): `msgtype: unknown type "file" (known: text, image, voice, video, ` +
			`music, news, wxcard, mpnews, mpnewsarticle, msgmenu, miniprogrampage, link)`,
	} {
		_, err := schema.Decode([]byte(packet), limits)
		require.EqualError(t, err, want, packet)
	}
	built := &schema.Packet{ToUser: "o",
		Body: &schema.Link{Title: "t", Description: "d", URL: "http://a", ThumbURL: "http://b"}}
	require.NoError(t, built.Check(limits))
	require.ErrorContains(t, built.Check(schema.Limits{}),
		"msgtype: link is a message of mini programs")
	built = &schema.Packet{ToUser: "o",
		Body: &schema.MiniProgramPage{Title: "t", PagePath: "p", ThumbMediaID: "m"}}
	require.NoError(t, built.Check(limits))
	require.EqualError(t, built.Check(schema.Limits{}), "miniprogrampage.appid: missing")
}

func TestDecodeCountsTheURLThatMusicGains(t *testing.T) {
	t.Parallel()
	music := func(size int) []byte {
		const head = `{"touser":"o","msgtype":"music",` +
			`"music":{"thumb_media_id":"1","musicurl":"http://a/`
		const tail = `"}}`
		return []byte(head + strings.Repeat("a", size-len(head)-len(tail)) + tail)
	}
	const alone = len(
		`{"touser":"o","msgtype":"music","music":{"thumb_media_id":"1","musicurl":"`) + len(`"}}`)
	const gained = len(`"hqmusicurl":"",`)
	const most = (schema.MaxPacket-alone-gained)/2 + alone // a packet and its musicurl once more
	p, err := schema.Decode(music(most), schema.Limits{})
	require.NoError(t, err)
	require.LessOrEqual(t, len(schema.Encode(p)), schema.MaxPacket)
	require.NoError(t, p.Check(schema.Limits{}))
	_, err = schema.Decode(music(most+1), schema.Limits{})
	require.ErrorContains(t, err, "bytes, at most 65536")
}

func TestDecodeCountsTheMsgTypeThatACardGains(t *testing.T) {
	t.Parallel()
	card := func(size int) []byte {
		head, tail := `{"touser":"o","wxcard":{"card_id":"`, `"}}`
		return []byte(head + strings.Repeat("a", size-len(head)-len(tail)) + tail)
	}
	const gained = len(`"msgtype":"wxcard",`)
	p, err := schema.Decode(card(schema.MaxPacket-gained), schema.Limits{})
	require.NoError(t, err)
	require.Len(t, schema.Encode(p), schema.MaxPacket)
	_, err = schema.Decode(card(schema.MaxPacket-gained+1), schema.Limits{})
	require.EqualError(t, err, "packet: 65537 bytes, at most 65536")
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

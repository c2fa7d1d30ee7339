package schema_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestPacketsBuiltInGo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		body schema.Body
		want string
	}{
		{"text", &schema.Text{Content: "a\t\"<\\>\n"}, `"text":{"content":"a\t\"<\\>\n"}`},
		{"image", &schema.Image{MediaID: "1"}, `"image":{"media_id":"1"}`},
		{"voice", &schema.Voice{MediaID: "1"}, `"voice":{"media_id":"1"}`},
		{"video", &schema.Video{MediaID: "1", ThumbMediaID: "2"},
			`"video":{"media_id":"1","thumb_media_id":"2"}`},
		{
			"music",
			&schema.Music{MusicURL: "http://a", HQMusicURL: "https://b/c", ThumbMediaID: "1",
				Title: "t"},
			`"music":{"musicurl":"http://a","hqmusicurl":"https://b/c","thumb_media_id":"1","title":"t"}`,
		},
		{
			"music",
			&schema.Music{MusicURL: "http://a", ThumbMediaID: "1"},
			`"music":{"musicurl":"http://a","hqmusicurl":"http://a","thumb_media_id":"1"}`,
		},
		{
			"news",
			&schema.News{Articles: []schema.Article{{Title: "t", URL: "u"}, {}}},
			`"news":{"articles":[{"title":"t","url":"u"},{}]}`,
		},
		{"wxcard", &schema.WxCard{CardID: "1"}, `"wxcard":{"card_id":"1"}`},
		{"mpnews", &schema.MPNews{MediaID: "1"}, `"mpnews":{"media_id":"1"}`},
		{"mpnewsarticle", &schema.MPNewsArticle{ArticleID: "1"},
			`"mpnewsarticle":{"article_id":"1"}`},
		{
			"msgmenu",
			&schema.MsgMenu{HeadContent: "h", List: []schema.MenuItem{{ID: "1", Content: "a"}}},
			`"msgmenu":{"head_content":"h","list":[{"id":"1","content":"a"}]}`,
		},
		{
			"miniprogrampage",
			&schema.MiniProgramPage{Title: "1", AppID: "2", PagePath: "3", ThumbMediaID: "4"},
			`"miniprogrampage":{"title":"1","appid":"2","pagepath":"3","thumb_media_id":"4"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := &schema.Packet{ToUser: "o", Body: tt.body}
			require.Equal(t, tt.name, tt.body.MsgType())
			require.Equal(t, `{"touser":"o","msgtype":"`+tt.name+`",`+tt.want+`}`,
				string(schema.Encode(p)))
			requireRoundTrip(t, p)
		})
	}
	require.Len(t, schema.MsgTypes(), 12)
}

func TestPacketsBuiltInGoWithEverything(t *testing.T) {
	t.Parallel()
	member := func(name, value string) schema.Member {
		m, err := schema.NewMember(name, []byte(value))
		require.NoError(t, err)
		return m
	}
	p := &schema.Packet{
		ToUser: "o",
		Body: &schema.Text{Content: "a",
			Extra: []schema.Member{member("b", ` [ 1.0 , "\u4e2d" ] `)}},
		CustomService: &schema.CustomService{KFAccount: "a@b"},
		AIMsgContext:  &schema.AIMsgContext{IsAIMsg: true},
		Extra: []schema.Member{member("businessid", `1`),
			{Name: "中\n", Value: []byte(`null`)}},
	}
	require.Equal(t, `{"touser":"o","msgtype":"text","text":{"content":"a","b":[1.0,"中"]},`+
		`"customservice":{"kf_account":"a@b"},"aimsgcontext":{"is_ai_msg":1},`+
		`"businessid":1,"中\n":null}`, string(schema.Encode(p)))
	requireRoundTrip(t, p)
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	text := func(content string) *schema.Packet {
		return &schema.Packet{ToUser: "o", Body: &schema.Text{Content: content}}
	}
	extra := func(members ...schema.Member) *schema.Packet {
		p := text("a")
		p.Extra = members
		return p
	}
	one := func(name, value string) schema.Member {
		return schema.Member{Name: name, Value: []byte(value)}
	}
	for _, tt := range []struct {
		name   string
		packet *schema.Packet
		want   string
	}{
		{"an empty packet", &schema.Packet{}, "touser: missing"},
		{"a crafted touser", &schema.Packet{ToUser: "a.>", Body: &schema.Text{Content: "a"}},
			"touser: must be 1 to 128 of A-Z a-z 0-9 _ -"},
		{"no body", &schema.Packet{ToUser: "o"}, "msgtype: missing"},
		{"an empty text", text(""), "text.content: missing"},
		{"a text too long", text(strings.Repeat("a", 2049)),
			"text.content: 2049 bytes, at most 2048"},
		{"invalid UTF-8", text("a\xC4\xE3"), "text.content: not valid UTF-8 at byte 1"},
		{"a control character", text("a\x00"), "text.content: control character U+0000 at byte 1"},
		{"a C1 control character", text("\u0085"),
			"text.content: control character U+0085 at byte 0"},
		{
			"a control character in an optional field",
			&schema.Packet{ToUser: "o",
				Body: &schema.Video{MediaID: "1", ThumbMediaID: "1", Title: "\x1b"}},
			"video.title: control character U+001B at byte 0",
		},
		{"no articles", &schema.Packet{ToUser: "o", Body: &schema.News{}},
			"news.articles: no articles, at least 1"},
		{
			"too many articles",
			&schema.Packet{ToUser: "o", Body: &schema.News{Articles: make([]schema.Article, 11)}},
			"news.articles: 11 articles, at most 10",
		},
		{
			"invalid UTF-8 in an article",
			&schema.Packet{ToUser: "o",
				Body: &schema.News{Articles: []schema.Article{{}, {URL: "\xFF"}}}},
			"news.articles[1].url: not valid UTF-8 at byte 0",
		},
		{
			"a menu entry without content",
			&schema.Packet{ToUser: "o", Body: &schema.MsgMenu{List: []schema.MenuItem{{ID: "1"}}}},
			"msgmenu.list[0].content: missing",
		},
		{
			"an unknown field of an entry",
			&schema.Packet{ToUser: "o", Body: &schema.MsgMenu{List: []schema.MenuItem{
				{ID: "1", Content: "a", Extra: []schema.Member{one("Id", "1")}},
			}}},
			`msgmenu.list[0]: unknown field [0]: named as the known field "id"`,
		},
		{
			"no kfaccount",
			&schema.Packet{ToUser: "o", Body: &schema.Text{Content: "a"},
				CustomService: &schema.CustomService{}},
			"customservice.kf_account: missing",
		},
		{
			"an unknown field of an AI mark",
			&schema.Packet{ToUser: "o", Body: &schema.Text{Content: "a"},
				AIMsgContext: &schema.AIMsgContext{Extra: []schema.Member{{}}}},
			"aimsgcontext: unknown field [0]: not JSON: ends too early at byte 0",
		},
		{"a known field among the unknown", extra(one("Text", "1")),
			`packet: unknown field [0]: named as the known field "text"`},
		{"an unknown field twice", extra(one("a", "1"), one("a", "1")),
			"packet: unknown field [1]: duplicate key"},
		{"an unknown field in two cases", extra(one("a", "1"), one("A", "1")),
			"packet: unknown field [1]: two keys that differ only in letter case"},
		{"an unknown field with a bad name", extra(one("\xFF", "1")),
			"packet: unknown field [0]: not valid UTF-8 at byte 0"},
		{"an unknown field with a bad value", extra(one("a", `"\u0000"`)),
			"packet: unknown field [0]: control character U+0000 at byte 1"},
		{"an unknown field with two values", extra(one("a", `1,"b":2`)),
			"packet: unknown field [0]: not JSON: nothing may follow the value at byte 1"},
		{"an unknown field with white space", extra(one("a", ` 1`)),
			"packet: unknown field [0]: value not in normal form: use NewMember"},
		{"an unknown field with escapes", extra(one("a", `"\u4e2d"`)),
			"packet: unknown field [0]: value not in normal form: use NewMember"},
		{"an unknown field with invalid UTF-8", extra(one("a", "\"\xFF\"")),
			"packet: unknown field [0]: not valid UTF-8 at byte 1"},
		{"an unknown field too deep",
			extra(one("a", strings.Repeat(`[`, 32)+strings.Repeat(`]`, 32))),
			"packet: unknown field [0]: nested deeper than 32 at byte 31"},
		{"a packet too large", extra(one("a", `"`+strings.Repeat("a", schema.MaxPacket)+`"`)),
			"packet: 65597 bytes, at most 65536"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.EqualError(t, tt.packet.Check(schema.Limits{}), tt.want)
		})
	}
}

func TestNewMemberRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, value, want string }{
		{"nothing", ``, "value: not JSON: ends too early at byte 0"},
		{"what is not JSON", `oSECRET`, "value: not JSON: a value must stand here at byte 0"},
		{"invalid UTF-8", "\"\xFF\"", "value: not valid UTF-8 at byte 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := schema.NewMember("a", []byte(tt.value))
			require.EqualError(t, err, tt.want)
		})
	}
}

func TestAChangedMenuIDIsNoNumberAnyMore(t *testing.T) {
	t.Parallel()
	p, err := schema.Decode(
		[]byte(`{"touser":"o","msgtype":"msgmenu","msgmenu":{"list":[{"id":1,"content":"a"}]}}`),
		schema.Limits{})
	require.NoError(t, err)
	list := p.Body.(*schema.MsgMenu).List
	list[0].ID = "2"
	require.Contains(t, string(schema.Encode(p)), `"id":2,`)
	list[0].ID = `2}],"x":[{`
	require.Contains(t, string(schema.Encode(p)), `"id":"2}],\"x\":[{",`)
}

func TestWhatWasNotCheckedIsStillWrittenAsJSON(t *testing.T) {
	t.Parallel()
	require.Equal(t, `{"touser":"\u0000\""}`,
		string(schema.Encode(&schema.Packet{ToUser: "\x00\""})))
}

func TestAppendAllocatesNothing(t *testing.T) {
	// Not parallel: it counts allocations.
	for _, tt := range accepted {
		t.Run(tt.name, func(t *testing.T) {
			p, err := schema.Decode([]byte(tt.packet), schema.Limits{})
			require.NoError(t, err)
			dst := make([]byte, 0, schema.MaxPacket)
			require.Zero(t, testing.AllocsPerRun(10, func() { dst = p.Append(dst[:0]) }))
		})
	}
}

func TestAppendAppends(t *testing.T) {
	t.Parallel()
	p := &schema.Packet{ToUser: "o", Body: &schema.Text{Content: "a"}}
	require.Equal(t, `before{"touser":"o","msgtype":"text","text":{"content":"a"}}`,
		string(p.Append([]byte("before"))))
	require.Equal(t, `{{"touser":"o","msgtype":"text","text":{"content":"a"}}`,
		string(p.Append([]byte("{"))))
}

func TestDecodeAllocatesLittle(t *testing.T) {
	// Not parallel: it counts allocations.
	raw := []byte(`{"touser":"OPENID","msgtype":"text","text":{"content":"Hello World"}}`)
	decode := func() { _, _ = schema.Decode(raw, schema.Limits{}) }
	require.Equal(t, 3.0, testing.AllocsPerRun(100, decode), "the text, the packet and its body")
}

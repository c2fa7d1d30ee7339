package schema_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

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

package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// FuzzDecode holds Decode to its promises: whatever it takes means the same to encoding/json,
// before and after it is written anew, but for what requireSameMeaning lists.
func FuzzDecode(f *testing.F) {
	for _, example := range documented {
		f.Add([]byte(example.packet))
	}
	for _, tt := range accepted {
		f.Add([]byte(tt.packet))
	}
	f.Add([]byte(`{"touser":"o","msgtype":"text","text":{"content":"\ud83d\ude00"},"x":{"\ud83d\ude00":[1e400,-0.0E-1,"\/"]}}`))
	f.Add([]byte(`{"touser":"o","msgtype":"text","text":{"content":"a","Content":"b"}}`))
	f.Add([]byte(`{"touser":"o","msgtype":"text","text":{"content":"\u0000"},"image":{}}`))
	f.Add([]byte("{\"touser\":\"o\",\"msgtype\":\"text\",\"text\":{\"content\":\"\xC2\"}}"))
	f.Add([]byte("{\"touser\":\"o\",\"wxcard\":{\"card_id\":\"\u0085\u00A0\"}}"))
	f.Add([]byte(`{"touser":"o","msgtype":"link","link":{"title":"t","description":"d","url":"URL","thumb_url":"http://a/b"}}`))
	f.Add([]byte(`{"touser":"o","msgtype":"miniprogrampage","miniprogrampage":{"title":"t","pagepath":"p","thumb_media_id":"m"}}`))
	f.Add([]byte(`{"touser":"o","msgtype":"video","video":{"media_id":"m","thumb_media_id":null},"customservice":{"kf_account":null}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		_, strict := schema.Decode(raw, schema.Limits{})
		limits := schema.Limits{VideoThumb: schema.PresenceOptional, Kind: schema.KindMiniProgram}
		p, err := schema.Decode(raw, limits)
		if err != nil {
			require.Error(t, strict)
			var field *schema.FieldError
			require.ErrorAs(t, err, &field)
			require.NotEmpty(t, field.Field)
			require.NotEmpty(t, field.Rule)
			require.Nil(t, p)
			return
		}
		require.True(t, utf8.Valid(raw))
		require.True(t, json.Valid(raw))
		out := schema.Encode(p)
		requireSameMeaning(t, string(raw), string(out))
		requireRoundTripWith(t, p, limits)
		if strict == nil {
			requireRoundTrip(t, p)
		}
		again, err := schema.Decode(out, limits)
		require.NoError(t, err)
		require.Equal(t, string(out), string(schema.Encode(again)))
		require.LessOrEqual(t, len(out), schema.MaxPacket)
		require.Negative(t, bytes.IndexFunc(out, unicode.IsControl))
		require.NotContains(t, string(bytes.ReplaceAll(out, []byte(`\\`), nil)), `\u`)
	})
}

// FuzzNewMember holds the normal form still and its meaning too.
func FuzzNewMember(f *testing.F) {
	f.Add([]byte(` {"a" : [ 1.0 , "\u4e2d\"\n" , null ] } `))
	f.Fuzz(func(t *testing.T, value []byte) {
		m, err := schema.NewMember("x", value)
		if err != nil {
			return
		}
		requireSameMeaning(t, `{"msgtype":0,"x":`+string(value)+`}`,
			`{"msgtype":0,"x":`+string(m.Value)+`}`)
		again, err := schema.NewMember("x", m.Value)
		require.NoError(t, err)
		require.Equal(t, m, again)
		p := &schema.Packet{ToUser: "o", Body: &schema.Text{Content: "a"},
			Extra: []schema.Member{m}}
		if len(value) < schema.MaxPacket/2 {
			requireRoundTrip(t, p)
		}
	})
}

// FuzzCheck holds Check to Decode: what passes the one passes the other and arrives as it was
// built.
func FuzzCheck(f *testing.F) {
	f.Add("o", "a\n\"\\\u2028", "t", "http://a/b", "1", "x", []byte(`[1]`))
	f.Add("o", "", "\x00", "MUSIC_URL", "a@b", "TITLE", []byte(`{}`))
	f.Fuzz(func(t *testing.T, touser, a, b, url, id, name string, value []byte) {
		extra := []schema.Member{{Name: name, Value: value}}
		for _, body := range []schema.Body{
			&schema.Text{Content: a, Extra: extra},
			&schema.Video{MediaID: a, ThumbMediaID: b, Title: id, Description: url},
			&schema.Music{MusicURL: url, HQMusicURL: url, ThumbMediaID: a, Title: b},
			&schema.Music{MusicURL: url, ThumbMediaID: a},
			&schema.Link{Title: a, Description: b, URL: url, ThumbURL: url, Extra: extra},
			&schema.MiniProgramPage{Title: a, PagePath: b, ThumbMediaID: id},
			&schema.News{
				Articles: []schema.Article{{Title: a, Description: b, URL: url, PicURL: id},
					{Extra: extra}}},
			&schema.MsgMenu{HeadContent: a,
				List: []schema.MenuItem{{ID: id, Content: b, Extra: extra}}, TailContent: url},
		} {
			p := &schema.Packet{ToUser: touser, Body: body,
				CustomService: &schema.CustomService{KFAccount: id}, Extra: extra}
			wide := schema.Limits{
				VideoThumb: schema.PresenceOptional, Kind: schema.KindMiniProgram,
			}
			for _, limits := range []schema.Limits{{}, wide} {
				if p.Check(limits) == nil {
					requireRoundTripWith(t, p, limits)
				}
			}
		}
	})
}

// FuzzParseEnvelope reads headers as lines of "Name: value".
func FuzzParseEnvelope(f *testing.F) {
	f.Add("Nats-Msg-Id: 1\nKefu-Expires-At: 2026-11-24T08:15:00.5+08:00\n" +
		"Kefu-Unknown: park\nKefu-Source: shop\ntraceparent: " + traceparent)
	f.Add("Kefu-Send-At: 9999-12-31T23:59:59-23:59")
	f.Add("Kefu-Send-At: 1970-01-01T00:00:00+00:01")
	f.Add("KEFU-SEND-AT: x\nkefu-Send-At: y")
	f.Fuzz(func(t *testing.T, lines string) {
		h := map[string][]string{}
		for line := range strings.Lines(lines) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			h[name] = append(h[name], value)
		}
		e, err := schema.ParseEnvelope(h)
		if err != nil {
			var field *schema.FieldError
			require.True(t, errors.As(err, &field))
			require.NotEmpty(t, field.Field)
			return
		}
		require.NoError(t, e.Check())
		back, err := schema.ParseEnvelope(e.Header())
		require.NoError(t, err)
		require.Equal(t, e, back)
	})
}

// FuzzSubject takes subjects apart and puts them together.
func FuzzSubject(f *testing.F) {
	f.Add("kefu.send.wx1.live.3.o")
	f.Add("kefu.send.wx1.bulk.spring")
	f.Add("kefu.send.wx1.live.*")
	f.Add("kefu.send.wx1.live.999999999.o")
	for _, token := range crafted {
		f.Add("kefu.send." + token + ".live." + token)
	}
	f.Fuzz(func(t *testing.T, subject string) {
		s, err := schema.ParseSubject(subject)
		if err != nil {
			require.Zero(t, s)
			return
		}
		require.NoError(t, s.Check())
		published := s.String()
		require.Negative(t, strings.IndexFunc(published, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' ||
				r > '9') && r != '_' && r != '-' && r != '.'
		}))
		if strings.Count(subject, ".") == strings.Count(published, ".") {
			require.Equal(t, subject, published)
		}
		again, err := schema.ParseSubject(published)
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

package sandbox

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhatAMessageHolds(t *testing.T) {
	t.Parallel()
	strict := MessageSettings{Strict: true}
	of := func(kind, object string) string {
		return fmt.Sprintf(`{"touser":"o1","msgtype":%q,%q:%s}`, kind, kind, object)
	}
	articles := func(n int) string {
		return of("news",
			`{"articles":[`+strings.TrimSuffix(strings.Repeat(`{"title":"t"},`, n), ",")+`]}`)
	}
	from := func(kf string) string {
		return `{"touser":"o1","msgtype":"text","text":{"content":"hi"},"customservice":` + kf + `}`
	}
	for _, tc := range []struct {
		name string
		set  Settings
		body string
		code int
	}{
		{"by default nothing inside is looked at",
			Settings{}, `{"touser":"o1","msgtype":"text"}`, 0},
		{"a good text", Settings{Messages: strict}, of("text", `{"content":"hi"}`), 0},
		{"no object", Settings{Messages: strict}, `{"touser":"o1","msgtype":"text"}`, 40035},
		{"an object under another name",
			Settings{Messages: strict}, `{"touser":"o1","msgtype":"text","image":{"media_id":"m"}}`,
			40035},
		{"no object but a string", Settings{Messages: strict}, of("text", `"hi"`), 40035},
		{"no object but null", Settings{Messages: strict}, of("text", `null`), 40035},
		{"a content that is no string",
			Settings{Messages: strict}, of("text", `{"content":5}`), 40035},
		{"an empty text", Settings{Messages: strict}, of("text", `{"content":""}`), 44004},
		{"an image without its id", Settings{Messages: strict}, of("image", `{}`), 41006},
		{"a good image", Settings{Messages: strict}, of("image", `{"media_id":"m"}`), 0},
		{"a voice without its id", Settings{Messages: strict}, of("voice", `{}`), 41006},
		{"a video without its id",
			Settings{Messages: strict}, of("video", `{"thumb_media_id":"t"}`), 41006},
		{"a video without a thumb", Settings{Messages: strict}, of("video", `{"media_id":"m"}`), 0},
		{"a good video",
			Settings{Messages: strict}, of("video", `{"media_id":"m","thumb_media_id":"t"}`), 0},
		{"music without its URL",
			Settings{Messages: strict}, of("music", `{"thumb_media_id":"t"}`), 41011},
		{"good music", Settings{Messages: strict},
			of("music", `{"musicurl":"u","hqmusicurl":"h","thumb_media_id":"t"}`), 0},
		{"news without articles", Settings{Messages: strict}, articles(0), 44003},
		{"good news", Settings{Messages: strict}, articles(10), 0},
		{"a card without its id", Settings{Messages: strict}, of("wxcard", `{}`), 40073},
		{"a good card", Settings{Messages: strict}, of("wxcard", `{"card_id":"c"}`), 0},
		{"a draft without its id", Settings{Messages: strict}, of("mpnews", `{}`), 41006},
		{"an article without its id", Settings{Messages: strict}, of("mpnewsarticle", `{}`), 53600},
		{"a menu without entries", Settings{Messages: strict}, of("msgmenu", `{"list":[]}`), 41011},
		{"a mini program's page without its path",
			Settings{Messages: strict},
			of("miniprogrampage", `{"title":"t","appid":"a","thumb_media_id":"m"}`), 40165},
		{"a page of another mini program",
			Settings{Messages: strict},
			of("miniprogrampage", `{"title":"t","appid":"a","pagepath":"p","thumb_media_id":"m"}`),
			0},
		{"a mini program's own page",
			Settings{Messages: strict},
			of("miniprogrampage", `{"title":"t","pagepath":"p","thumb_media_id":"m"}`), 0},
		{"a link", Settings{Messages: strict},
			of("link", `{"title":"t","description":"d","url":"u","thumb_url":"p"}`), 0},
		{"a link without its picture",
			Settings{Messages: strict}, of("link", `{"title":"t","description":"d","url":"u"}`),
			41011},

		{"a text of 2048 bytes",
			Settings{Messages: MessageSettings{TextBytes: 2048}},
			of("text", `{"content":"`+strings.Repeat("x", 2048)+`"}`), 0},
		{"a text of 2049 bytes",
			Settings{Messages: MessageSettings{TextBytes: 2048}},
			of("text", `{"content":"`+strings.Repeat("x", 2049)+`"}`), 45002},
		{"683 Chinese characters are 2049 bytes",
			Settings{Messages: MessageSettings{TextBytes: 2048}},
			of("text", `{"content":"`+strings.Repeat("客", 683)+`"}`), 45002},
		{"escapes count as what they mean",
			Settings{Messages: MessageSettings{TextBytes: 3}}, of("text", `{"content":"\u5ba2"}`),
			0},
		{"ten articles of ten", Settings{Messages: MessageSettings{Articles: 10}}, articles(10), 0},
		{"eleven articles of ten",
			Settings{Messages: MessageSettings{Articles: 10}}, articles(11), 45008},
		{"escapes where there may be none",
			Settings{Messages: MessageSettings{NoEscapes: true}},
			of("text", `{"content":"\u5ba2"}`), 40033},
		{"other escapes are none",
			Settings{Messages: MessageSettings{NoEscapes: true}}, of("text", `{"content":"\n\""}`),
			0},
		{"a known medium", Settings{Messages: MessageSettings{Media: []string{"m1", "m2"}}},
			of("image", `{"media_id":"m2"}`), 0},
		{"an unknown medium", Settings{Messages: MessageSettings{Media: []string{"m1", "m2"}}},
			of("image", `{"media_id":"m3"}`), 40007},
		{"an unknown thumb", Settings{Messages: MessageSettings{Media: []string{"m1"}}},
			of("video", `{"media_id":"m1","thumb_media_id":"m3"}`), 40007},
		{"a text where media are known",
			Settings{Messages: MessageSettings{Media: []string{"m1"}}},
			of("text", `{"content":"hi"}`), 0},

		{"an account of the app's",
			Settings{Messages: MessageSettings{KnownKFAccounts: true}},
			from(`{"kf_account":"there@test"}`), 0},
		{"another account", Settings{Messages: MessageSettings{KnownKFAccounts: true}},
			from(`{"kf_account":"else@test"}`), 65401},
		{"another account in old words",
			Settings{
				Messages:   MessageSettings{KnownKFAccounts: true},
				KFAccounts: KFSettings{Errors: KFErrorsOld},
			},
			from(`{"kf_account":"else@test"}`), 61452},
		{"an account that is no object",
			Settings{Messages: MessageSettings{KnownKFAccounts: true}}, from(`"there@test"`),
			65401},
		{"no account at all", Settings{Messages: MessageSettings{KnownKFAccounts: true}},
			of("text", `{"content":"hi"}`), 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Settings: tc.set})
			b.PutKFAccount(app, KFAccount{Account: "there@test"})
			require.Equal(t, tc.code, b.must("POST", b.sendURL(), tc.body).code)
			require.Equal(t, tc.code == 0, b.Received()[0].Delivered)
		})
	}
	for name, rule := range map[string]*Rule{"": nil, ", nor with a rule that delays": {Delay: 1},
		", but is reset by one": {Reset: ResetAfter}} {
		t.Run("too many articles get no answer, as the document says"+name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Options{Settings: Settings{Messages: MessageSettings{Articles: 10,
				SilentArticles: true}}})
			if rule != nil {
				b.Add(*rule)
			}
			failed := make(chan error, 1)
			go func() {
				_, err := b.do("POST", b.sendURL(), articles(11))
				failed <- err
			}()
			require.NoError(t, b.Wait(t.Context(), 1))
			rec := b.Received()[0]
			require.False(t, rec.Delivered || rec.Answered)
			require.Zero(t, rec.HTTPStatus)
			if rule == nil || rule.Reset == "" {
				require.Equal(t, "hang", rec.Fault)
			}
			require.NoError(t, b.Close())
			require.Error(t, errors.Unwrap(<-failed))
		})
	}
}

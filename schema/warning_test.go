package schema_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

func TestWarnings(t *testing.T) {
	t.Parallel()
	const (
		literal = `a backslash and an n, which users see as such: ` +
			`a line break is escaped once in JSON, "\n"`
		blanks = "blanks only, which users do not see"
		number = "not a number: WeChat ignores it and numbers the entries itself, from 101"
	)
	menu := func(ids ...string) string {
		var list []string
		for _, id := range ids {
			list = append(list, `{"id":`+id+`,"content":"a"}`)
		}
		return `{"list":[` + strings.Join(list, ",") + `]}`
	}
	for _, tt := range []struct {
		name, msgtype, body string
		want                []schema.Warning
	}{
		{"a text", "text", `{"content":"a\nb\\ \"n\" 您好"}`, nil},
		{"a literal line break", "text", `{"content":"a\\nb"}`,
			[]schema.Warning{{"text.content", literal}}},
		{"a literal line break of Windows", "text", `{"content":"a\\r\\nb"}`,
			[]schema.Warning{{"text.content", literal}}},
		{"a text of blanks", "text", `{"content":" \n\t　\u00a0\u200b\ufeff"}`,
			[]schema.Warning{{"text.content", blanks}}},
		{"a text with blanks", "text", `{"content":"　a "}`, nil},
		{"menu ids that are numbers", "msgmenu", menu(`"101"`, `102`, `"0"`), nil},
		{
			"menu ids that are none", "msgmenu",
			menu(`"yes"`, `"101"`, `"101_a"`, `1.5`, `"-1"`, `" 7"`, `"１"`),
			[]schema.Warning{
				{"msgmenu.list[0].id", number}, {"msgmenu.list[2].id", number},
				{"msgmenu.list[3].id", number},
				{"msgmenu.list[4].id", number}, {"msgmenu.list[5].id", number},
				{"msgmenu.list[6].id", number},
			},
		},
		{
			"literal line breaks in a menu", "msgmenu",
			`{"tail_content":"\\n","list":[{"id":"a","content":"\\n"}],"head_content":"\\n"}`,
			[]schema.Warning{
				{"msgmenu.head_content", literal}, {"msgmenu.list[0].id", number},
				{"msgmenu.list[0].content", literal},
				{"msgmenu.tail_content", literal},
			},
		},
		{"one article", "news", `{"articles":[{"title":"t"}]}`, nil},
		{
			"two articles", "news", `{"articles":[{},{"description":"\\n","url":"http://a/\\n"}]}`,
			[]schema.Warning{
				{"news.articles[1].description", literal},
				{"news.articles", "2 articles: today's API takes 1 and answers 45008 to more"},
			},
		},
		{"a video's title", "video", `{"media_id":"m","thumb_media_id":"t","title":"\\n"}`,
			[]schema.Warning{{"video.title", literal}}},
		{"what is JSON in a string", "wxcard", `{"card_id":"1","card_ext":"{\"a\":\"\\n\"}"}`, nil},
		{"a link", "link", `{"title":"t","description":"\\n","url":"URL","thumb_url":"THUMB_URL"}`,
			[]schema.Warning{{"link.description", literal}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			packet := `{"touser":"o","msgtype":"` + tt.msgtype + `",` +
				`"` + tt.msgtype + `":` + tt.body + `}`
			p, err := schema.Decode([]byte(packet), schema.Limits{Kind: schema.KindMiniProgram})
			require.NoError(t, err)
			require.Equal(t, tt.want, p.Warnings())
		})
	}
	for name, body := range map[string]schema.Body{
		"no message": nil, "a message that is nil": (*schema.Text)(nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Nil(t, (&schema.Packet{Body: body}).Warnings())
		})
	}
}

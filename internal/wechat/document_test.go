package wechat

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/schema"
)

// The examples of the API document, made JSON where they are none: commas behind the last field,
// one missing in front of kf_headimgurl.

func TestEveryRequestOfTheDocument(t *testing.T) {
	t.Parallel()
	hash := HashPassword("pswmd5").Reveal()
	none := func(*testing.T, *sandbox.Sandbox) {}
	for name, row := range map[string]struct {
		prepare func(t *testing.T, sb *sandbox.Sandbox)
		call    func(ctx context.Context, c *Client) error
		line    string
		body    string // "": not looked at
	}{
		"添加客服帐号": {
			func(_ *testing.T, sb *sandbox.Sandbox) { sb.RemoveKFAccount(testApp, "test1@test") },
			func(ctx context.Context, c *Client) error {
				return c.AddKFAccount(ctx,
					KFAccountChange{"test1@test", "客服1", HashPassword("pswmd5")})
			},
			"/customservice/kfaccount/add",
			`{"kf_account":"test1@test","nickname":"客服1","password":"` + hash + `"}`,
		},
		"修改客服帐号": {
			none,
			func(ctx context.Context, c *Client) error {
				return c.UpdateKFAccount(ctx,
					KFAccountChange{"test1@test", "客服1", HashPassword("pswmd5")})
			},
			"/customservice/kfaccount/update",
			`{"kf_account":"test1@test","nickname":"客服1","password":"` + hash + `"}`,
		},
		"删除客服帐号": {
			none,
			func(ctx context.Context, c *Client) error {
				return c.DeleteKFAccount(ctx, "test1@test")
			},
			"/customservice/kfaccount/del", `{"kf_account":"test1@test"}`,
		},
		"设置客服帐号的头像": {
			none,
			func(ctx context.Context, c *Client) error {
				return c.SetAvatar(ctx, "test1@test", testPhoto)
			},
			"/customservice/kfaccount/uploadheadimg", "",
		},
		"获取所有客服账号": {
			none,
			func(ctx context.Context, c *Client) error { return errOnly(c.KFAccounts(ctx)) },
			"/cgi-bin/customservice/getkflist", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb, c := startSandbox(t, sandbox.Options{})
			row.prepare(t, sb)
			require.NoError(t, row.call(t.Context(), c))
			require.Equal(t, 1, sb.Count(sandbox.Filter{}))
			got := sb.Received()[0]
			require.Equal(t, row.line, got.Path)
			require.True(t, got.Answered)
			require.Zero(t, got.Errcode)
			if row.body != "" {
				require.Equal(t, row.body, got.Body)
			}
		})
	}
}

// documentPackets are the examples of 客服接口-发消息.
var documentPackets = map[string]string{
	"发送文本消息": `{"touser":"OPENID","msgtype":"text","text":{"content":"Hello World"}}`,
	"发送图片消息": `{"touser":"OPENID","msgtype":"image","image":{"media_id":"MEDIA_ID"}}`,
	"发送语音消息": `{"touser":"OPENID","msgtype":"voice","voice":{"media_id":"MEDIA_ID"}}`,
	"发送视频消息": `{"touser":"OPENID","msgtype":"video","video":{"media_id":"MEDIA_ID",` +
		`"thumb_media_id":"MEDIA_ID","title":"TITLE","description":"DESCRIPTION"}}`,
	"发送音乐消息": `{"touser":"OPENID","msgtype":"music","music":{"title":"MUSIC_TITLE",` +
		`"description":"MUSIC_DESCRIPTION","musicurl":"MUSIC_URL",` +
		`"hqmusicurl":"HQ_MUSIC_URL","thumb_media_id":"THUMB_MEDIA_ID"}}`,
	"发送图文消息": `{"touser":"OPENID","msgtype":"news","news":{"articles":[` +
		`{"title":"Happy Day","description":"Is Really A Happy Day",` +
		`"url":"URL","picurl":"PIC_URL"},` +
		`{"title":"Happy Day","description":"Is Really A Happy Day",` +
		`"url":"URL","picurl":"PIC_URL"}]}}`,
	"发送卡券": `{"touser":"OPENID","wxcard":{"card_id":"123dsdajkasd231jhksad",` +
		`"card_ext":"xxxxxxxxxxxxxxxxxxx"}}`,
	"某个客服帐号": `{"touser":"OPENID","msgtype":"text","text":{"content":"Hello World"},` +
		`"customservice":{"kf_account":"test1@kftest"}}`,
}

func TestEveryMessageOfTheDocument(t *testing.T) {
	t.Parallel()
	for name, example := range documentPackets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb, c := startSandbox(t, sandbox.Options{})
			sb.PutKFAccount(testApp, sandbox.KFAccount{Account: "test1@kftest", Nickname: "客服"})
			// As the worker does: it is read and written anew.
			p, err := schema.Decode([]byte(example), schema.Limits{})
			require.NoError(t, err)
			require.NoError(t, c.Send(t.Context(), schema.Encode(p)))
			got := sb.Received()[0]
			require.True(t, got.Delivered)
			require.False(t, got.Escaped)
			if name == "发送卡券" {
				require.Equal(t, "wxcard", got.MsgType, "the example has no msgtype")
				return
			}
			require.JSONEq(t, example, got.Body)
		})
	}
}

// What is published arrives as it was published, character by character.
func TestTextsArriveRaw(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"Chinese":             "您的订单已发货",
		"emoji":               "👨‍👩‍👧‍👦 🇨🇳 👍🏽",
		"a link":              `<a href="https://example.com/?a=1&b=2">看</a>`,
		"line and paragraph":  "a\u2028b\u2029c",
		"line breaks, tabs":   "a\nb\tc\r\n",
		"quotes and slashes":  `"\/'`,
		"what looks like one": `\u4f60 \n`,
		"beyond the BMP":      "𠮷野家",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb, c := startSandbox(t, sandbox.Options{})
			body := schema.Encode(&schema.Packet{ToUser: testOpenID,
				Body: &schema.Text{Content: text}})
			require.NoError(t, c.Send(t.Context(), body))
			got := sb.Received()[0].Body
			require.Equal(t, string(body), got)
			require.NotContains(t, got, `\u003c`)
			require.NotContains(t, got, `\u2028`)
			p, err := schema.Decode([]byte(got), schema.Limits{})
			require.NoError(t, err)
			require.Equal(t, text, p.Body.(*schema.Text).Content)
		})
	}
	for name, packet := range map[string]string{
		"a control character": `{"touser":"o","msgtype":"text","text":{"content":"a\u0001"}}`,
		"a lone surrogate":    `{"touser":"o","msgtype":"text","text":{"content":"a\ud83d"}}`,
		"not UTF-8": `{"touser":"o","msgtype":"text","text":{"content":"a` + "\xff" +
			`"}}`,
	} {
		_, err := schema.Decode([]byte(packet), schema.Limits{})
		var why *schema.FieldError
		require.ErrorAs(t, err, &why, name)
		require.NotEmpty(t, why.Rule, name)
	}
}

func TestEveryReplyOfTheDocument(t *testing.T) {
	t.Parallel()
	t.Run("the accounts", func(t *testing.T) {
		t.Parallel()
		a := newAnswering(t, "application/json", `{
    "kf_list": [
        {
            "kf_account": "test1@test",
            "kf_nick": "ntest1",
            "kf_id": "1001",
            "kf_headimgurl": " http://mmbiz.qpic.cn/mmbiz/4whpV1VZl2iccsvYbHvnphkyGtnvjfUS8Ym0GSaLic0FD3vN0V8PILcibEGb2fPfEOmw/0"
        },
        {
            "kf_account": "test2@test",
            "kf_nick": "ntest2",
            "kf_id": "1002",
            "kf_headimgurl": " http://mmbiz.qpic.cn/mmbiz/4whpV1VZl2iccsvYbHvnphkyGtnvjfUS8Ym0GSaLic0FD3vN0V8PILcibEGb2fPfEOmw /0"
        },
        {
            "kf_account": "test3@test",
            "kf_nick": "ntest3",
            "kf_id": "1003",
            "kf_headimgurl": " http://mmbiz.qpic.cn/mmbiz/4whpV1VZl2iccsvYbHvnphkyGtnvjfUS8Ym0GSaLic0FD3vN0V8PILcibEGb2fPfEOmw /0"
        }
    ]
}`)
		got, err := a.client(t).KFAccounts(t.Context())
		require.NoError(t, err)
		const picture = "http://mmbiz.qpic.cn/mmbiz/" +
			"4whpV1VZl2iccsvYbHvnphkyGtnvjfUS8Ym0GSaLic0FD3vN0V8PILcibEGb2fPfEOmw/0"
		require.Equal(t, []KFAccount{
			{Account: "test1@test", Nick: "ntest1", ID: "1001", HeadImg: picture},
			{Account: "test2@test", Nick: "ntest2", ID: "1002", HeadImg: picture},
			{Account: "test3@test", Nick: "ntest3", ID: "1003", HeadImg: picture},
		}, got)
	})
	t.Run("ok", func(t *testing.T) {
		t.Parallel()
		a := newAnswering(t, "application/json",
			"{\n     \"errcode\" : 0,\n     \"errmsg\" : \"ok\"\n}")
		for _, m := range methods[:7] {
			require.NoError(t, m.call(t.Context(), a.client(t)), m.name)
		}
	})
}

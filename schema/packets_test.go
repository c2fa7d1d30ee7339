package schema_test

import "strings"

// documented are the example packets of the API's customer-service message page, as they stand
// there. Only the wxcard example is mended: the page prints commas before two closing braces, which
// no JSON parser takes.
var documented = []struct{ name, packet string }{
	{"text", `{
    "touser":"OPENID",
    "msgtype":"text",
    "text":
    {
         "content":"Hello World"
    }
}`},
	{"image", `{
    "touser":"OPENID",
    "msgtype":"image",
    "image":
    {
      "media_id":"MEDIA_ID"
    }
}`},
	{"voice", `{
    "touser":"OPENID",
    "msgtype":"voice",
    "voice":
    {
      "media_id":"MEDIA_ID"
    }
}`},
	{"video", `{
    "touser":"OPENID",
    "msgtype":"video",
    "video":
    {
      "media_id":"MEDIA_ID",
      "thumb_media_id":"MEDIA_ID",
      "title":"TITLE",
      "description":"DESCRIPTION"
    }
}`},
	{"music", `{
    "touser":"OPENID",
    "msgtype":"music",
    "music":
    {
      "title":"MUSIC_TITLE",
      "description":"MUSIC_DESCRIPTION",
      "musicurl":"MUSIC_URL",
      "hqmusicurl":"HQ_MUSIC_URL",
      "thumb_media_id":"THUMB_MEDIA_ID" 
    }
}`},
	{"news", `{
    "touser":"OPENID",
    "msgtype":"news",
    "news":{
        "articles": [
         {
             "title":"Happy Day",
             "description":"Is Really A Happy Day",
             "url":"URL",
             "picurl":"PIC_URL"
         },
         {
             "title":"Happy Day",
             "description":"Is Really A Happy Day",
             "url":"URL",
             "picurl":"PIC_URL"
         }
         ]
    }
}`},
	{"wxcard", `{

  "touser":"OPENID", 
  "wxcard":{              
           "card_id":"123dsdajkasd231jhksad",
           "card_ext":"xxxxxxxxxxxxxxxxxxx"             
            }
}`},
	{"text from a kfaccount", `{
    "touser":"OPENID",
    "msgtype":"text",
    "text":
    {
         "content":"Hello World"
    },
    "customservice":
    {
         "kf_account": "test1@kftest"
    }
}`},
}

// arrived are what each of them looks like when it goes to the API.
var arrived = map[string]string{
	"text":                  `{"touser":"OPENID","msgtype":"text","text":{"content":"Hello World"}}`,
	"image":                 `{"touser":"OPENID","msgtype":"image","image":{"media_id":"MEDIA_ID"}}`,
	"voice":                 `{"touser":"OPENID","msgtype":"voice","voice":{"media_id":"MEDIA_ID"}}`,
	"video":                 `{"touser":"OPENID","msgtype":"video","video":{"media_id":"MEDIA_ID","thumb_media_id":"MEDIA_ID","title":"TITLE","description":"DESCRIPTION"}}`,
	"music":                 `{"touser":"OPENID","msgtype":"music","music":{"musicurl":"MUSIC_URL","hqmusicurl":"HQ_MUSIC_URL","thumb_media_id":"THUMB_MEDIA_ID","title":"MUSIC_TITLE","description":"MUSIC_DESCRIPTION"}}`,
	"news":                  `{"touser":"OPENID","msgtype":"news","news":{"articles":[{"title":"Happy Day","description":"Is Really A Happy Day","url":"URL","picurl":"PIC_URL"},{"title":"Happy Day","description":"Is Really A Happy Day","url":"URL","picurl":"PIC_URL"}]}}`,
	"wxcard":                `{"touser":"OPENID","msgtype":"wxcard","wxcard":{"card_id":"123dsdajkasd231jhksad","card_ext":"xxxxxxxxxxxxxxxxxxx"}}`,
	"text from a kfaccount": `{"touser":"OPENID","msgtype":"text","text":{"content":"Hello World"},"customservice":{"kf_account":"test1@kftest"}}`,
}

// accepted are packets that arrive as something else than their own bytes, or that are at the edge
// of a rule.
var accepted = []struct{ name, packet, want string }{
	{
		"escapes arrive as raw UTF-8",
		`{"touser":"o","msgtype":"text","text":{"content":"\u4e2d\u6587 \ud83d\ude00 \u003ca href=\"https:\/\/a.b\/?x=1\u0026y=2\"\u003e\u003c\/a\u003e \u2028\u2029\ufffd"}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"中文 😀 <a href=\"https://a.b/?x=1&y=2\"></a> ` + "\u2028\u2029\uFFFD" + `"}}`,
	},
	{
		"raw UTF-8 stays",
		`{"touser":"o","msgtype":"text","text":{"content":"中文 😀 <&> ` + "\u2028\u00A0\uFEFF" +
			`"}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"中文 😀 <&> ` + "\u2028\u00A0\uFEFF" +
			`"}}`,
	},
	{
		"tab and line breaks stay escaped",
		`{"touser":"o","msgtype":"text","text":{"content":"a\n\r\t\u000a\u000D\u0009\\\u005c\u0022"}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"a\n\r\t\n\r\t\\\\\""}}`,
	},
	{
		"a blank text is a text",
		`{"touser":"o","msgtype":"text","text":{"content":" "}}`,
		`{"touser":"o","msgtype":"text","text":{"content":" "}}`,
	},
	{
		"optional fields that are empty arrive empty",
		`{"touser":"o","msgtype":"video","video":{"description":"","media_id":"1","title":"","thumb_media_id":"2"}}`,
		`{"touser":"o","msgtype":"video","video":{"media_id":"1","thumb_media_id":"2","title":"","description":""}}`,
	},
	{
		"unknown fields are kept, in order, numbers digit for digit",
		`{"z":[ -0 , 1.50, 1E+2,12345678901234567890,{"b":null,"a":true,"":{}}],"touser":"o","businessid":1,"msgtype":"text","text":{"y":"\u4e2d","content":"a","x":false},"customservice":{"kf_account":"a@b","n":[]},"aimsgcontext":{"m":0.10,"is_ai_msg":1}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"a","y":"中","x":false},"customservice":{"kf_account":"a@b","n":[]},"aimsgcontext":{"is_ai_msg":1,"m":0.10},"z":[-0,1.50,1E+2,12345678901234567890,{"b":null,"a":true,"":{}}],"businessid":1}`,
	},
	{
		"unknown fields may bear known names where these are not known",
		`{"touser":"o","msgtype":"text","text":{"content":"a","touser":1},"content":2,"x":{"TOUSER":3}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"a","touser":1},"content":2,"x":{"TOUSER":3}}`,
	},
	{
		"a known key may be written with escapes",
		`{"to\u0075ser":"o","msgtype":"text","text":{"content":"a"}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"a"}}`,
	},
	{
		"articles may be empty, and of any URL",
		`{"touser":"o","msgtype":"news","news":{"articles":[{},{"url":"","more":1,"title":"t"}]}}`,
		`{"touser":"o","msgtype":"news","news":{"articles":[{},{"title":"t","url":"","more":1}]}}`,
	},
	{
		"ids of a menu may be strings or numbers",
		`{"touser":"o","msgtype":"msgmenu","msgmenu":{"tail_content":"","list":[{"content":"a","id":"101"},{"id":102,"content":"b"},{"id":1.0e2,"content":"c","x":1}],"head_content":"h"}}`,
		`{"touser":"o","msgtype":"msgmenu","msgmenu":{"head_content":"h","list":[{"id":"101","content":"a"},{"id":102,"content":"b"},{"id":1.0e2,"content":"c","x":1}],"tail_content":""}}`,
	},
	{
		"a card may say its msgtype",
		`{"wxcard":{"card_id":"1"},"msgtype":"wxcard","touser":"o"}`,
		`{"touser":"o","msgtype":"wxcard","wxcard":{"card_id":"1"}}`,
	},
	{
		"music has absolute URLs",
		`{"touser":"o","msgtype":"music","music":{"musicurl":"http://例子.cn/歌.mp3","hqmusicurl":"HTTPS://a:8080/?q#f","thumb_media_id":"1"}}`,
		`{"touser":"o","msgtype":"music","music":{"musicurl":"http://例子.cn/歌.mp3","hqmusicurl":"HTTPS://a:8080/?q#f","thumb_media_id":"1"}}`,
	},
	{
		"mpnews, not made by an AI",
		`{"touser":"o","msgtype":"mpnews","mpnews":{"media_id":"1"},"aimsgcontext":{"is_ai_msg":0}}`,
		`{"touser":"o","msgtype":"mpnews","mpnews":{"media_id":"1"},"aimsgcontext":{"is_ai_msg":0}}`,
	},
	{
		"mpnewsarticle",
		`{"touser":"o","msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"1"}}`,
		`{"touser":"o","msgtype":"mpnewsarticle","mpnewsarticle":{"article_id":"1"}}`,
	},
	{
		"miniprogrampage",
		`{"touser":"o","msgtype":"miniprogrampage","miniprogrampage":{"thumb_media_id":"4","pagepath":"3","appid":"2","title":"1"}}`,
		`{"touser":"o","msgtype":"miniprogrampage","miniprogrampage":{"title":"1","appid":"2","pagepath":"3","thumb_media_id":"4"}}`,
	},
	{
		"null in an optional field is left out",
		`{"touser":"o","msgtype":"video","video":{"title":null,"media_id":"1","description": null ,"thumb_media_id":"2"},"customservice":null,"aimsgcontext":null}`,
		`{"touser":"o","msgtype":"video","video":{"media_id":"1","thumb_media_id":"2"}}`,
	},
	{
		"null in the objects of other types is left out",
		`{"touser":"o","msgtype":"text","image":null,"text":{"content":"a"},"news":null,"link":null}`,
		`{"touser":"o","msgtype":"text","text":{"content":"a"}}`,
	},
	{
		"null in the only field of an optional object leaves the object out",
		`{"touser":"o","msgtype":"text","text":{"content":"a"},"customservice":{"kf_account":null},"aimsgcontext":{"is_ai_msg":null}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"a"}}`,
	},
	{
		"null as the msgtype of a card",
		`{"touser":"o","msgtype":null,"wxcard":{"card_id":"1","card_ext":null}}`,
		`{"touser":"o","msgtype":"wxcard","wxcard":{"card_id":"1"}}`,
	},
	{
		"null in articles and in a menu",
		`{"touser":"o","msgtype":"news","news":{"articles":[{"title":null,"url":"u","picurl":null}]}}`,
		`{"touser":"o","msgtype":"news","news":{"articles":[{"url":"u"}]}}`,
	},
	{
		"null around a menu",
		`{"touser":"o","msgtype":"msgmenu","msgmenu":{"head_content":null,"list":[{"id":"1","content":"a"}],"tail_content":null}}`,
		`{"touser":"o","msgtype":"msgmenu","msgmenu":{"list":[{"id":"1","content":"a"}]}}`,
	},
	{
		"null in an unknown field is forwarded",
		`{"touser":"o","msgtype":"text","text":{"content":"a","x":null},"y":[null],"businessid":null}`,
		`{"touser":"o","msgtype":"text","text":{"content":"a","x":null},"y":[null],"businessid":null}`,
	},
	{
		"a missing hqmusicurl is filled",
		`{"touser":"o","msgtype":"music","music":{"musicurl":"http://a/\u6b4c","thumb_media_id":"1","title":"t"}}`,
		`{"touser":"o","msgtype":"music","music":{"musicurl":"http://a/歌","hqmusicurl":"http://a/歌","thumb_media_id":"1","title":"t"}}`,
	},
	{
		"an hqmusicurl of null is filled",
		`{"touser":"o","msgtype":"music","music":{"hqmusicurl":null,"musicurl":"MUSIC_URL","thumb_media_id":"1"}}`,
		`{"touser":"o","msgtype":"music","music":{"musicurl":"MUSIC_URL","hqmusicurl":"MUSIC_URL","thumb_media_id":"1"}}`,
	},
	{
		"white space around and within",
		" \t\r\n{ \"touser\" : \"o\" ,\n\"msgtype\" : \"text\" , \"text\" : { \"content\" : \"a\" } , \"x\" : [ 1 , { } , [ ] ] } \n",
		`{"touser":"o","msgtype":"text","text":{"content":"a"},"x":[1,{},[]]}`,
	},
	{
		"the deepest nesting",
		`{"touser":"o","msgtype":"text","text":{"content":"a"},"x":` + strings.Repeat(`[`, 31) +
			strings.Repeat(`]`, 31) + `}`,
		`{"touser":"o","msgtype":"text","text":{"content":"a"},"x":` + strings.Repeat(`[`, 31) +
			strings.Repeat(`]`, 31) + `}`,
	},
	{
		"the longest text, in bytes",
		`{"touser":"o","msgtype":"text","text":{"content":"` + strings.Repeat("订", 682) + `xx"}}`,
		`{"touser":"o","msgtype":"text","text":{"content":"` + strings.Repeat("订", 682) + `xx"}}`,
	},
}

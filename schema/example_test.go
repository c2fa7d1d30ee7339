package schema_test

import (
	"fmt"

	"github.com/kefuhq/kefu/schema"
)

func ExampleDecode() {
	p, err := schema.Decode([]byte(`{
		"touser": "OPENID",
		"msgtype": "text",
		"text": {"content": "Hello \u4e16\u754c"},
		"customservice": {"kf_account": "test1@kftest"},
		"businessid": 1.0
	}`), schema.Limits{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if text, ok := p.Body.(*schema.Text); ok {
		fmt.Println(text.Content)
	}
	fmt.Println(string(schema.Encode(p)))
	// Output:
	// Hello 世界
	// {"touser":"OPENID","msgtype":"text","text":{"content":"Hello 世界"},"customservice":{"kf_account":"test1@kftest"},"businessid":1.0}
}

func ExampleDecode_refused() {
	for _, packet := range []string{
		`{"touser":"OPENID","msgtype":"image","image":{}}`,
		`{"touser":"OPENID","msgtype":"text","text":{"content":"a"},"Touser":"OTHER"}`,
		`{"touser":"OPENID","msgtype":"text","text":{"content":"a"},}`,
	} {
		_, err := schema.Decode([]byte(packet), schema.Limits{})
		fmt.Println(err)
	}
	// Output:
	// image.media_id: missing
	// touser: must be spelled in lower case
	// packet: not JSON: trailing comma at byte 58
}

// A producer builds a packet, checks it, and publishes it under the subject of its recipient.
// Package publisher does the latter two.
func ExamplePacket() {
	p := &schema.Packet{
		ToUser: "OPENID",
		Body: &schema.News{Articles: []schema.Article{
			{Title: "Happy Day", URL: "https://example.com/?a=1&b=2"},
		}},
		CustomService: &schema.CustomService{KFAccount: "test1@kftest"},
	}
	if err := p.Check(schema.Limits{}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(schema.LiveSubject("wx0000000000000001", p.ToUser))
	fmt.Println(string(schema.Encode(p)))
	// Output:
	// kefu.send.wx0000000000000001.live.OPENID
	// {"touser":"OPENID","msgtype":"news","news":{"articles":[{"title":"Happy Day","url":"https://example.com/?a=1&b=2"}]},"customservice":{"kf_account":"test1@kftest"}}
}

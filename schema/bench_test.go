package schema_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/schema"
)

// plain is the packet as a producer without this package would declare it, for comparison.
type plain struct {
	ToUser  string `json:"touser"`
	MsgType string `json:"msgtype"`
	Text    *struct {
		Content string `json:"content"`
	} `json:"text,omitempty"`
	News *struct {
		Articles []struct {
			Title       string `json:"title"`
			Description string `json:"description"`
			URL         string `json:"url"`
			PicURL      string `json:"picurl"`
		} `json:"articles"`
	} `json:"news,omitempty"`
	CustomService *struct {
		KFAccount string `json:"kf_account"`
	} `json:"customservice,omitempty"`
}

var benchPackets = []struct{ name, packet string }{
	{"text",
		`{"touser":"oABCDEFGHIJKLMNOPQRSTUVWXYZ0","msgtype":"text","text":{"content":"您好,您的订单已经发货,预计明天送达。"},"customservice":{"kf_account":"test1@kftest"}}`},
	{"escapes",
		`{"touser":"oABCDEFGHIJKLMNOPQRSTUVWXYZ0","msgtype":"text","text":{"content":"\u60a8\u597d\n<a href=\"https:\/\/example.com\/?a=1&b=2\">\u8ba2\u5355<\/a>"}}`},
	{"longtext",
		`{"touser":"oABCDEFGHIJKLMNOPQRSTUVWXYZ0","msgtype":"text","text":{"content":"` +
			strings.Repeat("订单", 340) + `"}}`},
	{"news",
		`{"touser":"OPENID","msgtype":"news","news":{"articles":[{"title":"Happy Day","description":"Is Really A Happy Day","url":"https://example.com/a","picurl":"https://example.com/a.png"},{"title":"Happy Day","description":"Is Really A Happy Day","url":"URL","picurl":"PIC_URL"}]}}`},
}

func BenchmarkDecode(b *testing.B) {
	for _, bench := range benchPackets {
		raw := []byte(bench.packet)
		b.Run(bench.name+"/kefu", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := schema.Decode(raw, schema.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(bench.name+"/encoding-json", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				var p plain
				if err := json.Unmarshal(raw, &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, bench := range benchPackets {
		raw := []byte(bench.packet)
		b.Run(bench.name+"/kefu", func(b *testing.B) {
			p, err := schema.Decode(raw, schema.Limits{})
			require.NoError(b, err)
			dst := make([]byte, 0, len(raw))
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				dst = p.Append(dst[:0])
			}
		})
		b.Run(bench.name+"/encoding-json", func(b *testing.B) {
			var p plain
			require.NoError(b, json.Unmarshal(raw, &p))
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := json.Marshal(&p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkHostile measures what the worst packets of the largest size cost: none may hold up a
// worker.
func BenchmarkHostile(b *testing.B) {
	for name, raw := range hostile() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = schema.Decode(raw, schema.Limits{})
			}
		})
	}
}

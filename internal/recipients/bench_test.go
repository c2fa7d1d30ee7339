package recipients

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// order is a template of three places.
const order = `{"msgtype":"text","text":{"content":"{{name}}，您的订单 {{order}} 已发货，预计 {{date}} 送达，` +
	`请注意查收。"}}`

// table of n recipients, with Chinese in it.
func people(n int) []byte {
	var b bytes.Buffer
	b.WriteString("openid,name,order,date,city\n")
	for i := range n {
		fmt.Fprintf(&b, "oABCDEFGHIJKLMNOPQRST%07d,张小明%d,2026113000%07d,12月%d日,上海市浦东新区\n",
			i, i%100, i, i%30+1)
	}
	return b.Bytes()
}

func BenchmarkRead(b *testing.B) {
	const rows = 100_000
	file := people(rows)
	t := template(b, order)
	b.ReportAllocs()
	for b.Loop() {
		r, err := Open(bytes.NewReader(file), Options{Template: t})
		require.NoError(b, err)
		for err == nil {
			_, err = r.Next()
		}
		r.Close()
		require.Equal(b, io.EOF, err)
		require.Equal(b, rows, r.Summary().Recipients)
	}
	n := float64(b.N * rows)
	b.ReportMetric(n/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(len(file))/rows, "text-B/row")
}

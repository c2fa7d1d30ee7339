package recipients

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// order is a template of three places.
const order = `{"msgtype":"text","text":{"content":"{{name}}，您的订单 {{order}} 已发货，` +
	`预计 {{date}} 送达，请注意查收。"}}`

// people is a table of n recipients, with Chinese in it.
func people(n int) []byte {
	var b bytes.Buffer
	b.WriteString("openid,name,order,date,city\n")
	for i := range n {
		fmt.Fprintf(&b, "oABCDEFGHIJKLMNOPQRST%07d,张小明%d,2026113000%07d,12月%d日,上海市\n",
			i, i%100, i, i%30+1)
	}
	return b.Bytes()
}

// objects are the rows of a table as NDJSON.
func objects(table []byte) []byte {
	var b bytes.Buffer
	lines := bytes.Split(bytes.TrimSpace(table), []byte("\n"))
	for _, line := range lines[1:] {
		columns := make(map[string]string)
		for i, cell := range bytes.Split(line, []byte(",")) {
			columns[string(bytes.Split(lines[0], []byte(","))[i])] = string(cell)
		}
		row, err := json.Marshal(columns)
		if err != nil {
			panic(err) // strings only
		}
		b.Write(append(row, '\n'))
	}
	return b.Bytes()
}

func BenchmarkRead(b *testing.B) {
	const rows = 50_000
	table := people(rows)
	t := template(b, order)
	for name, file := range map[string][]byte{
		"CSV": table, "GB18030": []byte(gb(string(table))), "gzip": []byte(gzipped(string(table))),
		"NDJSON": objects(table),
	} {
		b.Run(name, func(b *testing.B) {
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
			b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(len(file))/rows, "B/row")
		})
	}
}

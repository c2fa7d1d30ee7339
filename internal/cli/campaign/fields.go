package campaign

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/recipients"
)

// someRows returns a number of rows; "" for 0, which is not worth a line.
func someRows(n int) string {
	if n == 0 {
		return ""
	}
	return cli.Grouped(int64(n))
}

func summaryFields(s recipients.Summary) []cli.Field {
	var types []string
	for t, n := range s.MsgTypes {
		types = append(types, fmt.Sprintf("%s %s", cli.Grouped(int64(n)), t))
	}
	slices.Sort(types)
	return []cli.Field{
		{Name: "rows", Value: cli.Grouped(int64(s.Rows))},
		{Name: "recipients", Value: cli.Grouped(int64(s.Recipients)), Style: cli.Green},
		{Name: "repeated", Value: someRows(s.Repeated)},
		{Name: "invalid", Value: someRows(s.Invalid), Style: cli.Yellow},
		{Name: "msgtypes", Value: strings.Join(types, ", ")},
	}
}

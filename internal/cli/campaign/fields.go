package campaign

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kefuhq/kefu/internal/campaign"
	"github.com/kefuhq/kefu/internal/cli"
)

// someRows returns a number of rows; "" for 0, which is not worth a line.
func someRows(n int) string {
	if n == 0 {
		return ""
	}
	return cli.Grouped(int64(n))
}

func summaryFields(s campaign.Summary) []cli.Field {
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

func resultFields(r campaign.Result) []cli.Field {
	return []cli.Field{
		{Name: "campaign", Value: r.Campaign},
		{Name: "app", Value: r.AppID},
		{Name: "rows done", Value: fmt.Sprintf("%s of %s", cli.Grouped(int64(r.Next)),
			cli.Grouped(int64(r.Rows)))},
		{Name: "published", Value: cli.Grouped(int64(r.Published)), Style: cli.Green},
		{Name: "were queued already", Value: someRows(r.Duplicates)},
		{Name: "repeated", Value: someRows(r.Repeated)},
		{Name: "left out", Value: someRows(r.Invalid), Style: cli.Yellow},
		{Name: "send at", Value: cli.Moment(r.SendAt)},
		{Name: "expires at", Value: cli.Moment(r.ExpiresAt)},
		{Name: "finished", Value: cli.Moment(r.FinishedAt)},
	}
}

//go:build browser

package browser

import (
	"fmt"
	"testing"
)

// TestAnOrdinaryDay shows what an operator sees while one app is held and a campaign goes on. Its
// pictures are those of the README.
func TestAnOrdinaryDay(t *testing.T) {
	d := startDev(t)
	d.rule(map[string]any{"call": "send", "appid": app2, "errcode": 45009,
		"errmsg": "reach max api daily quota limit"})
	for i := range 12 {
		d.kefu("send", "--app", app1, "--openid", fmt.Sprintf("oUser%d", i), "--text", "您的订单已发货",
			"--id", fmt.Sprintf("order-%d-shipped", 4711+i), "--source", "shop")
	}
	for i := range 3 {
		d.kefu("send", "--app", app2, "--openid", fmt.Sprintf("oMember%d", i), "--text", "积分到账",
			"--id", fmt.Sprintf("points-%d", i), "--source", "points")
	}
	d.campaign("spring-2027", 4000, "--rate", "60")
	b := newTab(t, look{"en", "light", 1280})
	b.open(d.console + "/")
	b.until("1 of 3 apps are held")
	b.until("45015")
	b.until("spring-2027")
	b.check("day-overview")

	zh := newTab(t, look{"zh", "light", 1280})
	zh.open(d.console + "/dead")
	zh.until("45015")
	zh.check("day-dead")
	first := eval[string](zh, `document.querySelector("#letters td.title a").getAttribute("href")`)

	dark := newTab(t, look{"en", "dark", 1280})
	dark.open(d.console + first)
	dark.until("What to do:")
	dark.check("day-letter")

	small := newTab(t, look{"zh", "dark", 390})
	small.open(d.console + "/campaigns/" + app1 + "/spring-2027")
	small.until("spring-2027")
	small.check("day-campaign")
}

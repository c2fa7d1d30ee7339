// Package lettertest makes dead letters for tests.
package lettertest

import (
	"time"

	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// What the letters of tests are about.
const (
	App    = "wx0000000000000001"
	OpenID = "oABCDEFGHIJKLMNOPQRSTUVWXYZ0"
)

// Noon is when they died.
var Noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// Letter returns one that a replay would send.
func Letter(id string, change ...func(*schema.Letter)) *schema.Letter {
	l := &schema.Letter{
		ID: id, AppID: App, Generation: 1, Lane: schema.LaneLive, OpenID: OpenID,
		Reason:  schema.ReasonExhausted,
		Detail:  "the API was busy six times",
		Subject: "kefu.send." + App + ".live." + OpenID, Sequence: 7,
		PublishedAt: Noon.Add(-time.Hour), DiedAt: Noon, Worker: "worker-1",
		Headers: map[string][]string{"Nats-Msg-Id": {id}},
	}
	wire.SetPacket(l, []byte(`{"touser":"`+OpenID+
		`","msgtype":"text","text":{"content":"`+id+`"}}`))
	for _, f := range change {
		f(l)
	}
	return l
}

// Of gives a letter a reason.
func Of(reason schema.Reason) func(*schema.Letter) {
	return func(l *schema.Letter) { l.Reason = reason }
}

// Code gives a letter an errcode.
func Code(n int) func(*schema.Letter) {
	return func(l *schema.Letter) { l.Errcode = &n }
}

// Bulk makes a letter one of a campaign.
func Bulk(campaign string) func(*schema.Letter) {
	return func(l *schema.Letter) {
		l.Lane, l.Campaign, l.Subject = schema.LaneBulk, campaign,
			"kefu.send."+l.AppID+".bulk."+campaign
	}
}

// OfApp makes a letter one of another app.
func OfApp(appID string) func(*schema.Letter) {
	return func(l *schema.Letter) {
		l.AppID, l.Subject = appID, "kefu.send."+appID+".live."+OpenID
	}
}

// Header gives a letter a header.
func Header(name, value string) func(*schema.Letter) {
	return func(l *schema.Letter) { l.Headers[name] = []string{value} }
}

// Published says when the intent of a letter was published.
func Published(at time.Time) func(*schema.Letter) {
	return func(l *schema.Letter) { l.PublishedAt = at }
}

package wechat

import (
	"context"
	"net/url"
	"regexp"
	"time"
)

// PastCall is what WeChat remembers of a call, for 7 days. What it was made with, the access token before all, is taken
// out of URL, Body and Response; openids and texts are not: they are what is asked for.
type PastCall struct {
	At       time.Time `json:"invoke_time"`
	Millis   int64     `json:"cost_in_ms"`
	URL      string    `json:"request_url"`
	Body     string    `json:"request_body"`
	Response string    `json:"response_body"`
	ClientIP string    `json:"client_ip"` // the address that WeChat saw
}

// RID asks what became of a call by the rid in its errmsg. 76001: not found, or older than 7 days; 76003: another
// account's.
func (c *Client) RID(ctx context.Context, rid string) (PastCall, error) {
	r, err := c.do(ctx, c.post(CallQuota, "/cgi-bin/openapi/rid/get"), encode(struct {
		RID string `json:"rid"`
	}{rid}))
	if err != nil {
		return PastCall{}, err
	}
	var p struct {
		At       loose `json:"invoke_time"`
		Millis   loose `json:"cost_in_ms"`
		URL      loose `json:"request_url"`
		Body     loose `json:"request_body"`
		Response loose `json:"response_body"`
		ClientIP loose `json:"client_ip"`
	}
	if err := r.into(CallQuota, "request", &p); err != nil {
		return PastCall{}, err
	}
	place, m := redactQuery(string(p.URL))
	return PastCall{
		At: p.At.time(), Millis: p.Millis.integer(), URL: place, ClientIP: string(p.ClientIP),
		Body: redactFields(m.redact(string(p.Body))), Response: redactFields(m.redact(string(p.Response))),
	}, nil
}

var (
	queryValue = regexp.MustCompile(`=([^&#\s]*)`)
	// A field that holds a secret, in the JSON of a body; the text may end within it.
	secretField = regexp.MustCompile(`"((?i:[a-z_]*(?:token|secret|password|ticket)))"\s*:\s*"(?:[^"\\]|\\.)*(?:"|\\?$)`)
)

// redactQuery hides every value of a query, which may stand alone or behind a URL, and returns them as a mask for the
// texts that go with it.
func redactQuery(s string) (string, mask) {
	var values []string
	for _, found := range queryValue.FindAllStringSubmatch(s, -1) {
		values = append(values, found[1])
		if plain, err := url.QueryUnescape(found[1]); err == nil && plain != found[1] {
			values = append(values, plain)
		}
	}
	return queryValue.ReplaceAllString(s, "="+redacted), hide(values...)
}

func redactFields(body string) string {
	return secretField.ReplaceAllString(body, `"$1":"`+redacted+`"`)
}

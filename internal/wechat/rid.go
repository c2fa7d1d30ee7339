package wechat

import (
	"cmp"
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// PastCall is what WeChat remembers of a call, for 7 days. What it was made with, the access token
// before all, is taken out of URL, Body and Response; openids and texts are not: they are what is
// asked for.
type PastCall struct {
	At       time.Time `json:"invoke_time"`
	Millis   int64     `json:"cost_in_ms"`
	URL      string    `json:"request_url"`
	Body     string    `json:"request_body"`
	Response string    `json:"response_body"`
	ClientIP string    `json:"client_ip"` // the address that WeChat saw
}

// RID asks what became of a call by the rid in its errmsg. 76001: not found, or older than 7 days;
// 76003: another account's.
func (c *Client) RID(ctx context.Context, rid string) (PastCall, error) {
	r, err := c.do(ctx, c.post(CallQuota, "/cgi-bin/openapi/rid/get"), encode(struct {
		RID string `json:"rid"`
	}{rid}))
	if err != nil {
		return PastCall{}, err
	}
	return pastCall(r)
}

func pastCall(r reply) (PastCall, error) {
	var p struct {
		At       lenientText `json:"invoke_time"`
		Millis   lenientText `json:"cost_in_ms"`
		URL      lenientText `json:"request_url"`
		Body     lenientText `json:"request_body"`
		Response lenientText `json:"response_body"`
		ClientIP lenientText `json:"client_ip"`
	}
	if err := r.into(CallQuota, "request", &p); err != nil {
		return PastCall{}, err
	}
	place, hide := redactQuery(string(p.URL))
	return PastCall{
		At: p.At.time(), Millis: p.Millis.integer(), URL: place, ClientIP: string(p.ClientIP),
		Body:     redactFields(hide.Replace(string(p.Body))),
		Response: redactFields(hide.Replace(string(p.Response))),
	}, nil
}

var (
	queryPair = regexp.MustCompile(`([^?&#=\s]*)=([^&#\s]*)`)
	// A field that holds a secret, in the JSON of a body; the text may end within it.
	secretField = regexp.MustCompile(
		`"((?i:[a-z_]*(?:token|secret|password|ticket)))"\s*:\s*"(?:[^"\\]|\\.)*(?:"|\\?$)`)
)

// redactQuery hides the values of a query, which may stand alone or behind a URL, but for the
// kfaccount. It also returns what does the same to the texts that go with it: in one pass, since
// this many values in turn could hide each other's replacements without end.
func redactQuery(s string) (string, *strings.Replacer) {
	var values []string
	hidden := queryPair.ReplaceAllStringFunc(s, func(pair string) string {
		name, value, _ := strings.Cut(pair, "=")
		if name == "kf_account" && !strings.Contains(value, "=") {
			return pair
		}
		values = append(append(values, value), strings.Split(value, "=")...)
		if plain, err := url.QueryUnescape(value); err == nil && plain != value {
			values = append(values, plain)
		}
		return name + "=" + redacted
	})
	// at one place the longest counts
	slices.SortFunc(values, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	var pairs []string
	for _, v := range values {
		if len(v) >= minSecret {
			pairs = append(pairs, v, redacted)
		}
	}
	return hidden, strings.NewReplacer(pairs...)
}

func redactFields(body string) string {
	return secretField.ReplaceAllString(body, `"$1":"`+redacted+`"`)
}

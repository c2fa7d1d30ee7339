package wechat

import "context"

// Quota is how much of one API the app may still use.
type Quota struct {
	DailyLimit int64 `json:"daily_limit"`
	Used       int64 `json:"used"`   // today, Beijing time
	Remain     int64 `json:"remain"` // about: WeChat says that it is off by 1 % at times

	// The rate limit: so many calls in so many seconds. Zero: the reply, as older ones do, says
	// nothing of it.
	RateCalls   int64 `json:"rate_calls,omitempty"`
	RateSeconds int64 `json:"rate_seconds,omitempty"`
}

// Quota asks for the quota of the API at path, such as SendPath. Asking has a daily quota of its
// own. An unknown path is 76021.
//
// API: /doc/service/api/apimanage on developers.weixin.qq.com, for this and the other calls here.
func (c *Client) Quota(ctx context.Context, path string) (Quota, error) {
	r, err := c.do(ctx, c.post(CallQuota, "/cgi-bin/openapi/quota/get"), encode(apiPath{path}))
	if err != nil {
		return Quota{}, err
	}
	return quotaOf(r)
}

// RemainingSends returns how many messages the app may still send today, by
// WeChat's own count.
func (c *Client) RemainingSends(ctx context.Context) (int64, error) {
	q, err := c.Quota(ctx, SendPath)
	return q.Remain, err
}

func quotaOf(r reply) (Quota, error) {
	type rate struct {
		Calls   lenientText `json:"call_count"`
		Seconds lenientText `json:"refresh_second"`
	}
	var q struct {
		DailyLimit lenientText `json:"daily_limit"`
		Used       lenientText `json:"used"`
		Remain     lenientText `json:"remain"`
	}
	if err := r.into(CallQuota, "quota", &q); err != nil {
		return Quota{}, err
	}
	var limit rate
	if _, told := r["rate_limit"]; told {
		if err := r.into(CallQuota, "rate_limit", &limit); err != nil {
			return Quota{}, err
		}
	}
	return Quota{
		DailyLimit: q.DailyLimit.integer(), Used: q.Used.integer(), Remain: q.Remain.integer(),
		RateCalls: limit.Calls.integer(), RateSeconds: limit.Seconds.integer(),
	}, nil
}

// ClearQuota sets the counts of all of the app's APIs back to zero. An app may do so 10 times a
// month, here and on mp.weixin.qq.com together; after that it is refused with 48006.
func (c *Client) ClearQuota(ctx context.Context, appID string) error {
	_, err := c.do(ctx, c.post(CallQuota, "/cgi-bin/clear_quota"), encode(struct {
		AppID string `json:"appid"`
	}{appID}))
	return err
}

// ClearAPIQuota sets the counts of the API at path back to zero. It counts as one of the 10 times
// as well.
func (c *Client) ClearAPIQuota(ctx context.Context, path string) error {
	_, err := c.do(ctx, c.post(CallQuota, "/cgi-bin/openapi/quota/clear"), encode(apiPath{path}))
	return err
}

type apiPath struct {
	Path string `json:"cgi_path"`
}

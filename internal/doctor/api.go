package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wiring"
)

// weChats are the hosts of the API, by WeChat's document: the usual one and those of its sites.
var weChats = []string{
	"api.weixin.qq.com", "api2.weixin.qq.com", "sh.api.weixin.qq.com", "sz.api.weixin.qq.com",
	"hk.api.weixin.qq.com",
}

// isWeChats says whether a base URL is WeChat's own.
func isWeChats(baseURL string) bool {
	u, err := url.Parse(baseURL)
	return err == nil && slices.Contains(weChats, u.Hostname())
}

func seeBaseURL(_ context.Context, s *scene) (string, error) { return s.Config.WeChat.BaseURL, nil }

func judgeBaseURL(base string) []Finding {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return []Finding{bad("wechat.base_url is no address",
			"Set it to https://api.weixin.qq.com.")}
	}
	fix := "If it is not meant so: wechat.base_url: https://api.weixin.qq.com"
	ip := net.ParseIP(u.Hostname())
	fake := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case fake:
		return []Finding{well("%s, on this machine: a fake, or a proxy", base)}
	case u.Scheme != "https":
		return []Finding{risky("tokens and messages go to "+u.Host+" as plain text", fix)}
	case !isWeChats(base):
		return []Finding{risky(u.Host+" is none of WeChat's hosts: it sees every token and message",
			fix)}
	case strings.Trim(u.Path, "/") != "":
		return []Finding{risky("wechat.base_url has a path, "+u.Path+", which WeChat's API has not",
			fix)}
	}
	return []Finding{well("%s", base)}
}

// apiAnswer is how the API answered a request for nothing in particular, without a token.
type apiAnswer struct {
	host    string
	err     error
	took    time.Duration
	date    time.Time // of its Date header; zero: it had none
	at      time.Time // on this machine, half way between question and answer
	proxied bool      // the environment names a proxy, which kefu does not use
}

func seeAPI(_ context.Context, s *scene) (apiAnswer, error) { return s.api() }

// askAPI asks the API for its first page. With no app there is nobody to call it.
func (s *scene) askAPI(ctx context.Context) (apiAnswer, error) {
	if len(s.Apps) == 0 {
		return apiAnswer{}, skipf("no app is configured here")
	}
	a := apiAnswer{host: hostOf(s.Config.WeChat.BaseURL)}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		a.proxied = a.proxied || s.Getenv(name) != ""
	}
	client, err := wiring.HTTPClient(s.Config.WeChat, 1)
	if err != nil {
		a.err = err
		return a, nil
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Config.WeChat.BaseURL+"/", nil)
	if err != nil {
		a.err = err
		return a, nil
	}
	begin := time.Now()
	resp, err := client.Do(req)
	a.took = time.Since(begin)
	if err != nil {
		var outer *url.Error
		if errors.As(err, &outer) {
			err = outer.Err
		}
		a.err = err
		return a, nil
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // what it says does not matter
	a.at = begin.Add(a.took / 2)
	a.date, _ = http.ParseTime(resp.Header.Get("Date"))
	return a, nil
}

const slowAPI = 2 * time.Second

func judgeAPI(a apiAnswer) []Finding {
	var dns *net.DNSError
	proxy := ""
	if a.proxied {
		proxy = " The environment names a proxy, and kefu uses none: it needs a way of its own."
	}
	switch {
	case a.err == nil && a.took >= slowAPI:
		return []Finding{risky(fmt.Sprintf("%s took %s to answer", a.host, apart(a.took)),
			"Look at this machine's way there: DNS, routes, firewall."+proxy)}
	case a.err == nil:
		return []Finding{well("%s answers in %s", a.host, apart(a.took))}
	case errors.As(a.err, &dns):
		return []Finding{bad("no address is found for "+a.host+": "+dns.Err,
			"Look at this machine's DNS (/etc/resolv.conf), or correct wechat.base_url."+proxy)}
	case isCertificate(a.err):
		return []Finding{bad("the certificate that "+a.host+" shows is not trusted: "+a.err.Error(),
			"Install the system's certificates (ca-certificates); or trust the authority of a "+
				"proxy in between with wechat.ca_file."+proxy)}
	}
	return []Finding{bad(a.host+" does not answer: "+a.err.Error(),
		"Look at this machine's way there: routes, firewall, and at wechat.base_url."+proxy)}
}

func seeAPIClock(_ context.Context, s *scene) (clockSeen, error) {
	a, err := s.answeringAPI()
	if err != nil {
		return clockSeen{}, err
	}
	if a.date.IsZero() {
		return clockSeen{}, skipf("%s does not say what time it is", a.host)
	}
	// Date counts whole seconds: it is half a second behind on average.
	const exact = 500 * time.Millisecond
	return clockSeen{of: "API", ahead: a.at.Sub(a.date.Add(exact)), exact: exact + a.took/2,
		warn: 5 * time.Second, harmful: time.Minute}, nil
}

// answeringAPI returns how the API answered, or why a check that needs it is not done.
func (s *scene) answeringAPI() (apiAnswer, error) {
	a, err := s.api()
	if err == nil && a.err != nil {
		err = skipf("the API does not answer")
	}
	return a, err
}

// reachable is answeringAPI for a check of an app that needs its AppSecret as well.
func (s *scene) reachable(app config.App) error {
	if _, err := s.answeringAPI(); err != nil {
		return err
	}
	if !app.Token.NeedsSecret() {
		return nil
	}
	if _, err := app.ReadSecret(); err != nil {
		return skipf("there is no AppSecret to ask with")
	}
	return nil
}

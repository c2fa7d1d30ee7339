package wiring

import (
	"net/http"

	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wechat"
)

// Secrets reads the AppSecret of an app.
type Secrets func(config.App) (wechat.Secret, error)

// ConfiguredSecret reads the AppSecret from where the configuration says, each time it is called:
// replacing the file needs no restart.
func ConfiguredSecret(app config.App) (wechat.Secret, error) {
	text, err := app.ReadSecret()
	return wechat.NewSecret(text), err
}

// HTTPClient returns an HTTP client for the API as the configuration says. idle is the number of
// idle connections that it keeps.
func HTTPClient(api config.WeChat, idle int) (*http.Client, error) {
	return wechat.NewHTTPClient(wechat.HTTPOptions{
		Timeout: api.Timeout, CAFile: api.CAFile, IdlePerHost: idle,
	})
}

// TokenSource returns the source of an app's access token. Without a ration it forces no refresh.
func TokenSource(
	hc *http.Client, api config.WeChat, app config.App, secret Secrets, ration wechat.Ration,
) wechat.TokenSource {
	switch app.Token.Kind {
	case config.TokenFile:
		return wechat.NewFileToken(app.Token.Path)
	case config.TokenURL:
		return wechat.NewURLToken(hc, app.Token.URL)
	default:
		read := func() (wechat.Secret, error) { return secret(app) }
		return wechat.NewStableToken(hc, api.BaseURL, app.AppID, read).Rationed(ration)
	}
}

// API returns a client of the API for one command, and a function that closes it. It forces no
// token refresh: that would invalidate the token of every worker.
func API(api config.WeChat, app config.App) (client *wechat.Client, closeAll func(), err error) {
	hc, err := HTTPClient(api, 1)
	if err != nil {
		return nil, nil, err
	}
	tokens := TokenSource(hc, api, app, ConfiguredSecret, nil)
	return wechat.NewClient(hc, api.BaseURL, tokens), func() {
		if t, ok := tokens.(interface{ Close() }); ok {
			t.Close()
		}
		hc.CloseIdleConnections()
	}, nil
}

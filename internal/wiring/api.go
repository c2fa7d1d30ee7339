package wiring

import (
	"net/http"

	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/wechat"
)

// Secrets says how an app's AppSecret is read.
type Secrets func(config.App) (wechat.Secret, error)

// ConfiguredSecret reads it from where the configuration says, each time: a replaced file is picked
// up without a restart.
func ConfiguredSecret(app config.App) (wechat.Secret, error) {
	text, err := app.ReadSecret()
	return wechat.NewSecret(text), err
}

// HTTPClient calls the API as the configuration says, with so many connections that may be idle.
func HTTPClient(api config.WeChat, idle int) (*http.Client, error) {
	return wechat.NewHTTPClient(wechat.HTTPOptions{
		Timeout: api.Timeout, CAFile: api.CAFile, IdlePerHost: idle,
	})
}

// TokenSource is where an app's access token comes from. Without a ration no refresh is forced.
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

// API returns a client of the API for one command, and how to close it. It forces no token refresh:
// that would retire the token of every worker.
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

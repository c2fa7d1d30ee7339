package wechat

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

var (
	errTokenURL    = errors.New("the token url is not an absolute http or https url")
	errStaleServer = errors.New("the token server still hands out the token that wechat refused, " +
		"and whoever runs it must replace it")
)

// URLToken is the TokenSource for a central token server, which answers a GET with
// {"access_token","expires_in"}. kefu never refreshes the token itself: after Stale it asks the
// server again, and hands out the same token once more if that is what it is given. When that is
// refused too, Token fails with FaultConfig, in pauses of 1 s growing to 30 s.
type URLToken struct{ *tokenCache }

// NewURLToken returns the token source that asks address. The address may hold a user and password,
// or a key in its query: none of them is ever shown. Close the source when done.
func NewURLToken(hc *http.Client, address string) *URLToken {
	f := &urlFetcher{wire: newWire(hc), url: parseURL(address)}
	return &URLToken{newTokenCache(f.fetch, func(context.Context) (Secret, time.Duration, error) {
		return Secret{}, 0, &Error{Call: CallToken, Fault: FaultConfig, Err: errStaleServer}
	})}
}

type urlFetcher struct {
	wire wire
	url  *url.URL
}

func (f *urlFetcher) fetch(ctx context.Context) (Secret, time.Duration, error) {
	if f.url == nil {
		return Secret{}, 0, &Error{Call: CallToken, Fault: FaultConfig, Err: errTokenURL}
	}
	u := *f.url
	u.User = nil // net/http's transport leaves it to us to send it, and an error must not show it
	req := newRequest(http.MethodGet, &u)
	private := []string{u.RawQuery}
	for _, values := range u.Query() {
		private = append(private, values...)
	}
	if f.url.User != nil {
		password, _ := f.url.User.Password()
		req.SetBasicAuth(f.url.User.Username(), password)
		private = append(private, password)
	}
	token, life, err := fetchToken(ctx, &f.wire, req, nil, newMask(private...))
	e, ok := err.(*Error) //nolint:errorlint // fetchToken's own
	if ok && !e.HasCode && e.refusedByServer() {
		e.Fault = FaultConfig
	}
	return token, life, err
}

// refusedByServer reports whether the status says that the request is wrong, which waiting does not
// mend: 401, 404, ….
func (e *Error) refusedByServer() bool {
	switch e.HTTPStatus {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return e.HTTPStatus >= 400 && e.HTTPStatus < 500
}

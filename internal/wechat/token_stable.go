package wechat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

var errNoSecret = errors.New("the app secret is empty")

// StableToken is the TokenSource that fetches tokens from WeChat's own stable_token endpoint with
// the AppSecret. In normal mode the endpoint gives every process the same token until it nears its
// end, so no process needs to lead.
//
// After Stale the very same token may come back. It is then handed out once more, since a good
// token is refused at times; refused again, only a forced refresh is left. That retires the token
// for all others, and only 20 a day are allowed: so it is made when a Ration allows it, and else
// Token fails with FaultConfig, in pauses of 1 s growing to 30 s.
//
// API: /doc/service/api/base/api_getstableaccesstoken on developers.weixin.qq.com.
type StableToken struct {
	*tokenCache
	fetcher *stableFetcher
}

// Ration says whether a forced refresh may be made, and counts it. It is one for all processes that
// use the app: of their forced refreshes each kills the token of the one before.
type Ration interface {
	// Take takes one for the app, false when none is left for now. An error means that none was
	// taken, as far as is known.
	Take(ctx context.Context, appID string) (bool, error)
}

var (
	errRationUsedUp = errors.New("wechat refuses the token that it hands out, and no forced " +
		"refresh is left for now")
	errNoRation = errors.New("wechat refuses the token that it hands out, and here no refresh is " +
		"ever forced")
)

// NewStableToken returns the token source of the app appID. secret is asked for the AppSecret at
// every fetch, so that a replaced secret file counts at once; its error, or an empty secret, is
// FaultConfig. Close the source when done.
func NewStableToken(
	hc *http.Client, baseURL, appID string, secret func() (Secret, error),
) *StableToken {
	s := &stableFetcher{
		wire: newWire(hc),
		endpoint: newEndpoint(CallToken, http.MethodPost, parseURL(baseURL),
			"/cgi-bin/stable_token"),
		appID: appID, secret: secret,
	}
	return &StableToken{newTokenCache(s.fetch, s.replaceRefused), s}
}

// Rationed has the source force refreshes, as rarely as r allows; without it, it never does. To be
// called before the source is used.
func (s *StableToken) Rationed(r Ration) *StableToken {
	s.fetcher.ration = r
	return s
}

type stableFetcher struct {
	wire     wire
	endpoint *endpoint
	appID    string
	secret   func() (Secret, error)
	ration   Ration // nil: no refresh is forced
}

func (s *stableFetcher) fetch(ctx context.Context) (Secret, time.Duration, error) {
	return s.ask(ctx, false)
}

func (s *stableFetcher) replaceRefused(ctx context.Context) (Secret, time.Duration, error) {
	err := errNoRation
	if s.ration != nil {
		allowed, failed := s.ration.Take(ctx, s.appID)
		switch {
		case allowed:
			return s.ask(ctx, true)
		case failed != nil:
			err = newMask().err(fmt.Errorf("%w: %w", errRationUsedUp, failed))
		default:
			err = errRationUsedUp
		}
	}
	return Secret{}, 0, &Error{Call: CallToken, Fault: FaultConfig, Err: err}
}

func (s *stableFetcher) ask(ctx context.Context, force bool) (Secret, time.Duration, error) {
	secret, err := s.secret()
	if err != nil {
		return Secret{}, 0, &Error{Call: CallToken, Fault: FaultConfig,
			Err: newMask(secret.Reveal()).err(err)}
	}
	if secret.Empty() {
		return Secret{}, 0, &Error{Call: CallToken, Fault: FaultConfig, Err: errNoSecret}
	}
	if s.endpoint.url == nil {
		return Secret{}, 0, &Error{Call: CallToken, Fault: FaultConfig, Err: errBaseURL}
	}
	body := encode(map[string]any{
		"grant_type":    "client_credential",
		"appid":         s.appID,
		"secret":        secret.Reveal(),
		"force_refresh": force,
	})
	return fetchToken(ctx, &s.wire, newRequest(http.MethodPost, s.endpoint.url), body,
		newMask(secret.Reveal()))
}

// fetchToken makes one token call and reads {"access_token","expires_in"} from the answer. Nothing
// that can go wrong here speaks against a message that waits for the token.
func fetchToken(
	ctx context.Context, w *wire, req *http.Request, body []byte, m mask,
) (Secret, time.Duration, error) {
	a, left, err := w.exchange(ctx, req, &Message{Packet: body})
	if err != nil {
		return Secret{}, 0, unanswered(CallToken, err, left, m)
	}
	r, failed := check(CallToken, &a, true, m)
	if failed != nil {
		return Secret{}, 0, failed
	}
	token := r.text("access_token")
	if !isToken(token) {
		return Secret{}, 0, &Error{Call: CallToken, Fault: FaultUpstream, HTTPStatus: a.status,
			Err: errNoToken}
	}
	seconds, _ := r.integer("expires_in") // missing or nonsense: 0, and the least life there is
	return NewSecret(token),
		time.Duration(min(max(seconds, 0), int64(maxTokenLife/time.Second))) * time.Second, nil
}

// maxToken bounds an access token, in bytes. WeChat asks for room for 512.
const maxToken = 4096

// isToken reports whether s can be an access token: printable ASCII without blanks.
func isToken(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxToken
}

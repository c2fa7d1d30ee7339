package wechat

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStableTokenAsksAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	var req *http.Request
	var body []byte
	hc := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		req = r
		body, _ = io.ReadAll(r.Body)
		return respond(r, 200, `{"access_token":"T","expires_in":7200}`), nil
	})}
	s := NewStableToken(hc, "https://api.example.com/", "wx1", func() (Secret, error) {
		return NewSecret(appSecret), nil
	})
	defer s.Close()
	requireToken(t, s, "T")
	require.Equal(t, http.MethodPost, req.Method)
	require.Equal(t, "https://api.example.com/cgi-bin/stable_token", req.URL.String())
	require.EqualValues(t, len(body), req.ContentLength)
	require.JSONEq(t, `{"grant_type":"client_credential","appid":"wx1","secret":"`+appSecret+
		`","force_refresh":false}`, string(body))
}

func TestTokenFailuresAreClassed(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		status int
		body   string
		fault  Fault
	}{
		"a wrong secret":    {200, `{"errcode":40001,"errmsg":"x"}`, FaultConfig},
		"a wrong appid":     {200, `{"errcode":40013}`, FaultConfig},
		"a wrong appsecret": {200, `{"errcode":40125}`, FaultConfig},
		"the IP is not allowed": {
			200,
			`{"errcode":40164,"errmsg":"invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist"}`,
			FaultConfig,
		},
		"the administrator must act": {200, `{"errcode":89503}`, FaultConfig},
		"a frozen secret":            {200, `{"errcode":40243}`, FaultConfig},
		"POST required":              {200, `{"errcode":43002}`, FaultConfig},
		"a code about a message":     {200, `{"errcode":47001}`, FaultConfig},
		"a code never seen":          {200, `{"errcode":99999}`, FaultConfig},
		"the daily quota":            {200, `{"errcode":45009}`, FaultDayQuota},
		"the minute quota":           {200, `{"errcode":45011}`, FaultMinuteQuota},
		"busy":                       {200, `{"errcode":-1}`, FaultUpstream},
		"429":                        {429, ``, FaultMinuteQuota},
		"412":                        {412, ``, FaultConfig},
		"a redirect":                 {302, ``, FaultConfig},
		"500":                        {500, ``, FaultUpstream},
		"503":                        {503, ``, FaultUpstream},
		"404":                        {404, ``, FaultUpstream},
		"nothing":                    {200, ``, FaultUpstream},
		"HTML":                       {200, `<html>`, FaultUpstream},
		"cut short":                  {200, `{"access_token":"a`, FaultUpstream},
		"no token":                   {200, `{"expires_in":7200}`, FaultUpstream},
		"an empty token":             {200, `{"access_token":"","expires_in":7200}`, FaultUpstream},
		"a token with a line break": {
			200, `{"access_token":"a\r\nb","expires_in":7200}`, FaultUpstream,
		},
		"a token that is far too long": {
			200, `{"access_token":"` + strings.Repeat("a", maxToken+1) + `"}`, FaultUpstream,
		},
		"errcode 0 without a token": {200, `{"errcode":0,"errmsg":"ok"}`, FaultUpstream},
		"a token together with ok": {
			200, `{"errcode":0,"errmsg":"ok","access_token":"a","expires_in":7200}`, FaultNone,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &tokenAPI{answer: func(int64) (*http.Response, error) {
				return respondJSON(row.status, row.body)
			}}
			s := a.source()
			defer s.Close()
			err := NewClient(nil, "http://127.0.0.1:1", s).Probe(t.Context())
			if row.fault == FaultNone {
				require.NoError(t, err)
				return
			}
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, row.fault, e.Fault, err.Error())
			require.Equal(t, CallToken, e.Call)
			require.True(t, e.NotSent())
		})
	}
}

func TestTheSecretIsReadForEveryFetch(t *testing.T) {
	t.Parallel()
	a := &tokenAPI{answer: numberedTokens(7200)}
	secrets := []func() (Secret, error){
		func() (Secret, error) { return Secret{}, fmt.Errorf("secret file: %w", os.ErrNotExist) },
		func() (Secret, error) { return Secret{}, nil },
		func() (Secret, error) { return NewSecret("first"), nil },
		func() (Secret, error) { return NewSecret("second"), nil },
	}
	s := NewStableToken(&http.Client{Transport: a}, "https://api.example.com", "wx1",
		func() (Secret, error) {
			next := secrets[0]
			secrets = secrets[1:]
			return next()
		})
	defer s.Close()

	err := s.Probe(t.Context())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.EqualError(t, err, "token: config: secret file: file does not exist")
	require.ErrorIs(t, s.Probe(t.Context()), errNoSecret)
	require.Zero(t, a.calls.Load())
	for _, want := range []string{"first", "second"} {
		require.NoError(t, s.Probe(t.Context()))
		var body struct{ Secret string }
		require.NoError(t, json.Unmarshal([]byte(*a.body.Load()), &body))
		require.Equal(t, want, body.Secret)
	}
}

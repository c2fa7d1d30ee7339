package wechat

import (
	"errors"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestURLToken(t *testing.T) {
	t.Parallel()
	const key, password = "KEY-canary-1234", "PASSWORD-canary-1234"
	for name, row := range map[string]struct {
		status int
		body   string
		err    error
		fault  Fault
	}{
		"a token":    {200, `{"access_token":"T","expires_in":100}`, nil, FaultNone},
		"401":        {401, ``, nil, FaultConfig},
		"404":        {404, `<html>` + key, nil, FaultConfig},
		"408":        {408, ``, nil, FaultUpstream},
		"429":        {429, ``, nil, FaultMinuteQuota},
		"500":        {500, ``, nil, FaultUpstream},
		"a redirect": {302, ``, nil, FaultConfig},
		"an errcode passed on": {
			200, `{"errcode":45009,"errmsg":"` + key + `"}`, nil, FaultDayQuota,
		},
		"an errcode that is unknown": {
			200, `{"errcode":5,"errmsg":"` + password + `"}`, nil, FaultConfig,
		},
		"nothing": {200, ``, nil, FaultUpstream},
		"broken":  {0, ``, errors.New("broken " + password), FaultUpstream},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var req *http.Request
			s := NewURLToken(&http.Client{Transport: roundTrip(
				func(r *http.Request) (*http.Response, error) {
					req = r
					if row.err != nil {
						return nil, row.err
					}
					return respond(r, row.status, row.body), nil
				})}, "https://user:"+password+"@tokens.example.com/wx1?key="+key)
			defer s.Close()
			got, err := s.Token(t.Context())
			require.Equal(t, http.MethodGet, req.Method)
			require.Equal(t, "https://tokens.example.com/wx1?key="+key, req.URL.String())
			require.Nil(t, req.Body)
			user, pass, _ := req.BasicAuth()
			require.Equal(t, "user "+password, user+" "+pass)
			if row.fault == FaultNone {
				require.NoError(t, err)
				require.Equal(t, "T", got.Reveal())
				return
			}
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, row.fault, e.Fault, err.Error())
			requireNoLeak(t, err, key, password)
		})
	}
	bad := NewURLToken(nil, "tokens.example.com")
	defer bad.Close()
	require.ErrorIs(t, bad.Probe(t.Context()), errTokenURL)
}

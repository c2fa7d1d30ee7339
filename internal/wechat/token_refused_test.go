package wechat

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStaleDropsThatVeryToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &tokenAPI{answer: numberedTokens(7200)}
		s := a.source()
		defer s.Close()
		s.Stale(NewSecret("before there is one"))
		requireToken(t, s, "token-1")
		s.Stale(NewSecret("token-0"))
		requireToken(t, s, "token-1")
		s.Stale(NewSecret("token-1"))
		requireToken(t, s, "token-2")
		for range 256 { // the many that used the old one and come late
			s.Stale(NewSecret("token-1"))
		}
		requireToken(t, s, "token-2")
		require.EqualValues(t, 2, a.calls.Load())
	})
}

func TestTheSameTokenAgainIsHandedOutAndNotAskedForAllTheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &tokenAPI{answer: func(int64) (*http.Response, error) {
			return respondJSON(200, `{"access_token":"same","expires_in":7000}`)
		}}
		s := a.source()
		defer s.Close()
		refused := 0
		for range 600 { // ten minutes of senders who are refused
			for range 20 {
				token, err := s.Token(t.Context())
				if err != nil {
					requireConfig(t, err, errNoRation.Error())
					continue
				}
				refused++
				s.Stale(token)
			}
			advance(time.Second)
		}
		require.LessOrEqual(t, a.calls.Load(), int64(80))
		require.GreaterOrEqual(t, a.calls.Load(), int64(20))
		require.Less(t, refused, 80)
		require.NotContains(t, *a.body.Load(), `"force_refresh":true`)

		a.answer = numberedTokens(7200)
		advance(31 * time.Second)
		s.Stale(NewSecret("same"))
		token := handedOut(t, s)
		s.Stale(token) // a new token may be called stale at once
		require.False(t, handedOut(t, s).Equal(token))
	})
}

// ration is a Ration that is a function.
type ration func() (bool, error)

func (r ration) Take(context.Context, string) (bool, error) { return r() }

func TestARefusedTokenThatComesAgainIsForced(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		allowed bool
		failed  error
		change  func(forced bool) string // the token that the endpoint hands out
		says    string                   // "": Token returns another one
		takes   int
	}{
		"another one is there": {true, nil, func(bool) string { return "new" }, "", 0},
		"it stays until it is forced": {
			true, nil,
			func(forced bool) string { return map[bool]string{true: "new", false: "old"}[forced] },
			"", 1,
		},
		"no forced refresh is left": {
			false, nil, func(bool) string { return "old" },
			"and no forced refresh is left for now", 1,
		},
		"nobody knows whether one is": {
			false, errors.New("broker away"), func(bool) string { return "old" },
			"left for now: broker away", 1,
		},
		"the forced one is refused later": {
			true, nil, func(bool) string { return "old" },
			"again", 1,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			takes, hands := 0, func(bool) string { return "old" }
			a := &tokenAPI{}
			a.answer = func(int64) (*http.Response, error) {
				return respondJSON(200, `{"access_token":"`+
					hands(strings.Contains(*a.body.Load(), `"force_refresh":true`))+
					`","expires_in":7000}`)
			}
			s := a.source().Rationed(ration(func() (bool, error) {
				takes++
				return row.allowed, row.failed
			}))
			defer s.Close()
			first := handedOut(t, s)
			s.Stale(first)
			second := handedOut(t, s)
			require.True(t, second.Equal(first), name)
			for range 100 {
				s.Stale(first) // they come late
			}
			require.Zero(t, takes, name)
			require.EqualValues(t, 2, a.calls.Load(), name)

			hands = row.change
			s.Stale(second)
			third, err := s.Token(t.Context())
			require.Equal(t, row.takes, takes, name)
			switch row.says {
			case "":
				require.NoError(t, err, name)
				require.Equal(t, "new", third.Reveal(), name)
			case "again":
				require.NoError(t, err, name)
				require.True(t, third.Equal(first), name)
			default:
				requireConfig(t, err, row.says)
				require.ErrorIs(t, s.State().Err, err)
				_, err = s.Token(t.Context())
				requireConfig(t, err, row.says)
				require.Equal(t, row.takes, takes, "asked again after a pause only")
				require.NoError(t, s.Probe(t.Context()), "the trial of a hold gets it once more")
			}
		})
	}
}

func TestTwoRefusalsFarApartForceNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &tokenAPI{answer: func(int64) (*http.Response, error) {
			return respondJSON(200, `{"access_token":"same","expires_in":7000}`)
		}}
		s := a.source().Rationed(ration(func() (bool, error) {
			t.Error("a good token that is refused now and then was forced")
			return true, nil
		}))
		defer s.Close()
		for range 10 {
			s.Stale(handedOut(t, s))
			handedOut(t, s)
			advance(2 * time.Minute)
		}
	})
}

func TestTheTokenServerIsAskedAgainAndThenBlamed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hands := "old"
		s := NewURLToken(&http.Client{Transport: roundTrip(
			func(r *http.Request) (*http.Response, error) {
				return respond(r, 200, `{"access_token":"`+hands+`","expires_in":7200}`), nil
			})}, "https://tokens.example.com/wx1")
		defer s.Close()
		s.Stale(handedOut(t, s))
		s.Stale(handedOut(t, s))
		_, err := s.Token(t.Context())
		requireConfig(t, err, "the token server still hands out the token that wechat refused")
		hands = "new"
		advance(2 * time.Second)
		requireToken(t, s, "new")
	})
}

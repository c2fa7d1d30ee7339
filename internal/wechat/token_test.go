package wechat

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

const appSecret = "APPSECRET-canary-0123456789"

// advance lets d go by; only in synctest bubbles, where it costs nothing.
func advance(d time.Duration) { <-time.After(d) }

// tokenAPI is a stable_token endpoint inside a synctest bubble, where there are no sockets.
type tokenAPI struct {
	calls  atomic.Int64
	answer func(n int64) (*http.Response, error) // n: the number of the call, from 1
	body   atomic.Pointer[string]
}

func (a *tokenAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	data, _ := io.ReadAll(r.Body)
	body := string(data)
	a.body.Store(&body)
	return a.answer(a.calls.Add(1))
}

func respondJSON(status int, body string) (*http.Response, error) {
	return respond(nil, status, body), nil
}

// numberedTokens answers token-1, token-2, … with the given life in seconds.
func numberedTokens(expires int) func(n int64) (*http.Response, error) {
	return func(n int64) (*http.Response, error) {
		return respondJSON(200,
			fmt.Sprintf(`{"access_token":"token-%d","expires_in":%d}`, n, expires))
	}
}

func (a *tokenAPI) source() *StableToken {
	return NewStableToken(&http.Client{Transport: a}, "https://api.example.com", "wx1",
		func() (Secret, error) { return NewSecret(appSecret), nil })
}

func requireToken(t *testing.T, s TokenSource, want string) {
	t.Helper()
	got, err := s.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got.Reveal())
}

func TestManyCallersShareOneFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		a := &tokenAPI{}
		a.answer = func(n int64) (*http.Response, error) {
			<-release
			return numberedTokens(7200)(n)
		}
		s := a.source()
		defer s.Close()
		got := make(chan string, 256)
		for range cap(got) {
			go func() {
				token, err := s.Token(t.Context())
				if err == nil {
					got <- token.Reveal()
				}
			}()
		}
		synctest.Wait()
		// One caller gives up; the fetch goes on for the others.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.Token(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var e *Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, FaultUpstream, e.Fault)
		require.True(t, e.Timeout() && e.NotSent())

		close(release)
		for range cap(got) {
			require.Equal(t, "token-1", <-got)
		}
		require.EqualValues(t, 1, a.calls.Load())
		requireToken(t, s, "token-1")
		require.EqualValues(t, 1, a.calls.Load())
	})
}

func TestRenewalIsEarlyAndInTheBackground(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{}, 1)
		a := &tokenAPI{}
		a.answer = func(n int64) (*http.Response, error) {
			<-release
			return numberedTokens(7200)(n)
		}
		s := a.source()
		defer s.Close()
		release <- struct{}{}
		requireToken(t, s, "token-1")
		require.Equal(t, 2*time.Hour, s.State().Expires.Sub(s.State().Fetched))

		advance(2*time.Hour - 5*time.Minute - time.Second)
		requireToken(t, s, "token-1")
		synctest.Wait()
		require.EqualValues(t, 1, a.calls.Load(),
			"too early: the endpoint would hand out the same token")

		advance(80 * time.Second) // within the last 5 minutes, past the jitter
		for range 100 {
			requireToken(t, s, "token-1") // never waits
			synctest.Wait()
		}
		require.EqualValues(t, 2, a.calls.Load())
		release <- struct{}{}
		synctest.Wait()
		requireToken(t, s, "token-2")
	})
}

func TestAFailedRenewalIsInvisibleWhileTheTokenLasts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &tokenAPI{}
		a.answer = func(n int64) (*http.Response, error) {
			if n == 1 {
				return numberedTokens(7200)(n)
			}
			return nil, syscall.ECONNREFUSED
		}
		s := a.source()
		defer s.Close()
		requireToken(t, s, "token-1")
		advance(2*time.Hour - 200*time.Second)
		for range 199 {
			requireToken(t, s, "token-1")
			advance(time.Second)
		}
		require.LessOrEqual(t, a.calls.Load(), int64(14), "it was asked with growing pauses")
		require.GreaterOrEqual(t, a.calls.Load(), int64(8))
		require.True(t, s.State().Valid)
		require.ErrorIs(t, s.State().Err, syscall.ECONNREFUSED)

		advance(2 * time.Second)
		_, err := s.Token(t.Context())
		require.ErrorIs(t, err, syscall.ECONNREFUSED)
		require.False(t, s.State().Valid)

		a.answer = numberedTokens(7200)
		advance(31 * time.Second)
		token, err := s.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, "token-1", token.Reveal())
		require.NoError(t, s.State().Err)
	})
}

func TestSendersCannotHammerABrokenEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &tokenAPI{answer: func(int64) (*http.Response, error) {
			return respondJSON(200, `{"errcode":40125,"errmsg":"invalid appsecret"}`)
		}}
		s := a.source()
		defer s.Close()
		for range 600 { // ten minutes, a hundred senders every second
			for range 100 {
				_, err := s.Token(t.Context())
				require.ErrorIs(t, err, &Error{Call: CallToken, Code: 40125, HasCode: true})
			}
			advance(time.Second)
		}
		require.LessOrEqual(t, a.calls.Load(), int64(40))
		require.GreaterOrEqual(t, a.calls.Load(), int64(20), "the pause is at most 30 s")

		// A probe asks at once.
		before := a.calls.Load()
		require.Error(t, s.Probe(t.Context()))
		require.Equal(t, before+1, a.calls.Load())
		a.answer = numberedTokens(7200)
		require.NoError(t, s.Probe(t.Context()))
		_, err := s.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, before+2, a.calls.Load())
	})
}

func TestRetryAfterOfTheEndpointIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &tokenAPI{answer: func(int64) (*http.Response, error) {
			r := respond(nil, 429, "")
			r.Header.Set("Retry-After", "120")
			return r, nil
		}}
		s := a.source()
		defer s.Close()
		for range 119 {
			_, err := s.Token(t.Context())
			var e *Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, FaultMinuteQuota, e.Fault)
			require.Equal(t, 2*time.Minute, e.RetryAfter)
			advance(time.Second)
		}
		require.EqualValues(t, 1, a.calls.Load())
	})
}

func TestExpiresInIsTakenWithinReason(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]time.Duration{
		`{"access_token":"a","expires_in":7200}`:           2 * time.Hour,
		`{"access_token":"a","expires_in":"7200"}`:         2 * time.Hour,
		`{"access_token":"a","expires_in":300}`:            5 * time.Minute,
		`{"access_token":"a","expires_in":0}`:              time.Minute,
		`{"access_token":"a","expires_in":-5}`:             time.Minute,
		`{"access_token":"a"}`:                             time.Minute,
		`{"access_token":"a","expires_in":null}`:           time.Minute,
		`{"access_token":"a","expires_in":"soon"}`:         time.Minute,
		`{"access_token":"a","expires_in":1e9}`:            2 * time.Hour,
		`{"access_token":"a","expires_in":99999999999999}`: 2 * time.Hour,
		`{"access_token":"a","expires_in":-9e15}`:          time.Minute,
		`{"access_token":"a","expires_in":1e300}`:          time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			a := &tokenAPI{answer: func(int64) (*http.Response, error) {
				return respondJSON(200, body)
			}}
			s := a.source()
			defer s.Close()
			requireToken(t, s, "a")
			require.Equal(t, want, s.State().Expires.Sub(s.State().Fetched), body)
			for range 600 { // no busy loop, whatever it says
				requireToken(t, s, "a")
				advance(time.Second)
			}
			require.LessOrEqual(t, a.calls.Load(), int64(12), body)
		})
	}
}

func TestCloseEndsAFetch(t *testing.T) {
	t.Parallel()
	started := make(chan struct{})
	hc := &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		close(started)
		<-r.Context().Done()
		return nil, r.Context().Err()
	})}
	s := NewStableToken(hc, "https://api.example.com", "wx1", func() (Secret, error) {
		return NewSecret(appSecret), nil
	})
	result := make(chan error, 1)
	go func() {
		_, err := s.Token(t.Context())
		result <- err
	}()
	<-started
	s.Close()
	require.ErrorIs(t, <-result, context.Canceled)
	s.Close()
	_, err := s.Token(t.Context())
	require.Error(t, err)
}

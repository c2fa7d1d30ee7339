package wechat

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"golang.org/x/sync/singleflight"
)

// TokenSource hands out the access token of one app. It is used by many goroutines at once.
type TokenSource interface {
	// Token returns the token to use now. It is called before every send: cheap while there is a
	// valid one. An error is an *Error of CallToken.
	Token(ctx context.Context) (Secret, error)
	// Stale tells that WeChat refused failed, as Token returned it. Only that very token is
	// dropped: a caller that comes late with an older one changes nothing. When the same token is
	// then handed out anew and refused again, the source does what else it can about it, or Token
	// fails for a while and says whose turn it is.
	Stale(failed Secret)
}

// TokenState is what is known of a token, for status pages. It does not hold the token.
type TokenState struct {
	Valid   bool      // there is a token, and it has not expired
	Fetched time.Time // when it was fetched, or the file read
	Expires time.Time // when it ends; zero for a file, which does not say
	Err     error     // why the last attempt to get a new one failed; nil once one succeeds
}

const (
	// A token is believed to live for what the server says, within these bounds: 7200 s is WeChat's
	// maximum, and less than a minute (or nonsense) would have us fetch tokens all the time.
	minTokenLife = time.Minute
	maxTokenLife = 2 * time.Hour

	// renewMargin is how long before its end a token is renewed, or a tenth of its life if that is
	// less. It is the 5 minutes in which the stable endpoint rotates: asked earlier, it hands out
	// the same token again.
	renewMargin = 5 * time.Minute

	// refusalMemory is for how long a refusal is remembered. A token that works between two
	// refusals is a good one.
	refusalMemory = time.Minute

	// fetchTimeout bounds a fetch from its start to its end, whatever the HTTP client's own timeout
	// is.
	fetchTimeout = 15 * time.Second
)

// cachedToken is one token and its time.
type cachedToken struct {
	token   Secret
	fetched time.Time
	renew   time.Time // from now on a new one is fetched behind the senders' backs
	expires time.Time
}

// fetchFailure is a failed fetch and until when it is not tried again.
type fetchFailure struct {
	err   error
	until time.Time
}

// tokenCache keeps the token that fetch returns and knows when to fetch again: early and in the
// background while the old one still serves, at once when there is none, one fetch at a time, and
// with growing pauses after a failure so that however many senders wait they cannot hammer the
// endpoint. There is no timer: renewal is started by whoever asks for a token, so an idle app costs
// nothing.
type tokenCache struct {
	fetch func(ctx context.Context) (Secret, time.Duration, error)
	// replaceRefused is asked when a token was refused, fetched again unchanged, refused again, and
	// fetch still brings it: for another one by stronger means, or for an error that says what is
	// to be done.
	replaceRefused func(ctx context.Context) (Secret, time.Duration, error)

	current  atomic.Pointer[cachedToken]  // nil: none
	failure  atomic.Pointer[fetchFailure] // nil: the last fetch succeeded
	fetching atomic.Bool                  // spares senders the lock of fetches while a renewal runs
	fetches  singleflight.Group

	ctx  context.Context // the life of fetches, which outlive the calls that start them
	stop context.CancelFunc

	mu           sync.Mutex
	pause        *backoff.ExponentialBackOff
	refused      Secret // the token that Stale dropped
	refusedAt    time.Time
	refusedAgain bool // it came again, and was refused again
}

func newTokenCache(
	fetch, replaceRefused func(ctx context.Context) (Secret, time.Duration, error),
) *tokenCache {
	g := &tokenCache{fetch: fetch, replaceRefused: replaceRefused}
	g.pause = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(time.Second),
		backoff.WithMultiplier(2),
		backoff.WithMaxInterval(25*time.Second), // ±20 %: at most 30 s
		backoff.WithRandomizationFactor(0.2),
		backoff.WithMaxElapsedTime(0), // never gives up
	)
	g.ctx, g.stop = context.WithCancel(context.Background())
	return g
}

// Token returns the current token. Without one it waits for a fetch, as long as ctx allows; shortly
// after a failed fetch it returns that failure without a new one.
func (g *tokenCache) Token(ctx context.Context) (Secret, error) {
	now := time.Now()
	if have := g.current.Load(); have != nil && now.Before(have.expires) {
		if !now.Before(have.renew) {
			g.renewEarly(now)
		}
		return have.token, nil
	}
	if failed := g.failedRecently(now); failed != nil {
		return Secret{}, failed
	}
	return g.wait(ctx, false)
}

// Probe fetches anew, whatever is cached and however recently a fetch failed, and keeps what it
// gets. It joins a fetch that is under way.
func (g *tokenCache) Probe(ctx context.Context) error {
	_, err := g.wait(ctx, true)
	return err
}

// Stale drops failed if it is the current token.
func (g *tokenCache) Stale(failed Secret) {
	if have := g.current.Load(); have == nil || !have.token.Equal(failed) {
		return // the many that come late do not queue up
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	have, now := g.current.Load(), time.Now()
	if have == nil || !have.token.Equal(failed) {
		return
	}
	if g.refused.Equal(failed) && now.Sub(g.refusedAt) < refusalMemory {
		if !have.token.same(failed) {
			return // this refusal is of before it was fetched again
		}
		g.refusedAgain = true
	}
	g.refused, g.refusedAt = failed, now
	g.current.Store(nil)
}

// State tells what is known of the token.
func (g *tokenCache) State() TokenState {
	var s TokenState
	if have := g.current.Load(); have != nil {
		s.Valid = time.Now().Before(have.expires)
		s.Fetched, s.Expires = have.fetched, have.expires
	}
	if out := g.failure.Load(); out != nil {
		s.Err = out.err
	}
	return s
}

// Close ends a fetch under way and waits for it. Afterwards only a token already there is handed
// out.
func (g *tokenCache) Close() {
	g.stop()
	<-g.fetches.DoChan("", func() (any, error) { return Secret{}, g.ctx.Err() })
}

func (g *tokenCache) failedRecently(now time.Time) error {
	if out := g.failure.Load(); out != nil && now.Before(out.until) {
		return out.err
	}
	return nil
}

// renewEarly starts a fetch that nobody waits for. Its failure is seen in State only: the token in
// hand still serves.
func (g *tokenCache) renewEarly(now time.Time) {
	if g.fetching.Load() || g.failedRecently(now) != nil {
		return
	}
	g.fetches.DoChan("", func() (any, error) { return g.refresh(false) })
}

// wait joins the fetch under way, or starts one, and waits for its end or for ctx's.
func (g *tokenCache) wait(ctx context.Context, probe bool) (Secret, error) {
	done := g.fetches.DoChan("", func() (any, error) { return g.refresh(probe) })
	select {
	case r := <-done:
		token, _ := r.Val.(Secret)
		return token, r.Err
	case <-ctx.Done():
		return Secret{}, unanswered(CallToken, ctx.Err(), false, nil)
	}
}

// refresh fetches a token and keeps it. Unless probe, it looks first whether another has just done
// so, or failed to.
func (g *tokenCache) refresh(probe bool) (Secret, error) {
	g.fetching.Store(true)
	defer g.fetching.Store(false)
	asked := time.Now()
	if !probe {
		if have := g.current.Load(); have != nil && asked.Before(have.renew) {
			return have.token, nil
		}
		if failed := g.failedRecently(asked); failed != nil {
			return Secret{}, failed
		}
	}
	ctx, cancel := context.WithTimeout(g.ctx, fetchTimeout)
	defer cancel()
	token, life, err := g.fetch(ctx)
	if err == nil && g.takeRefusedAgain(token) {
		token, life, err = g.replaceRefused(ctx)
	}
	if err != nil {
		err = asTokenError(err)
		g.failed(err)
		return Secret{}, err
	}
	g.keep(token, life, asked)
	return token, nil
}

// takeRefusedAgain reports, once, that token has been refused, fetched again and refused again.
func (g *tokenCache) takeRefusedAgain(token Secret) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.refusedAgain || !g.refused.Equal(token) {
		return false
	}
	g.refusedAgain = false
	return true
}

func (g *tokenCache) failed(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wait := g.pause.NextBackOff()
	if e := (*Error)(nil); errors.As(err, &e) {
		wait = max(wait, e.RetryAfter)
	}
	g.failure.Store(&fetchFailure{err: err, until: time.Now().Add(wait)})
}

// keep makes token the current one. Its life counts from before the question, so it never seems to
// last longer than it does.
func (g *tokenCache) keep(token Secret, life time.Duration, asked time.Time) {
	life = clamp(life, minTokenLife, maxTokenLife)
	margin := min(renewMargin, life/10)
	// many processes, one endpoint: not all at once
	margin -= time.Duration(rand.Int64N(int64(margin) / 4))
	next := &cachedToken{token: token, fetched: asked, expires: asked.Add(life)}
	next.renew = next.expires.Add(-margin)

	g.mu.Lock()
	defer g.mu.Unlock()
	if !token.Equal(g.refused) {
		g.refused, g.refusedAgain = Secret{}, false
		g.pause.Reset()
	}
	g.failure.Store(nil)
	g.current.Store(next)
}

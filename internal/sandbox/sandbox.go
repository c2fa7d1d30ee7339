package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of [Options].
const (
	DefaultKeep     = 1_000_000
	DefaultTokenTTL = 7200 * time.Second
)

// Options set up a [Sandbox]. The zero value is a sandbox that accepts every app, answers at once
// and keeps the last million calls with their bodies.
type Options struct {
	// Apps maps an appid to its secret. Token calls of other apps answer 40013, and with another
	// secret 40125. Empty accepts every appid with every secret.
	Apps map[string]string

	// TokenTTL is how long an access token lives, as announced in expires_in (whole seconds, at
	// least 1). Zero is [DefaultTokenTTL]. A stable token is renewed in the last 1/24 of it, which
	// is the real API's last 5 minutes of 7200 s.
	TokenTTL time.Duration

	// TokenPrefix starts every issued token, so that a test can look for it in logs. Empty is
	// "sandbox_". It must not need escaping in a query.
	TokenPrefix string

	// Latency is how long every send takes, unless a rule says otherwise. Token calls are not
	// delayed.
	Latency Latency

	// Seed of everything random in answers: shares and latencies. The same seed and the same order
	// of calls give the same answers.
	Seed uint64

	// Settings are how strict the API is at the start.
	Settings Settings

	// Keep is how many calls are remembered; the oldest go first. Zero is [DefaultKeep], below zero
	// keeps none. Totals count on. A call costs about 130 bytes and its body, and each different
	// recipient about as much again until [Sandbox.Forget].
	Keep int

	// DropBodies remembers calls without their bodies, only with a hash of them.
	DropBodies bool

	// Fast is for benchmarks: bodies are read, but neither looked at (only rules that match by call
	// and app still do anything) nor remembered; calls are only counted. Tokens and quotas are
	// checked as ever; of the other settings none holds for sends.
	Fast bool

	// Log gets the control calls and, at debug level, one line per call; never an openid, a text, a
	// token or a secret. Nil discards.
	Log *slog.Logger
}

// Latency is a range of waiting times, drawn evenly. A Max below Min means exactly Min.
type Latency struct{ Min, Max time.Duration }

// Sandbox is a fake of WeChat's customer-service API. It is an [http.Handler]; [Sandbox.Listen]
// puts it on a port. All methods are safe for concurrent use.
type Sandbox struct {
	opts    Options
	log     *slog.Logger
	routes  map[string]*route
	apps    *apps
	tokens  *tokens
	rids    *rids
	script  *script
	journal *journal
	latency *seededRandom
	control http.Handler
	pages   Pages // may be nil

	settings atomic.Pointer[settings]
	ahead    atomic.Int64 // how far the clock is ahead of the machine's, in nanoseconds
	bodies   sync.Pool

	closing chan struct{} // closed by Close: everything that waits gives up

	mu       sync.Mutex // guards closed, taken and the Add of serving
	closed   bool
	hijacked map[net.Conn]struct{} // from net/http, by rules that go past it
	serving  sync.WaitGroup        // accept loops
	conns    sync.WaitGroup        // connections that net/http still owns
	server   *http.Server
}

// New makes a sandbox. Nothing runs until [Sandbox.Listen], [Sandbox.Serve] or a server of the
// caller's.
func New(opts Options) *Sandbox {
	if opts.TokenTTL <= 0 {
		opts.TokenTTL = DefaultTokenTTL
	}
	if opts.TokenPrefix == "" {
		opts.TokenPrefix = "sandbox_"
	}
	if opts.Keep == 0 {
		opts.Keep = DefaultKeep
	}
	if opts.Keep < 0 || opts.Fast {
		opts.Keep = 0
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sandbox{
		opts:     opts,
		log:      opts.Log,
		routes:   newRoutes(),
		rids:     newRIDs(),
		script:   newScript(opts.Seed),
		journal:  newJournal(opts.Keep, opts.DropBodies),
		latency:  newSeededRandom(opts.Seed, 0),
		closing:  make(chan struct{}),
		hijacked: map[net.Conn]struct{}{},
		bodies:   sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }},
	}
	s.apps = newApps(len(s.routes))
	maps.Copy(s.apps.secrets, opts.Apps)
	s.tokens = newTokens(opts.TokenTTL, opts.TokenPrefix, s.apps)
	s.Configure(opts.Settings)
	s.control = s.elsewhere(s.controlHandler())
	s.server = s.newServer()
	return s
}

// ServeHTTP answers the calls of the API, the control calls under /sandbox/, a page at / that
// explains both, and the pages that were attached.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	if rt := s.routes[path]; rt != nil {
		s.serveCall(w, r, rt)
		return
	}
	if strings.HasPrefix(path, "/cgi-bin/") || strings.HasPrefix(path, "/customservice/") {
		s.serveCall(w, r, unlisted(path))
		return
	}
	s.control.ServeHTTP(w, r)
}

// Add appends a rule to the script and returns its number. It panics when [Rule.Check] refuses the
// rule: a script written in Go that makes no sense is a mistake in the test, and a rule left out
// silently would be a test that proves nothing.
func (s *Sandbox) Add(r Rule) int {
	if err := r.Check(); err != nil {
		panic("sandbox: " + err.Error())
	}
	defer s.tell(Event{Kind: Changed})
	return s.script.add(r)
}

// Remove takes the rule with this number out of the script and says whether it was there.
func (s *Sandbox) Remove(id int) bool {
	defer s.tell(Event{Kind: Changed})
	return s.script.remove(id)
}

// RemoveRules empties the script.
func (s *Sandbox) RemoveRules() {
	s.script.clear()
	s.tell(Event{Kind: Changed})
}

// Rules lists the script in its order.
func (s *Sandbox) Rules() []RuleStatus { return s.script.status() }

// Forget drops what was received and sets every total to zero. Rules and tokens stay.
func (s *Sandbox) Forget() {
	s.journal.clear()
	s.tokens.forgetCounts()
	s.tell(Event{Kind: Forgot})
}

// Reset goes back to the start: no rules, nothing received, the settings of [Options], no users, no
// accounts, no quota used. Tokens stay valid and the clock goes on, so a client under test is not
// disturbed.
func (s *Sandbox) Reset() {
	s.RemoveRules()
	s.Configure(s.opts.Settings)
	s.apps.forget()
	s.tokens.forgetForced()
	s.Forget()
}

// Grant makes a token valid that the sandbox did not issue, for tests of a central token server or
// of odd token replies.
func (s *Sandbox) Grant(appID, token string) { s.tokens.grant(appID, token, s.now()) }

// ExpireTokens makes every token issued so far stale: the next call with one of them answers 40001.
// Apps limit it to theirs.
func (s *Sandbox) ExpireTokens(appIDs ...string) { s.tokens.expire(appIDs) }

// Received returns the calls still remembered, oldest first. For very many see [Sandbox.Records].
func (s *Sandbox) Received() []Record {
	var all []Record
	for r := range s.Records(Filter{}) {
		all = append(all, r)
	}
	return all
}

// Stats returns the totals since the start, or since the last [Sandbox.Forget].
func (s *Sandbox) Stats() Stats {
	st := s.journal.stats()
	st.TokensIssued, st.TokensForced = s.tokens.counts()
	return st
}

// ErrClosed is returned by what a [Sandbox.Close] has ended or come before.
var ErrClosed = errors.New("sandbox: closed")

// Wait returns when at least n sends have been received in all, whatever they were answered. A send
// counts as soon as it has been read: when its answer is delayed or never comes, Wait returns
// nevertheless. The error is the context's or [ErrClosed].
func (s *Sandbox) Wait(ctx context.Context, n int) error {
	return s.wait(ctx, s.journal.waitSends(n))
}

// WaitFor returns when at least n calls that match the filter have been received, counting those
// still remembered. With Options.Fast only the filter's Call, AppID and Delivered can match.
func (s *Sandbox) WaitFor(ctx context.Context, f Filter, n int) error {
	return s.wait(ctx, s.journal.waitFor(f, n))
}

func (s *Sandbox) wait(ctx context.Context, w *waiter) error {
	defer s.journal.drop(w)
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
}

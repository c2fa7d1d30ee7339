// Package doctor looks at an installation of kefu and says what is wrong with it, and what to do
// about each thing: the broker, the JetStream objects, the rights of its user, the way to the API,
// secrets, tokens, quotas, and the machine. It changes nothing.
//
// The checks are one table (checks.go). A check sees something, which is I/O, and judges what it
// has seen, which is a pure function. What several checks need, such as the connection or an app's
// token, is had once (scene.go).
//
//	findings := doctor.Examine(ctx, doctor.Options{Config: cfg, Apps: cfg.Apps})
//	errors, warnings, skipped := doctor.Count(findings)
package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/config"
	"github.com/kefuhq/kefu/internal/gate"
)

// State is how bad a finding is.
type State string

// The states.
const (
	OK      State = "ok"
	Warning State = "warning" // it works, and may not much longer, or not as it is meant
	Error   State = "error"   // something does not work
	Skipped State = "skipped" // not looked at; the finding says why
)

// Finding is what a check says of one thing. Scripts rely on its JSON.
type Finding struct {
	Check string `json:"check"`
	App   string `json:"app"` // the appid, "" for what is about no single app
	State State  `json:"state"`
	Text  string `json:"finding"`
	Fix   string `json:"fix"` // "" where there is nothing to do
}

// Count returns how many findings have each of three states.
func Count(findings []Finding) (errors, warnings, skipped int) {
	for _, f := range findings {
		switch f.State {
		case Error:
			errors++
		case Warning:
			warnings++
		case Skipped:
			skipped++
		case OK:
		}
	}
	return errors, warnings, skipped
}

// Options say what is looked at.
type Options struct {
	Config *config.Config
	Apps   []config.App // of Config; those that are looked at

	// Getenv returns a variable of the environment; nil: none is set.
	Getenv func(string) string

	// Monitor are addresses of nats-servers' monitoring, as http://127.0.0.1:8222. They say what a
	// client cannot see. Empty: nobody is asked.
	Monitor []string

	// Role is whose rights the broker's user should have, see Roles; "" takes the one that they fit
	// best.
	Role string

	// Advice is what an operator can do about holds; nil: nothing is said.
	Advice func([]gate.Hold) string

	// Wait is how long the broker is waited for; 0: 5 s.
	Wait time.Duration

	// Root is the folder that holds proc and sys; "" is the root of the file system.
	Root string
}

const (
	connectWait  = 5 * time.Second
	checkTimeout = 20 * time.Second // of one check, whatever it waits for
	atOnce       = 16               // checks
)

// Names returns the names of the checks and what each of them looks at, in the order in which they
// are reported.
func Names() (names, about []string) {
	for _, c := range checks {
		names, about = append(names, c.name), append(about, c.about)
	}
	return names, about
}

// Examine does all checks and returns what they found, in the order of Names, and of the apps
// within a check. It ends when all checks have ended, at the latest some time after ctx does.
func Examine(ctx context.Context, o Options) []Finding {
	o.Wait = cmp.Or(o.Wait, connectWait)
	o.Root = cmp.Or(o.Root, "/")
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	s := newScene(ctx, o)
	defer s.close()
	found := make([][]Finding, len(checks))
	slots := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i, c := range checks {
		running.Go(func() { found[i] = c.run(ctx, s, slots) })
	}
	running.Wait()
	var all []Finding
	for i, c := range checks {
		for _, f := range found[i] {
			f.Check = c.name
			all = append(all, f)
		}
	}
	return all
}

// check is one row of the table.
type check struct {
	name  string
	about string // what it looks at
	run   func(ctx context.Context, s *scene, slots chan struct{}) []Finding
}

// once is a check of the whole.
func once[F any](
	name, about string, see func(context.Context, *scene) (F, error), judge func(F) []Finding,
) check {
	return check{name, about, func(ctx context.Context, s *scene, slots chan struct{}) []Finding {
		return within(ctx, slots, func(ctx context.Context) (F, error) {
			return see(ctx, s)
		}, judge)
	}}
}

// each is a check of every app.
func each[F any](
	name, about string, see func(context.Context, *scene, config.App) (F, error),
	judge func(F) []Finding,
) check {
	return check{name, about, func(ctx context.Context, s *scene, slots chan struct{}) []Finding {
		if len(s.Apps) == 0 {
			return []Finding{skipped("no app is configured here")}
		}
		found := make([][]Finding, len(s.Apps))
		var running sync.WaitGroup
		for i, app := range s.Apps {
			running.Go(func() {
				found[i] = within(ctx, slots, func(ctx context.Context) (F, error) {
					return see(ctx, s, app)
				}, judge)
			})
		}
		running.Wait()
		var all []Finding
		for i, app := range s.Apps {
			for _, f := range found[i] {
				f.App = app.AppID
				all = append(all, f)
			}
		}
		return all
	}}
}

// within does a check in a slot and in its time.
func within[F any](
	ctx context.Context, slots chan struct{}, see func(context.Context) (F, error),
	judge func(F) []Finding,
) []Finding {
	slots <- struct{}{}
	defer func() { <-slots }()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	seen, err := see(ctx)
	if err != nil {
		return []Finding{unseen(err)}
	}
	return judge(seen)
}

// skip is why a check is not done, and what would have it done.
type skip struct{ why, fix string }

func (s *skip) Error() string { return s.why }

func skipf(format string, args ...any) error { return &skip{why: fmt.Sprintf(format, args...)} }

// unseen is the finding of a check that could not look.
func unseen(err error) Finding {
	var why *skip
	switch {
	case errors.As(err, &why):
		return Finding{State: Skipped, Text: why.why, Fix: why.fix}
	case errors.Is(err, broker.ErrDenied):
		return skipped(err.Error())
	case errors.Is(err, context.Canceled):
		return skipped("interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return bad("no answer in time: "+err.Error(),
			"Look whether the broker's cluster has a leader: nats server report jetstream.")
	}
	return bad("this cannot be looked at: "+err.Error(), "Mend what it says, and look again.")
}

func well(format string, args ...any) Finding {
	return Finding{State: OK, Text: fmt.Sprintf(format, args...)}
}

func skipped(why string) Finding { return Finding{State: Skipped, Text: why} }

func bad(text, fix string) Finding { return Finding{State: Error, Text: text, Fix: fix} }

func risky(text, fix string) Finding { return Finding{State: Warning, Text: text, Fix: fix} }

// or returns findings, or the one that all is well when there are none.
func or(findings []Finding, format string, args ...any) []Finding {
	if len(findings) > 0 {
		return findings
	}
	return []Finding{well(format, args...)}
}

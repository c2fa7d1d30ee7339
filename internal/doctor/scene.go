package doctor

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/kefuhq/kefu/internal/broker"
	"github.com/kefuhq/kefu/internal/wiring"
)

// streamInfos say how streams are set and how full they are, by name.
type streamInfos map[string]*jetstream.StreamInfo

// scene is what the checks look at together. Each part of it is looked at once, by the check that
// comes first.
type scene struct {
	Options
	refusals refusals

	conn    func() (*broker.Conn, error)
	user    func() (*user, error)
	account func() (*jetstream.AccountInfo, error)
	streams func() (streamInfos, error)
	servers func() ([]node, error)
	api     func() (apiAnswer, error)
	offices map[string]*office // by appid
}

func newScene(ctx context.Context, o Options) *scene {
	s := &scene{Options: o, offices: make(map[string]*office)}
	s.conn = had(ctx, s.connect)
	s.user = had(ctx, s.askUser)
	s.account = had(ctx, s.askAccount)
	s.streams = had(ctx, s.askStreams)
	s.servers = had(ctx, s.askServers)
	s.api = had(ctx, s.askAPI)
	for _, app := range o.Apps {
		s.offices[app.AppID] = newOffice(ctx, o.Config.WeChat, app)
	}
	return s
}

// had returns a function that asks once, by whichever check is first, and has the answer from then
// on.
func had[T any](ctx context.Context, ask func(context.Context) (T, error)) func() (T, error) {
	return sync.OnceValues(func() (T, error) {
		ctx, cancel := context.WithTimeout(ctx, checkTimeout)
		defer cancel()
		return ask(ctx)
	})
}

func (s *scene) close() {
	if conn, err := s.conn(); err == nil {
		conn.Close()
	}
	for _, o := range s.offices {
		o.close()
	}
}

func (s *scene) connect(ctx context.Context) (*broker.Conn, error) {
	options, err := s.brokerOptions()
	if err != nil {
		return nil, err
	}
	return broker.Connect(ctx, options)
}

func (s *scene) brokerOptions() (broker.Options, error) {
	options, err := wiring.BrokerOptions(s.Config)
	options.Name, options.FirstWait, options.Denied = "kefu doctor", s.Wait, s.refusals.note
	return options, err
}

// broker returns the connection, or why a check that needs it is not done.
func (s *scene) broker() (*broker.Conn, error) {
	conn, err := s.conn()
	if err != nil {
		return nil, skipf("there is no broker to ask")
	}
	return conn, nil
}

// jetstream is broker for a check that needs JetStream as well.
func (s *scene) jetstream() (*broker.Conn, error) {
	conn, err := s.broker()
	if err != nil {
		return nil, err
	}
	if _, err := s.account(); isOff(err) {
		return nil, skipf("JetStream is off")
	}
	return conn, nil
}

// ask asks the broker something. subjects are what the question is published to, each whole or up
// to a wildcard at its end; the question ends when this user may not publish to one of them.
func (s *scene) ask(ctx context.Context, subjects []string, question func(context.Context) error,
) error {
	if slices.Contains(subjects, userInfo) {
		return s.refusals.during(ctx, subjects, question)
	}
	if u, err := s.user(); err == nil {
		for _, subject := range subjects {
			if !u.may(subject) {
				return skipf("this user may not publish to %s", subject)
			}
		}
	}
	return s.refusals.during(ctx, subjects, question)
}

// refusals are what the broker has refused. It says so outside of the question that it refuses.
type refusals struct {
	mu      sync.Mutex
	waiting map[*waiter]bool
}

type waiter struct {
	subjects []string
	end      context.CancelCauseFunc
}

var refusedSubject = regexp.MustCompile(`to (\S+)$`)

// note takes a refusal of the broker's, which names the subject or its head.
func (r *refusals) note(err error) {
	m := refusedSubject.FindStringSubmatch(err.Error())
	if m == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := range r.waiting {
		if slices.ContainsFunc(w.subjects, func(s string) bool { return overlaps(s, m[1]) }) {
			w.end(skipf("this user may not publish to %s", m[1]))
		}
	}
}

// overlaps says whether two subjects may be the same, when what follows a wildcard does not count.
func overlaps(a, b string) bool {
	a, _, _ = strings.Cut(a, ">")
	b, _, _ = strings.Cut(b, ">")
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// during asks a question, which a refusal of one of its subjects ends.
func (r *refusals) during(
	ctx context.Context, subjects []string, question func(context.Context) error,
) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	w := &waiter{subjects, end}
	r.mu.Lock()
	if r.waiting == nil {
		r.waiting = make(map[*waiter]bool)
	}
	r.waiting[w] = true
	r.mu.Unlock()
	err := question(ctx)
	r.mu.Lock()
	delete(r.waiting, w)
	r.mu.Unlock()
	var refused *skip
	if err != nil && errors.As(context.Cause(ctx), &refused) {
		return refused
	}
	return err
}

// askStreams returns how the streams of the configured apps, and those of all, are set and how full
// they are; one that is missing is not among them.
func (s *scene) askStreams(ctx context.Context) (streamInfos, error) {
	conn, err := s.jetstream()
	if err != nil {
		return nil, err
	}
	found := make(streamInfos)
	for _, want := range s.wanted() {
		err := s.ask(ctx, []string{streamInfo + want.Name},
			func(ctx context.Context) error {
				stream, err := conn.JS.Stream(ctx, want.Name)
				if err == nil {
					found[want.Name] = stream.CachedInfo()
				}
				return err
			})
		if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, fmt.Errorf("stream %s: %w", want.Name, err)
		}
	}
	return found, nil
}

// wanted are all streams that there should be: those of kefu setup, and the one that workers make.
func (s *scene) wanted() []jetstream.StreamConfig {
	return append(broker.Streams(s.spec()), broker.RateStream(s.Config.NATS.Replicas))
}

// spec is what the broker should have for the apps that are looked at.
func (s *scene) spec() broker.Spec {
	cfg := *s.Config
	cfg.Apps = s.Apps
	return wiring.BrokerSpec(&cfg)
}

//go:build faults

package faults

import (
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// offer publishes live texts to each app at a fixed rate for a while, and returns when each left,
// by recipient.
func (s *scene) offer(
	apps []string, prefix string, perSecond int, d time.Duration,
) map[string]time.Time {
	s.T.Helper()
	sent := make(map[string]time.Time)
	began := time.Now()
	n := int(d.Seconds() * float64(perSecond))
	for i := range n {
		// the rate is the load
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))))
		for _, app := range apps {
			id := fmt.Sprintf("%s-%s-%d", prefix, app, i)
			m := nats.NewMsg("kefu.send." + app + ".live." + id)
			m.Data = []byte(text(id))
			m.Header.Set(schema.HeaderMsgID, id)
			sent[id] = time.Now()
			_, err := s.JS.PublishMsgAsync(m)
			s.NoError(err)
			s.published = append(s.published, id)
		}
	}
	return sent
}

// queueTimes returns the times from publication to the API, sorted, of those that the API has had
// until now.
func (s *scene) queueTimes(sent map[string]time.Time) []time.Duration {
	var out []time.Duration
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		if at, ok := sent[r.OpenID]; ok {
			out = append(out, r.At.Sub(at))
		}
	}
	slices.Sort(out)
	return out
}

func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(100 * time.Microsecond)
}

// TestOneHeldAppChangesNothingForTheOthers offers ten apps the same rate, then the same with one of
// them held over a backlog.
func TestOneHeldAppChangesNothingForTheOthers(t *testing.T) {
	rate, d, backlog := 10, 6*time.Second, 1000
	if *full {
		rate, d, backlog = 50, 30*time.Second, 10_000
	}
	apps := make([]string, 10)
	for i := range apps {
		apps[i] = fmt.Sprintf("wx%016d", i+1)
	}
	held, others := apps[0], apps[1:]
	s := &scene{Stage: stage.New(t, stage.Options{Apps: apps, Worker: []string{"concurrency: 64"}})}
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 20 * time.Millisecond})
	s.Start()

	before := s.queueTimes(s.offer(others, "free", rate, d))
	_, code := s.Kefu("app", "pause", held)
	s.Zero(code)
	s.sendMany(held, "held", backlog)
	sent := s.offer(others, "beside", rate, d)
	beside := s.queueTimes(sent)
	s.GreaterOrEqual(float64(len(beside)), 0.95*float64(len(before)), "the others complete as many")
	s.EqualValues(backlog, s.Stored(schema.SendStream(held)), "nothing of the held app moves")

	_, code = s.Kefu("app", "resume", held)
	s.Zero(code)
	s.Drained()
	receipts := s.StoredReceipts()
	for _, id := range s.published {
		s.Len(receipts[id], 1, id)
		s.Equal(schema.StateSent, receipts[id][0].State, id)
		s.Equal(1, receipts[id][0].Attempts, "%s: a hold spends no attempt", id)
	}
	report("ten apps", fmt.Sprintf("9 apps offered %d/s each for %s, without and with a tenth "+
		"held over %d queued", rate, d, backlog),
		fmt.Sprintf("done by the end of the offer: %d without (p99 %s), %d with (p99 %s); after "+
			"resume all %d of the held one sent, 1 attempt each",
			len(before), quantile(before, 0.99), len(beside), quantile(beside, 0.99), backlog))
}

// TestManyDueAtOnce has the time of many intents come at the same instant while fresh live intents
// go on. A retry that waited comes back the same way.
func TestManyDueAtOnce(t *testing.T) {
	n, rate := 3000, 20
	if *full {
		n, rate = 20_000, 100
	}
	s := &scene{Stage: stage.New(t, stage.Options{})}
	s.Start()
	quiet := s.queueTimes(s.offer([]string{stage.App}, "quiet", rate, 4*time.Second))
	due := time.Now().Add(time.Duration(n/200+6) * time.Second)
	s.sendMany(stage.App, "due", n, schema.HeaderSendAt, due.UTC().Format(time.RFC3339Nano))
	s.Eventually(func() bool {
		return s.Stored(wire.StreamLater) == uint64(n) ||
			time.Now().After(due)
	}, stage.Patience, 20*time.Millisecond)
	s.Less(time.Now(), due, "all of them wait before their time comes")
	time.Sleep(time.Until(due.Add(-time.Second))) // until just before
	sent := s.offer([]string{stage.App}, "fresh", rate, 6*time.Second)
	s.Drained()
	fresh := s.queueTimes(sent)
	last := due
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		if strings.HasPrefix(r.OpenID, "due") {
			s.False(r.At.Before(due), "none goes out early")
			last = r.At
		}
	}
	for id, rs := range s.StoredReceipts() {
		s.Len(rs, 1, id)
		s.Equal(schema.StateSent, rs[0].State, id)
	}
	s.Less(quantile(fresh, 0.99), 10*time.Second, "fresh intents are not kept waiting")
	report("due at once",
		fmt.Sprintf("%d intents due at the same instant, %d fresh live ones a second", n, rate),
		fmt.Sprintf("the last of them out %s after their time; fresh p50 %s, p99 %s (before: "+
			"p50 %s, p99 %s)", last.Sub(due).Round(10*time.Millisecond),
			quantile(fresh, 0.5), quantile(fresh, 0.99), quantile(quiet,
				0.5), quantile(quiet, 0.99)))
}

// TestNoWayOut has nothing reach the API for a long time: an hour, compressed.
func TestNoWayOut(t *testing.T) {
	t.Parallel()
	d := 8 * time.Second
	if *full {
		d = time.Minute
	}
	const n = 100
	for _, way := range []struct {
		name string
		// out makes the API unreachable before the worker starts, and returns what restores it.
		out func(*scene) (restore func())
	}{
		{"refused", func(s *scene) func() {
			address := s.FreeAddress()
			s.UseAPI("http://" + address)
			return func() {
				l, err := net.Listen("tcp", address)
				s.NoError(err)
				go func() { _ = s.API.Serve(l) }() // ends with the sandbox
			}
		}},
		{"no such name", func(s *scene) func() {
			s.UseAPI("https://api.kefu.invalid")
			return func() {
				s.NoError(s.Worker().Stop(os.Interrupt))
				s.UseAPI(s.APIURL)
				s.Start()
			}
		}},
		{"TLS stalled", func(s *scene) func() {
			// connections are accepted by the system, and never answered
			a, l := newAuthority(s), s.listen()
			s.UseAPI("https://"+l.Addr().String(), "timeout: 1s",
				fmt.Sprintf("ca_file: %q", a.file))
			good := a.issue(nothingWrong)
			return func() { serveSandboxTLS(s, l, func() *tls.Certificate { return good }) }
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			s := &scene{Stage: stage.New(t, stage.Options{})}
			restore := way.out(s)
			s.Start()
			for i := range n {
				s.send(fmt.Sprint("user", i))
			}
			time.Sleep(d) // the outage
			s.EqualValues(n, s.Queued(), "everything stays queued")
			s.Empty(s.Letters(), "nothing died")
			restore()
			s.Drained()
			for id, rs := range s.StoredReceipts() {
				s.Len(rs, 1)
				s.Equal(schema.StateSent, rs[0].State, id)
				s.Equal(1, rs[0].Attempts, "no attempt is spent")
				s.False(rs[0].PossibleDuplicate, id)
			}
			got := s.look()
			s.Equal(span{1, 1}, got.posts)
			report("no way out", fmt.Sprintf("%s for %s, %d intents", way.name, d, n),
				got.ends+", 1 attempt and 1 post each, nothing dead")
		})
	}
}

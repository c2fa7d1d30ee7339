//go:build faults

package faults

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// many publishes n bulk texts to an app without waiting for each.
func (s *scene) many(app, prefix string, n int, header ...string) {
	s.T.Helper()
	for i := range n {
		id := fmt.Sprint(prefix, i)
		m := nats.NewMsg("kefu.send." + app + ".bulk.campaign")
		m.Data = []byte(text(id))
		m.Header.Set(schema.HeaderMsgID, id)
		for k := 0; k+1 < len(header); k += 2 {
			m.Header.Set(header[k], header[k+1])
		}
		_, err := s.JS.PublishMsgAsync(m)
		s.NoError(err)
		s.published = append(s.published, id)
		if i%1000 == 999 || i == n-1 {
			select {
			case <-s.JS.PublishAsyncComplete():
			case <-time.After(stage.Patience):
				s.FailNow("the broker does not answer")
			}
		}
	}
}

// offer publishes live texts to each app at a fixed rate for a while, and
// returns when each left, by recipient.
func (s *scene) offer(apps []string, prefix string, perSecond int, d time.Duration) map[string]time.Time {
	s.T.Helper()
	sent := make(map[string]time.Time)
	began := time.Now()
	n := int(d.Seconds() * float64(perSecond))
	for i := range n {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(perSecond)))) // the rate is the load
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

// waits are the times from publication to the API, sorted, of those that the
// API has had until now.
func (s *scene) waits(sent map[string]time.Time) []time.Duration {
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

// TestOneHeldAppChangesNothingForTheOthers offers ten apps the same rate, then
// the same with one of them held over a backlog.
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

	before := s.waits(s.offer(others, "free", rate, d))
	_, code := s.Kefu("app", "pause", held)
	s.Zero(code)
	s.many(held, "held", backlog)
	sent := s.offer(others, "beside", rate, d)
	beside := s.waits(sent)
	s.GreaterOrEqual(float64(len(beside)), 0.95*float64(len(before)), "the others complete as many")
	s.EqualValues(backlog, s.Stored(schema.SendStream(held)), "nothing of the held app moves")

	_, code = s.Kefu("app", "resume", held)
	s.Zero(code)
	s.Drained()
	receipts := s.StoredReceipts()
	for _, id := range s.published {
		s.Len(receipts[id], 1, id)
		s.Equal(schema.Sent, receipts[id][0].State, id)
		s.Equal(1, receipts[id][0].Attempts, "%s: a hold spends no attempt", id)
	}
	report("ten apps", fmt.Sprintf("9 apps offered %d/s each for %s, without and with a tenth held over %d queued", rate, d, backlog),
		fmt.Sprintf("done by the end of the offer: %d without (p99 %s), %d with (p99 %s); after resume all %d of the held one sent, 1 attempt each",
			len(before), quantile(before, 0.99), len(beside), quantile(beside, 0.99), backlog))
}

// TestManyDueAtOnce has the time of many intents come at the same instant while
// fresh live intents go on. A retry that waited comes back the same way.
func TestManyDueAtOnce(t *testing.T) {
	n, rate := 3000, 20
	if *full {
		n, rate = 20_000, 100
	}
	s := &scene{Stage: stage.New(t, stage.Options{})}
	s.Start()
	quiet := s.waits(s.offer([]string{stage.App}, "quiet", rate, 4*time.Second))
	due := time.Now().Add(time.Duration(n/400+4) * time.Second)
	s.many(stage.App, "due", n, schema.HeaderSendAt, due.UTC().Format(time.RFC3339Nano))
	s.Eventually(func() bool { return s.Stored(schema.StreamLater) == uint64(n) || time.Now().After(due) }, stage.Patience, 20*time.Millisecond)
	s.Less(time.Now(), due, "all of them wait before their time comes")
	time.Sleep(time.Until(due.Add(-time.Second))) // until just before
	sent := s.offer([]string{stage.App}, "fresh", rate, 6*time.Second)
	s.Drained()
	fresh := s.waits(sent)
	last := due
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		if strings.HasPrefix(r.OpenID, "due") {
			s.False(r.At.Before(due), "none goes out early")
			last = r.At
		}
	}
	for id, rs := range s.StoredReceipts() {
		s.Len(rs, 1, id)
		s.Equal(schema.Sent, rs[0].State, id)
	}
	s.Less(quantile(fresh, 0.99), 10*time.Second, "fresh intents are not kept waiting")
	report("due at once", fmt.Sprintf("%d intents due at the same instant, %d fresh live ones a second", n, rate),
		fmt.Sprintf("the last of them out %s after their time; fresh p50 %s, p99 %s (before: p50 %s, p99 %s)", last.Sub(due).Round(10*time.Millisecond),
			quantile(fresh, 0.5), quantile(fresh, 0.99), quantile(quiet, 0.5), quantile(quiet, 0.99)))
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
		// out makes the API unreachable before the worker starts, and returns what
		// mends it.
		out func(*scene) (mend func())
	}{
		{"refused", func(s *scene) func() {
			address := s.FreeAddress()
			s.UseAPI("http://" + address)
			return func() { s.forward(address) }
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
			cert := s.certificate()
			l, err := net.Listen("tcp", "127.0.0.1:0") // connections are accepted by the system, and never answered
			s.NoError(err)
			s.UseAPI("https://"+l.Addr().String(), "timeout: 1s", fmt.Sprintf("ca_file: %q", filepath.Join(s.Dir, "ca.pem")))
			return func() {
				server := &http.Server{
					Handler: s.API, ReadHeaderTimeout: stage.Patience, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}},
					ErrorLog: log.New(io.Discard, "", 0), // handshakes that were given up
				}
				go func() { _ = server.ServeTLS(l, "", "") }()
				s.T.Cleanup(func() { _ = server.Close() })
			}
		}},
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			s := &scene{Stage: stage.New(t, stage.Options{})}
			mend := way.out(s)
			s.Start()
			for i := range n {
				s.send(fmt.Sprint("user", i))
			}
			time.Sleep(d) // the outage
			s.EqualValues(n, s.Queued(), "everything stays queued")
			s.Empty(s.Letters(), "nothing died")
			mend()
			s.Drained()
			for id, rs := range s.StoredReceipts() {
				s.Len(rs, 1)
				s.Equal(schema.Sent, rs[0].State, id)
				s.Equal(1, rs[0].Attempts, "no attempt is spent")
				s.False(rs[0].PossibleDuplicate, id)
			}
			got := s.look()
			s.Equal(span{1, 1}, got.posts)
			report("no way out", fmt.Sprintf("%s for %s, %d intents", way.name, d, n), got.ends+", 1 attempt and 1 post each, nothing dead")
		})
	}
}

// forward opens a way to the sandbox at an address.
func (s *scene) forward(address string) {
	s.T.Helper()
	l, err := (&net.ListenConfig{}).Listen(s.T.Context(), "tcp", address)
	s.NoError(err)
	server := &http.Server{Handler: s.API, ReadHeaderTimeout: stage.Patience}
	go func() { _ = server.Serve(l) }()
	s.T.Cleanup(func() { _ = server.Shutdown(context.WithoutCancel(s.T.Context())) })
}

// certificate makes a certificate of this machine and writes it as an authority
// to ca.pem.
func (s *scene) certificate() tls.Certificate {
	s.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	s.NoError(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sandbox"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	s.NoError(err)
	s.NoError(os.WriteFile(filepath.Join(s.Dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

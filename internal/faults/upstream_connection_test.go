//go:build faults

package faults

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
)

// connectionRows are about connections to the API.
var connectionRows = []row{
	{
		id: "F50", fault: "an answer after 5 s",
		expected: "waited for", ends: "1 sent", posts: span{1, 1},
		run: sent(sandbox.Rule{Delay: 5 * time.Second}),
	},
	{
		id: "F50", fault: "an answer after 15 s, which is longer than AckWait; wechat.timeout 30s",
		expected: "waited for, the intent stays in hand", ends: "1 sent", posts: span{1, 1},
		options: timeout("30s"),
		run:     sent(sandbox.Rule{Delay: 15 * time.Second}),
	},
	{
		id: "F50", fault: "no answer ever, though the message was delivered; resend",
		expected: "unknown after the timeout: sent once more, marked", ends: "1 sent",
		posts: span{2, 2}, doubles: span{1, 1},
		options: timeout("3s"), run: sent(sandbox.Rule{Hang: true, Delivered: true}),
	},
	{
		id: "F50", fault: "no answer ever; park",
		expected: "parked after the timeout", ends: "1 dead unknown", posts: span{1, 1},
		doubles: span{1, 1},
		options: stage.Options{WeChat: []string{"timeout: 3s"},
			Defaults: []string{"on_unknown: park"}}, run: sent(sandbox.Rule{Hang: true}),
	},
	{
		id: "F51", fault: "connections are refused, then not any more",
		expected: "held upstream, probed; no attempt spent", ends: "5 sent",
		posts: span{1, 1}, run: connectionRefused,
	},
	{
		id: "F51", fault: "the API's name cannot be resolved",
		expected: "held upstream; nothing dead", ends: "3 queued", posts: span{0, 0},
		run: unreachable("https://api.kefu.invalid"),
	},
	{
		id: "F51", fault: "no route to the API",
		expected: "held upstream; nothing dead", ends: "3 queued", posts: span{0, 0},
		run: unreachable("https://[2001:db8::1]"), options: timeout("1s"),
	},
	{
		id: "F52", fault: "the API's certificate has expired",
		expected: "nothing is sent; held config, says so; goes on with a good one", ends: "3 sent",
		posts: span{1, 1}, run: badCertificate(expired),
	},
	{
		id: "F52", fault: "the API's certificate is another host's",
		expected: "nothing is sent; held config, says so; goes on with a good one", ends: "3 sent",
		posts: span{1, 1}, run: badCertificate(anotherHost),
	},
	{
		id: "F52", fault: "the API's certificate is of an authority that nobody trusts",
		expected: "nothing is sent; held config, says so; goes on with a good one", ends: "3 sent",
		posts: span{1, 1}, run: badCertificate(unknownAuthority),
	},
	{
		id: "F52", fault: "TLS handshakes stall",
		expected: "not sent: held upstream, probed; no attempt spent", ends: "3 sent",
		posts:   span{1, 1},
		options: timeout("2s"), run: withBadListener(neverAnswer),
	},
	{
		id: "F53", fault: "a reset in the TLS handshake",
		expected: "not sent: held upstream, probed; no attempt spent", ends: "3 sent",
		posts: span{1, 1}, run: withBadListener(resetConnection),
	},
	{
		id:       "F53",
		fault:    "a reset after the request was written and before it was read; resend, park",
		expected: "nobody can know: unknown; sent once more, marked; parked",
		ends:     "1 dead unknown, 1 sent", posts: span{0, 1}, doubles: span{2, 2},
		run: func(s *scene) {
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Reset: sandbox.ResetUnread, Times: 1})
			s.Start()
			s.send("resent")
			s.Drained()
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Reset: sandbox.ResetUnread, Times: 1})
			s.send("parked", "Kefu-Unknown", "park")
			s.Drained()
		},
	},
	{
		id: "F54", fault: "a reset after the message was delivered; resend",
		expected: "unknown: sent once more, marked", ends: "1 sent", posts: span{2, 2},
		doubles: span{1, 1}, run: sent(sandbox.Rule{Reset: sandbox.ResetAfter}),
	},
	{
		id: "F54", fault: "a reset after the message was delivered; park",
		expected: "parked", ends: "1 dead unknown", posts: span{1, 1}, doubles: span{1, 1},
		options: park, run: sent(sandbox.Rule{Reset: sandbox.ResetAfter}),
	},
	{
		id: "F55", fault: "the API closes idle connections",
		expected: "noticed before anything is written: each sent once", ends: "5 sent",
		posts: span{1, 1}, run: idleClosed,
	},
}

// proxyRows are about a proxy in the environment.
var proxyRows = []row{
	{
		id: "F85", fault: "HTTP_PROXY and HTTPS_PROXY are set by accident",
		expected: "not used", ends: "1 queued", posts: span{0, 0}, run: proxyEnvironment,
	},
}

// connectionRefused has nobody listen at the API's address until the app is held.
func connectionRefused(s *scene) {
	address := s.FreeAddress()
	s.UseAPI("http://" + address)
	p := s.Start()
	for i := range 5 {
		s.send(fmt.Sprint("user", i))
	}
	h := s.held(stage.App, gate.Upstream)
	s.Contains(h.Reason, "connection refused")
	status, says := p.Readiness()
	s.Equal(http.StatusOK, status, "the worker itself is well: %s", says)
	_, err := s.API.Listen(address)
	s.NoError(err)
	s.Drained()
	s.noAttemptSpent()
}

// unreachable has the worker look for the API where it cannot be.
func unreachable(url string) func(*scene) {
	return func(s *scene) {
		s.UseAPI(url)
		s.Start()
		for i := range 3 {
			s.send(fmt.Sprint("user", i))
		}
		s.note("%s", s.held(stage.App, gate.Upstream).Reason)
		s.EqualValues(3, s.Queued())
		s.Empty(s.Letters())
	}
}

// authority is a certificate authority of a test's.
type authority struct {
	s    *scene
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(s *scene) *authority {
	s.T.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.NoError(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	s.NoError(err)
	cert, err := x509.ParseCertificate(der)
	s.NoError(err)
	a := &authority{s: s, cert: cert, key: key, file: filepath.Join(s.T.TempDir(), "ca.pem")}
	s.NoError(os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
		Bytes: der}), 0o600))
	return a
}

// issue makes a certificate of this machine, with something wrong about it.
func (a *authority) issue(wrong func(*x509.Certificate)) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.s.NoError(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "api"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	wrong(template)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	a.s.NoError(err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func nothingWrong(*x509.Certificate) {}

// What can be wrong about a certificate.
func expired(a *authority) *tls.Certificate {
	return a.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
}

func anotherHost(a *authority) *tls.Certificate {
	return a.issue(func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"api.example.com"}
	})
}

func unknownAuthority(a *authority) *tls.Certificate {
	return newAuthority(a.s).issue(nothingWrong)
}

// badCertificate has the API show a bad certificate until the app is held, and then a good one.
func badCertificate(bad func(*authority) *tls.Certificate) func(*scene) {
	return func(s *scene) {
		a := newAuthority(s)
		var shown atomic.Pointer[tls.Certificate]
		shown.Store(bad(a))
		serveTLS(s, a, s.listen(), shown.Load)
		s.Start()
		for i := range 3 {
			s.send(fmt.Sprint("user", i))
		}
		h := s.held(stage.App, gate.Config)
		s.Contains(h.Reason, "certificate")
		s.note("%s", h.Reason)
		s.Empty(s.API.Received(), "a call was made all the same")
		shown.Store(a.issue(nothingWrong))
		s.kefu("app", "resume", stage.App)
		s.Drained()
		s.noAttemptSpent()
	}
}

// serveTLS puts the sandbox behind TLS and has the worker go there.
func serveTLS(s *scene, a *authority, l net.Listener, cert func() *tls.Certificate) {
	s.UseAPI("https://"+l.Addr().String(), fmt.Sprintf("ca_file: %q", a.file))
	serveSandboxTLS(s, l, cert)
}

// serveSandboxTLS serves the sandbox with TLS.
func serveSandboxTLS(s *scene, l net.Listener, cert func() *tls.Certificate) {
	l = tls.NewListener(l,
		&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return cert(), nil
		}})
	go func() { _ = s.API.Serve(l) }() // ends with the sandbox
}

// badListener is a listener that abuses its callers until it is repaired.
type badListener struct {
	net.Listener
	s        *scene
	abuse    func(*badListener, net.Conn)
	repaired atomic.Bool
	callers  atomic.Int32
}

func (d *badListener) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil || d.repaired.Load() {
			return c, err
		}
		d.callers.Add(1)
		d.abuse(d, c)
	}
}

// neverAnswer says nothing.
func neverAnswer(d *badListener, c net.Conn) { d.s.T.Cleanup(func() { _ = c.Close() }) }

// resetConnection resets the connection.
func resetConnection(_ *badListener, c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// withBadListener has the API's listener abuse its callers until the app is held.
func withBadListener(abuse func(*badListener, net.Conn)) func(*scene) {
	return func(s *scene) {
		a := newAuthority(s)
		good := a.issue(nothingWrong)
		d := &badListener{Listener: s.listen(), s: s, abuse: abuse}
		serveTLS(s, a, d, func() *tls.Certificate { return good })
		s.Start()
		for i := range 3 {
			s.send(fmt.Sprint("user", i))
		}
		s.note("%s", s.held(stage.App, gate.Upstream).Reason)
		d.repaired.Store(true)
		s.Drained()
		s.noAttemptSpent()
	}
}

// idleClosed closes every connection after each answer.
func idleClosed(s *scene) {
	api := httptest.NewServer(s.API)
	s.T.Cleanup(api.Close)
	s.UseAPI(api.URL)
	s.Start()
	for i := range 5 {
		s.send(fmt.Sprint("user", i))
		s.Drained()
		api.CloseClientConnections()
		// On a busy machine the end of a connection takes its time to arrive, and what is written
		// before that is of unknown outcome.
		port := api.Listener.Addr().(*net.TCPAddr).Port
		s.until("the worker has been told", func() bool { return !connected(s, port) })
	}
	s.noAttemptSpent()
}

// connected reports whether any socket of this machine believes itself connected to a port of
// 127.0.0.1.
func connected(s *scene, port int) bool {
	sockets, err := os.ReadFile("/proc/net/tcp")
	s.NoError(err)
	return bytes.Contains(sockets, fmt.Appendf(nil, " 0100007F:%04X 01 ", port)) // 01: established
}

func proxyEnvironment(s *scene) {
	d := &badListener{Listener: s.listen(), s: s, abuse: resetConnection}
	go func() { _, _ = d.Accept() }() // ends with the listener
	s.UseAPI("http://api.kefu.invalid", "allow_http: true")
	proxy := "http://" + d.Addr().String()
	s.Start("HTTP_PROXY="+proxy, "HTTPS_PROXY="+proxy, "http_proxy="+proxy, "https_proxy="+proxy)
	s.send("one")
	s.held(stage.App, gate.Upstream)
	s.Zero(d.callers.Load(), "the proxy was asked")
}

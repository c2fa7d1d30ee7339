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
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
	"github.com/kefuhq/kefu/internal/gate"
	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/internal/wire"
	"github.com/kefuhq/kefu/schema"
)

// refused closes the door of the API until the app is held.
func refused(s *scene) {
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
	s.unspent()
}

// noWay has the worker look for the API where it cannot be.
func noWay(url string) func(*scene) {
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

func nothing(*x509.Certificate) {}

// What can be wrong about a certificate.
func expired(a *authority) *tls.Certificate {
	return a.issue(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Hour) })
}

func anotherHost(a *authority) *tls.Certificate {
	return a.issue(func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"api.example.com"}
	})
}

func stranger(a *authority) *tls.Certificate { return newAuthority(a.s).issue(nothing) }

// badCertificate has the API show a bad certificate until the app is held, and
// then a good one.
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
		shown.Store(a.issue(nothing))
		s.kefu("app", "resume", stage.App)
		s.Drained()
		s.unspent()
	}
}

// serveTLS puts the sandbox behind TLS and has the worker go there.
func serveTLS(s *scene, a *authority, l net.Listener, cert func() *tls.Certificate) {
	s.UseAPI("https://"+l.Addr().String(), fmt.Sprintf("ca_file: %q", a.file))
	secure(s, l, cert)
}

// secure serves the sandbox with TLS.
func secure(s *scene, l net.Listener, cert func() *tls.Certificate) {
	l = tls.NewListener(l,
		&tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return cert(), nil
		}})
	go func() { _ = s.API.Serve(l) }() // ends with the sandbox
}

// door is a listener that treats its callers badly until it is mended.
type door struct {
	net.Listener
	s      *scene
	treat  func(*door, net.Conn)
	mended atomic.Bool
	met    atomic.Int32
}

func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.Listener.Accept()
		if err != nil || d.mended.Load() {
			return c, err
		}
		d.met.Add(1)
		d.treat(d, c)
	}
}

// stalled says nothing.
func stalled(d *door, c net.Conn) { d.s.T.Cleanup(func() { _ = c.Close() }) }

// slammed resets the connection.
func slammed(_ *door, c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// badDoor has the API's door treat callers badly until the app is held.
func badDoor(treat func(*door, net.Conn)) func(*scene) {
	return func(s *scene) {
		a := newAuthority(s)
		good := a.issue(nothing)
		d := &door{Listener: s.listen(), s: s, treat: treat}
		serveTLS(s, a, d, func() *tls.Certificate { return good })
		s.Start()
		for i := range 3 {
			s.send(fmt.Sprint("user", i))
		}
		s.note("%s", s.held(stage.App, gate.Upstream).Reason)
		d.mended.Store(true)
		s.Drained()
		s.unspent()
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
		// On a busy machine the end of a connection takes its time to arrive, and what
		// is written before that is of unknown outcome.
		port := api.Listener.Addr().(*net.TCPAddr).Port
		s.until("the worker has been told", func() bool { return !connected(s, port) })
	}
	s.unspent()
}

// connected says whether any socket of this machine believes to be connected to
// a port of 127.0.0.1.
func connected(s *scene, port int) bool {
	sockets, err := os.ReadFile("/proc/net/tcp")
	s.NoError(err)
	return bytes.Contains(sockets, fmt.Appendf(nil, " 0100007F:%04X 01 ", port)) // 01: established
}

// holds has each rule hold an app of its own, and lifts that again. The last
// app, if there is one more than rules, sends meanwhile.
func holds(kind gate.Kind, rules ...sandbox.Rule) func(*scene) {
	return func(s *scene) {
		for i, r := range rules {
			r.AppID = s.Apps()[i]
			s.API.Add(r)
		}
		s.Start()
		each := 1
		if len(rules) < len(s.Apps()) || rules[0].Call == sandbox.CallToken {
			each = 2
		}
		for i, app := range s.Apps() {
			for n := range each {
				s.sendTo(app, fmt.Sprintf("app%duser%d", i, n))
			}
		}
		for i, r := range rules {
			h := s.held(s.Apps()[i], kind)
			if r.Errcode != 0 {
				s.Equal(r.Errcode, h.Errcode)
			}
			s.note("%s", h.Reason)
			s.EqualValues(each, s.Stored(schema.SendStream(s.Apps()[i])), "everything stays queued")
		}
		if free := s.Apps()[len(rules):]; len(free) > 0 {
			s.until("the other app has sent", func() bool {
				return s.Stored(schema.SendStream(free[0])) == 0
			})
		}
		s.mend(s.Apps()[:len(rules)]...)
	}
}

// picky is an API that answers with an errcode to some messages only, and such a
// message.
type picky struct {
	errcode int
	rule    sandbox.Rule
	packet  func(openID string) string
}

func menu(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"msgmenu",`+
		`"msgmenu":{"head_content":"h","list":[{"id":"101","content":"a"}]}}`, openID)
}

func ofKFAccount(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"text","text":{"content":"hello"},`+
		`"customservice":{"kf_account":"test1@kefu"}}`, openID)
}

func miniProgramPage(openID string) string {
	return fmt.Sprintf(`{"touser":%q,"msgtype":"miniprogrampage","miniprogrampage":`+
		`{"title":"t","appid":"wxbad","pagepath":"p","thumb_media_id":"m"}}`, openID)
}

// onlyOne has one bad message for each app, and then 50 texts.
func onlyOne(all ...picky) func(*scene) {
	const texts = 50
	return func(s *scene) {
		for i, p := range all {
			p.rule.Call, p.rule.AppID, p.rule.Errcode = sandbox.CallSend, s.Apps()[i], p.errcode
			s.API.Add(p.rule)
		}
		s.Start()
		begin := time.Now()
		for i, p := range all {
			bad := fmt.Sprint("bad", i)
			s.accept(bad, schema.LiveSubject(s.Apps()[i], bad).String(), p.packet(bad))
		}
		for n := range texts {
			for i := range all {
				s.sendTo(s.Apps()[i], fmt.Sprintf("app%duser%d", i, n))
			}
		}
		s.Drained()
		var last time.Time
		for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
			if !strings.HasPrefix(r.OpenID, "bad") && r.At.After(last) {
				last = r.At
			}
		}
		s.note("the last text after %s", last.Sub(begin).Round(100*time.Millisecond))
		for _, l := range s.Letters() {
			s.Equal(all[slices.Index(s.Apps(), l.AppID)].errcode, *l.Errcode)
		}
		for i := range all {
			s.Regexp(`(?m)^state +open$`, s.kefu("app", "status", s.Apps()[i]))
		}
	}
}

func tenthRefused(s *scene) {
	const intents, perSecond = 1000, 200
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, MsgType: "msgmenu", Errcode: 40200})
	s.Start()
	begin := time.Now()
	for i := range intents {
		id := fmt.Sprint("user", i)
		if i%10 == 7 {
			s.accept(id, stage.Bulk+"campaign", menu(id))
		} else {
			s.sendBulk(id)
		}
	}
	s.Drained()
	took := time.Since(begin)
	s.Less(took, 4*intents*time.Second/perSecond, "it stands still")
	s.note("all within %s at %d/s, %.2f posts for each", took.Round(100*time.Millisecond),
		perSecond, float64(s.API.Stats().Sends)/intents)
}

// everyOne answers with an errcode to every send of an app each, and then no more.
func everyOne(codes ...int) func(*scene) {
	const slots, texts = 4, 20
	return func(s *scene) {
		for i, c := range codes {
			s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[i], Errcode: c})
		}
		s.Start()
		begin := time.Now()
		for n := range texts {
			for i, app := range s.Apps() {
				s.sendTo(app, fmt.Sprintf("app%duser%d", i, n))
				id := fmt.Sprintf("app%dmenu%d", i, n)
				s.accept(id, schema.BulkSubject(app, "campaign").String(), menu(id))
			}
		}
		tries := 3
		if *full {
			tries = 6
		}
		for i, c := range codes {
			var h gate.Hold
			posts := 0
			s.until(fmt.Sprintf("it was tried %d times", tries), func() bool {
				// Before the tries are read, which may be more by then.
				posts = s.API.CountBy(sandbox.ByAppID,
					sandbox.Filter{Call: sandbox.CallSend, AppID: s.Apps()[i]})[s.Apps()[i]]
				h = s.held(s.Apps()[i], gate.Config)
				return h.Tries >= tries
			})
			s.Equal(c, h.Errcode)
			s.NotEmpty(h.Drawn)
			s.LessOrEqual(posts, slots+2+h.Tries+1,
				"what was under way, after two that were no row yet if kefu does not know the "+
					"code, and a trial each")
			s.note("%d: %d posts in %s", c, posts, time.Since(begin).Round(time.Second))
		}
		// one that moves may be in both, or be counted in neither
		s.until("everything is queued, or waits for its second try", func() bool {
			return s.Queued()+s.Stored(wire.StreamLater) == uint64(2*texts*len(codes))
		})
		s.API.RemoveRules()
		for _, app := range s.Apps() {
			s.kefu("app", "resume", app)
		}
		s.Drained()
		s.Empty(s.Letters())
	}
}

// mend has the API answer as ever, and lets held apps try.
func (s *scene) mend(apps ...string) {
	s.T.Helper()
	s.API.RemoveRules()
	for _, app := range apps {
		s.kefu("app", "resume", app)
	}
	s.Drained()
	s.Empty(s.Letters())
	s.unspent()
}

// lateReset says whether a hold to the platform's midnight is tried again in a
// moment, since the midnight before was less than an hour ago: the hour at which
// this is run decides.
func lateReset(h gate.Hold, due time.Time) bool {
	midnight := gate.NextDay(h.Since)
	return due.Equal(midnight) && h.Since.Sub(midnight.AddDate(0, 0, -1)) < time.Hour &&
		h.Until.Sub(h.Since) <= time.Minute+time.Second
}

// quota draws a quota hold and checks its end.
func quota(code int, end func(time.Time) time.Time, slack time.Duration) func(*scene) {
	return func(s *scene) {
		s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[0], Errcode: code})
		s.Start()
		for i, app := range s.Apps() {
			for n := range 2 {
				s.sendTo(app, fmt.Sprintf("app%duser%d", i, n))
			}
		}
		h := s.held(s.Apps()[0], gate.Quota)
		s.Equal(code, h.Errcode)
		// not of Since: the minute may have ended, and the hold with it
		if due := end(h.Until.Add(-slack - 1)); !lateReset(h, due) {
			s.WithinRange(h.Until, due, due.Add(slack))
		}
		s.until("the other app has sent", func() bool {
			return s.Stored(schema.SendStream(s.Apps()[1])) == 0
		})
		if *full && slack == time.Second { // it ends by itself
			s.API.RemoveRules()
			s.Drained()
		}
		s.API.SetUsed(s.Apps()[0], sandbox.CallSend, 0)
		s.mend(s.Apps()[0])
	}
}

func retryAfter(s *scene) {
	date := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	headers := []string{"-1", date.UTC().Format(http.TimeFormat), "1000000000000", "soon", ""}
	for i, h := range headers {
		s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[i], Times: 1,
			HTTPStatus: 429, RetryAfter: h})
	}
	s.Start()
	for i, app := range s.Apps() {
		s.sendTo(app, fmt.Sprint("user", i))
	}
	s.until("the first goes on by itself", func() bool {
		return s.Stored(schema.SendStream(s.Apps()[0])) == 0
	})
	posts := s.API.Newest(sandbox.Filter{OpenID: "user0"}, 2)
	s.Len(posts, 2)
	s.GreaterOrEqual(posts[1].At.Sub(posts[0].At).Abs(), time.Second)
	// The answer's own Date, which counts, is in whole seconds as well.
	s.WithinRange(s.held(s.Apps()[1], gate.Quota).Until, date, date.Add(30*time.Second))
	inAnHour := func(t time.Time) time.Time { return t.Add(time.Hour) }
	ends := []func(time.Time) time.Time{inAnHour, gate.NextMinute, gate.NextMinute}
	for i, end := range ends {
		h := s.held(s.Apps()[i+2], gate.Quota)
		s.WithinRange(h.Until, end(h.Since), end(h.Since).Add(time.Second))
	}
	s.mend(s.Apps()[1:]...)
}

func redirects(s *scene) {
	elsewhere := s.listen()
	var met atomic.Int32
	go func() {
		for {
			c, err := elsewhere.Accept()
			if err != nil {
				return
			}
			met.Add(1)
			_ = c.Close()
		}
	}()
	for i, status := range []int{301, 302, 303, 307, 308} {
		s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[i], HTTPStatus: status,
			Redirect: "http://" + elsewhere.Addr().String() + "/"})
	}
	s.Start()
	for i, app := range s.Apps() {
		s.sendTo(app, fmt.Sprint("user", i))
	}
	for _, app := range s.Apps() {
		s.Contains(s.held(app, gate.Config).Reason,
			"redirect to "+elsewhere.Addr().String()+" refused")
	}
	s.mend(s.Apps()...)
	s.Zero(met.Load(), "a redirect was followed")
}

func bombs(s *scene) {
	s.send0()
	p := s.Worker()
	before := number(s, p, "process_resident_memory_bytes")
	for i, r := range []sandbox.Rule{{GzipBomb: 1 << 30}, {PadBody: 10 << 30},
		{PadHeader: 1 << 20}} {
		r.Call, r.OpenID, r.Times = sandbox.CallSend, fmt.Sprint("user", i), 1
		s.API.Add(r)
	}
	for i := range 3 {
		s.send(fmt.Sprint("user", i))
	}
	s.Drained()
	after := number(s, p, "process_resident_memory_bytes")
	s.Less(after, before+64<<20)
	s.note("resident memory %.0f → %.0f MiB", before/(1<<20), after/(1<<20))
}

// send0 starts a worker and sends one intent that is no part of the scene.
func (s *scene) send0() {
	s.T.Helper()
	s.Start()
	s.Publish(stage.Live+"first", text("first"))
	s.Drained()
}

func number(s *scene, p *stage.Process, name string) float64 {
	s.T.Helper()
	v, err := strconv.ParseFloat(metric(s, p, name), 64)
	s.NoError(err)
	return v
}

func tokenTaken(s *scene) {
	s.Start()
	s.send("before")
	s.Drained()
	body, err := json.Marshal(map[string]any{
		"grant_type": "client_credential", "appid": stage.App, "secret": stage.CanarySecret,
		"force_refresh": true,
	})
	s.NoError(err)
	resp, err := http.Post(s.APIURL+"/cgi-bin/stable_token", "application/json",
		bytes.NewReader(body))
	s.NoError(err)
	s.NoError(resp.Body.Close())
	s.send("after")
	s.Drained()
	s.Equal(map[string]int{"before": 1, "after": 2}, s.Posts())
	s.Equal(2, s.API.Stats().TokensIssued, "the other system's is good for both")
	s.unspent()
}

func manyWorkers(s *scene) {
	workers := 6
	if *full {
		workers = 20
	}
	b := brokertest.Bare(s.T)
	s.UseBroker(b.URL())
	s.kefu("setup")
	s.Connect()
	s.sendMany(stage.App, "user", 600)
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 100 * time.Millisecond})
	var all []*stage.Process
	for range workers {
		all = append(all, s.Launch())
	}
	for _, p := range all {
		p.Ready()
	}
	s.Drained()
	stats := s.API.Stats()
	s.LessOrEqual(stats.Calls[sandbox.CallToken].Total, workers)
	s.Equal(1, stats.TokensIssued)
	s.note("%d workers, %d token calls", workers, stats.Calls[sandbox.CallToken].Total)
}

func tokenEndpointDown(s *scene) {
	s.send0()
	s.API.Add(sandbox.Rule{Call: sandbox.CallToken, HTTPStatus: 502})
	for i := range 20 {
		s.send(fmt.Sprint("user", i))
	}
	s.Drained()
	s.unspent()
}

func oddTokens(s *scene) {
	for i, life := range []string{`,"expires_in":0`, `,"expires_in":-5`,
		`,"expires_in":1000000000`, ""} {
		token := fmt.Sprint(stage.CanaryToken, i)
		s.API.Grant(s.Apps()[i], token)
		s.API.Add(sandbox.Rule{Call: sandbox.CallToken, AppID: s.Apps()[i],
			HTTPStatus: http.StatusOK, Body: fmt.Sprintf(`{"access_token":%q%s}`, token, life)})
	}
	s.Start()
	for i, app := range s.Apps() {
		for n := range 10 {
			s.sendTo(app, fmt.Sprintf("app%duser%d", i, n))
		}
	}
	s.Drained()
	s.Less(s.API.Stats().Calls[sandbox.CallToken].Total, 20, "a busy loop")
	s.note("%d token calls", s.API.Stats().Calls[sandbox.CallToken].Total)
}

func oneBroken(s *scene) {
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, AppID: s.Apps()[0], Errcode: 48001})
	p := s.Start()
	for _, app := range s.Apps() {
		s.sendMany(app, app+"user", 50)
	}
	s.held(s.Apps()[0], gate.Config)
	for _, app := range s.Apps()[1:] {
		s.until(app+" has sent all", func() bool { return s.Stored(schema.SendStream(app)) == 0 })
	}
	s.until("the held app occupies nothing", func() bool {
		return metric(s, p, fmt.Sprintf("kefu_intents_in_hand{app=%q}", s.Apps()[0])) == "0"
	})
}

func backlog(s *scene) {
	const most = 3_000
	b := brokertest.Bare(s.T)
	s.UseBroker(b.URL())
	s.kefu("setup")
	s.Connect()
	s.sendMany(s.Apps()[0], "many", most)
	s.sendMany(s.Apps()[1], "few", 20)
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 5 * time.Millisecond})
	s.Start()
	s.Drained()
	before, few := 0, 0
	for r := range s.API.Records(sandbox.Filter{Call: sandbox.CallSend}) {
		if strings.HasPrefix(r.OpenID, "few") {
			few++
		}
		if few == 20 {
			break
		}
		before++
	}
	s.Less(before, most/2)
	s.note("the last of the 20 was number %d", before+1)
}

func recovery(s *scene) {
	const intents, perSecond, burst = 300, 100, 10
	address := s.FreeAddress()
	s.UseAPI("http://" + address)
	s.Start()
	s.sendMany(stage.App, "user", intents)
	s.held(stage.App, gate.Upstream)
	if *full {
		time.Sleep(10 * time.Minute)
	}
	mended := time.Now()
	_, err := s.API.Listen(address)
	s.NoError(err)
	s.Drained()
	s.unspent()
	took := s.API.Newest(sandbox.Filter{Call: sandbox.CallSend}, 1)[0].At.Sub(mended)
	s.Greater(took, (intents-2*burst)*time.Second/perSecond, "faster than the budget")
	s.note("sent within %s", took.Round(100*time.Millisecond))
}

func halfBusy(s *scene) {
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Share: 0.5, Errcode: -1})
	s.Start()
	s.sendMany(stage.App, "user", 200)
	s.Drained()
	s.NotContains(s.Output.String(), "app held")
	s.note("%.2f posts for each", float64(s.API.Stats().Sends)/200)
}

func slower(s *scene) {
	const slots = 16
	fast := s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 10 * time.Millisecond})
	p := s.Start()
	s.sendMany(stage.App, "user", 1000)
	s.NoError(s.API.Wait(s.T.Context(), 100))
	s.API.Add(sandbox.Rule{Call: sandbox.CallSend, Delay: 100 * time.Millisecond})
	s.API.Remove(fast)
	// What was sent a moment ago and waits for its acknowledgement is in hand, too.
	s.until("little is in hand while much is queued", func() bool {
		return number(s, p, fmt.Sprintf("kefu_intents_in_hand{app=%q}", stage.App)) <= 4*slots &&
			s.Queued() > 200
	})
	s.Drained()
	s.LessOrEqual(s.API.Stats().PeakInFlight, slots+1, "and a token call")
}

func proxyEnvironment(s *scene) {
	d := &door{Listener: s.listen(), s: s, treat: slammed}
	go func() { _, _ = d.Accept() }() // ends with the listener
	s.UseAPI("http://api.kefu.invalid", "allow_http: true")
	proxy := "http://" + d.Addr().String()
	s.Start("HTTP_PROXY="+proxy, "HTTPS_PROXY="+proxy, "http_proxy="+proxy, "https_proxy="+proxy)
	s.send("one")
	s.held(stage.App, gate.Upstream)
	s.Zero(d.met.Load(), "the proxy was asked")
}

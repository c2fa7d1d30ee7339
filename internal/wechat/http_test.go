package wechat

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTheRequestOnTheWire(t *testing.T) {
	t.Parallel()
	for name, body := range map[string][]byte{
		"a usual packet":   packet,
		"the largest body": []byte(`{"touser":"o","x":"` + strings.Repeat("长", 21000) + `"}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			type seen struct {
				line, query string
				header      http.Header
				length      int64
				encoding    []string
				body        []byte
			}
			got := make(chan seen, 2)
			server := httptest.NewServer(http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) {
					data, _ := io.ReadAll(r.Body)
					w.Header().Set("Set-Cookie", "session=1")
					_, _ = io.WriteString(w, plainOK)
					got <- seen{r.Method + " " + r.URL.Path, r.URL.RawQuery, r.Header,
						r.ContentLength,
						r.TransferEncoding, data}
				}))
			t.Cleanup(server.Close)
			// A base path catches an endpoint that is put together wrongly.
			client := NewClient(httpClient(t, longTimeout), server.URL+"/base/path/",
				fixedToken("a/b+c=d&e"))
			for range 2 { // the second time the cookie would come back
				require.NoError(t, client.Send(t.Context(), body))
				s := <-got
				require.Equal(t, "POST /base/path/cgi-bin/message/custom/send", s.line)
				require.Equal(t, "access_token=a%2Fb%2Bc%3Dd%26e", s.query)
				require.Equal(t, body, s.body)
				require.EqualValues(t, len(body), s.length)
				require.Empty(t, s.encoding, "a chunked body is answered with 412")
				require.Equal(t, http.Header{
					"Content-Type":   {"application/json; charset=utf-8"},
					"Content-Length": {strconv.Itoa(len(body))},
					"User-Agent":     {"kefu"},
				}, s.header, "nothing else: no Idempotency-Key, Referer, Cookie, Accept-Encoding")
			}
		})
	}
}

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	p := newPeer(t, func(s *session) {
		for s.read() != nil {
			s.ok()
		}
	})
	client := NewClient(httpClient(t, longTimeout), p.url, fixedToken(canary))
	for range 20 {
		require.NoError(t, client.Send(t.Context(), packet))
	}
	require.EqualValues(t, 1, p.conns.Load())
}

func TestNewHTTPClientIsStrict(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	hc, err := NewHTTPClient(HTTPOptions{})
	require.NoError(t, err)
	require.Equal(t, defaultTimeout, hc.Timeout)
	require.Nil(t, hc.Jar)
	transport := hc.Transport.(*directTransport).Transport
	require.Nil(t, transport.Proxy)
	require.True(t, transport.DisableCompression)
	require.False(t, transport.ForceAttemptHTTP2)
	require.EqualValues(t, tls.VersionTLS12, transport.TLSClientConfig.MinVersion)
	require.False(t, transport.TLSClientConfig.InsecureSkipVerify)
	require.Equal(t, 64, transport.MaxIdleConnsPerHost)

	hc, err = NewHTTPClient(HTTPOptions{Timeout: time.Second, IdlePerHost: 7,
		ProxyFromEnvironment: true})
	require.NoError(t, err)
	require.Equal(t, time.Second, hc.Timeout)
	transport = hc.Transport.(*http.Transport)
	require.NotNil(t, transport.Proxy)
	require.Equal(t, 7, transport.MaxIdleConnsPerHost)
}

func TestCAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := NewHTTPClient(HTTPOptions{CAFile: filepath.Join(dir, "absent")})
	require.ErrorIs(t, err, os.ErrNotExist)
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.WriteFile(empty, []byte("no certificate"), 0o600))
	_, err = NewHTTPClient(HTTPOptions{CAFile: empty})
	require.ErrorContains(t, err, "no PEM certificate")

	pem, err := os.ReadFile(newAuthority(t).file)
	require.NoError(t, err)
	marked := filepath.Join(dir, "marked")
	require.NoError(t, os.WriteFile(marked, append([]byte(byteOrderMark), pem...), 0o600))
	_, err = NewHTTPClient(HTTPOptions{CAFile: marked})
	require.NoError(t, err, "saved by an editor on Windows")
}

// authority makes certificates and names the file that holds its own.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		BasicConstraintsValid: true,
		NotBefore:             time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t,
		os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return &authority{cert: cert, key: key, file: file}
}

func (a *authority) issue(t *testing.T, host string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host},
		NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca, stranger := newAuthority(t), newAuthority(t)
	good := ca.issue(t, "127.0.0.1", time.Now().Add(time.Hour))
	for name, row := range map[string]struct {
		conf  *tls.Config
		trust *authority // nil: the system's authorities only
		fault Fault
	}{
		"a certificate of a trusted authority": {
			&tls.Config{Certificates: []tls.Certificate{good}}, ca, FaultNone,
		},
		"TLS 1.2": {
			&tls.Config{Certificates: []tls.Certificate{good}, MaxVersion: tls.VersionTLS12}, ca,
			FaultNone,
		},
		"an unknown authority": {
			&tls.Config{Certificates: []tls.Certificate{good}}, nil, FaultConfig,
		},
		"another authority": {
			&tls.Config{Certificates: []tls.Certificate{good}}, stranger, FaultConfig,
		},
		"an expired certificate": {&tls.Config{Certificates: []tls.Certificate{
			ca.issue(t, "127.0.0.1", time.Now().Add(-time.Hour)),
		}}, ca, FaultConfig},
		"a certificate for another host": {&tls.Config{Certificates: []tls.Certificate{
			ca.issue(t, "api.example.com", time.Now().Add(time.Hour)),
		}}, ca, FaultConfig},
		"no better than TLS 1.1": {&tls.Config{
			Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10,
			MaxVersion: tls.VersionTLS11,
		}, ca, FaultUpstream},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var posts int
			server := httptest.NewUnstartedServer(http.HandlerFunc(
				func(w http.ResponseWriter, _ *http.Request) {
					posts++
					_, _ = io.WriteString(w, plainOK)
				}))
			server.TLS = row.conf
			server.Config.ErrorLog = discardLog
			server.StartTLS()
			o := HTTPOptions{Timeout: longTimeout}
			if row.trust != nil {
				o.CAFile = row.trust.file
			}
			hc, err := NewHTTPClient(o)
			require.NoError(t, err)
			e := send(t.Context(), t, hc, server.URL)
			hc.CloseIdleConnections()
			server.Close()
			if row.fault == FaultNone {
				require.Nil(t, e)
				require.Equal(t, 1, posts)
				return
			}
			require.NotNil(t, e)
			require.Equal(t, row.fault, e.Fault, e.Error())
			require.True(t, e.NotSent())
			require.Zero(t, posts)
		})
	}
}

func TestTLSBreaksAreToldApartToo(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	conf := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, "127.0.0.1",
		time.Now().Add(time.Hour))}}
	hc, err := NewHTTPClient(HTTPOptions{Timeout: longTimeout, CAFile: ca.file})
	require.NoError(t, err)
	t.Cleanup(hc.CloseIdleConnections)

	// Reset while the handshake is under way, after the client's hello: bytes were written, none of
	// the request.
	during := newPeer(t, func(s *session) {
		_, _ = s.in.Peek(1)
		s.reset()
	})
	e := send(t.Context(), t, hc, "https"+strings.TrimPrefix(during.url, "http"))
	require.Equal(t, FaultUpstream, e.Fault, e.Error())

	// Reset after the request was read.
	after := newPeer(t, func(s *session) {
		conn := tls.Server(s.Conn, conf)
		if n, _ := conn.Read(make([]byte, 1<<10)); n > 0 {
			s.posts.Add(1)
		}
		s.reset()
	})
	e = send(t.Context(), t, hc, "https"+strings.TrimPrefix(after.url, "http"))
	require.Equal(t, FaultUnknown, e.Fault, e.Error())
	require.EqualValues(t, 1, after.posts.Load())

	// Closed while idle: the alert that the client writes in return is not taken for a request.
	idle := newPeer(t, func(s *session) {
		conn := tls.Server(s.Conn, conf)
		buf := make([]byte, 4<<10)
		if n, _ := conn.Read(buf); bytes.HasPrefix(buf[:n], []byte("POST ")) {
			s.posts.Add(1)
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n"+plainOK)
		_ = conn.Close()
	})
	base := "https" + strings.TrimPrefix(idle.url, "http")
	direct := hc.Transport.(*directTransport).direct
	connect := direct.secure
	conns := make(chan net.Conn, 1)
	direct.secure = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := connect(ctx, network, addr)
		if err == nil {
			conns <- conn
		}
		return conn, err
	}
	client := NewClient(hc, base, fixedToken(canary))
	for i := range 20 {
		require.NoError(t, client.Send(t.Context(), packet))
		require.EqualValues(t, i+1, idle.posts.Load())
		awaitEnd(t, <-conns)
	}
}

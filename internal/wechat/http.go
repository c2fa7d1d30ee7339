package wechat

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"
)

const (
	defaultTimeout = 10 * time.Second
	dialTimeout    = 5 * time.Second
	tlsTimeout     = 5 * time.Second

	// idleTimeout is below the 75 s after which nginx closes idle connections by default: if the
	// other side closes first, a send written at that very moment is unknown.
	idleTimeout = 60 * time.Second

	// maxReply bounds the body of an answer and maxReplyHeader its headers, in bytes: real ones
	// have some hundred, and what answers in WeChat's place may send without end.
	maxReply       = 64 << 10
	maxReplyHeader = 32 << 10
)

// HTTPOptions are the settings of NewHTTPClient. The zero value is usable.
type HTTPOptions struct {
	// Timeout bounds one exchange as a whole: connecting, writing, reading the answer. 0 means 10
	// s.
	Timeout time.Duration
	// CAFile names a PEM file of certificate authorities that are trusted beside the system's. ""
	// means none.
	CAFile string
	// IdlePerHost is how many idle connections are kept: as many as calls are in flight at once,
	// else most calls pay for a new connection. 0 means 64.
	IdlePerHost int
	// ProxyFromEnvironment makes HTTPS_PROXY and its kin count. Default false: a proxy set by
	// accident would see every token.
	ProxyFromEnvironment bool
}

// NewHTTPClient returns the client that every call of this package should go through: certificates
// always verified, TLS 1.2 or better, no redirects, no cookies, no compression, bounded headers,
// and connections on which the bytes written are counted. It fails only over CAFile.
func NewHTTPClient(o HTTPOptions) (*http.Client, error) {
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(0), // a resumed handshake costs a third
	}
	if o.CAFile != "" {
		pool, err := certPool(o.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = pool
	}
	timeout, idle := o.Timeout, o.IdlePerHost
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	if idle <= 0 {
		idle = 64
	}
	d := dialer{net: net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}, tls: conf}
	transport := &http.Transport{
		Proxy:                  nil,
		DialContext:            d.plain,
		DialTLSContext:         d.secure,
		TLSClientConfig:        conf, // for proxied connections, which DialTLSContext does not make
		TLSHandshakeTimeout:    tlsTimeout,
		MaxIdleConns:           2 * idle, // the API's host, and the token server's
		MaxIdleConnsPerHost:    idle,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true, // 200 KB of gzip can hold 200 MB; real answers have 27 bytes
		MaxResponseHeaderBytes: maxReplyHeader,
		// HTTP/1.1 only: the count of bytes written that tells "not sent" from "unknown" is per
		// connection, and on an HTTP/2 connection the requests of many callers share it.
		ForceAttemptHTTP2: false,
	}
	if o.ProxyFromEnvironment {
		transport.Proxy = http.ProxyFromEnvironment
	}
	var rt http.RoundTripper = transport
	if transport.Proxy == nil {
		rt = &directTransport{Transport: transport, direct: newDirect(&d, idle)}
	}
	return &http.Client{
		Transport: rt,
		Timeout:   timeout,
		// A redirect would carry the token to another host, in the Referer and, by 307 and 308,
		// with the message. This package never follows one (it does not use Client.Do); the rule is
		// for whoever else is handed this client.
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}, nil
}

// directTransport is the transport of a client without a proxy: the wire makes its exchanges over
// direct; whoever else is handed the client has net/http's own.
type directTransport struct {
	*http.Transport
	direct *direct
}

// CloseIdleConnections closes those of both.
func (s *directTransport) CloseIdleConnections() {
	s.Transport.CloseIdleConnections()
	s.direct.closeIdle()
}

// byteOrderMark is what editors on Windows put in front of a text file.
const byteOrderMark = "\ufeff"

func certPool(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(bytes.TrimPrefix(pem, []byte(byteOrderMark))) {
		return nil, fmt.Errorf("ca file %s: no PEM certificate in it", file)
	}
	return pool, nil
}

// dialer makes the counted connections.
type dialer struct {
	net net.Dialer
	tls *tls.Config
}

func (d *dialer) plain(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := d.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &countedConn{Conn: conn}, nil
}

// secure counts above TLS and not below it, where handshake and alert records would count as
// requests.
func (d *dialer) secure(ctx context.Context, network, addr string) (net.Conn, error) {
	raw, err := d.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	conf := d.tls.Clone()
	conf.ServerName = host
	conn := tls.Client(raw, conf)
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, fmt.Errorf("tls handshake with %s: %w", host, err)
	}
	return &countedConn{Conn: conn}, nil
}

// countedConn counts the bytes written to it, for exchanges that net/http makes; direct sees them
// itself.
//
// Why not httptrace alone: WroteHeaders and WroteRequest fire when net/http has flushed its buffer,
// so a write that failed half-way looks like one that never began, and an error can overtake the
// hook, which runs in another goroutine. The count is exact: a system call that returned an error
// and no bytes has queued none; a TLS record that was not handed over whole cannot be decrypted by
// the peer, and tls.Conn reports whole records only. The bytes are added before they are written
// and taken back after, so a reader that comes in between errs on the side of "may have left".
type countedConn struct {
	net.Conn
	written atomic.Int64
}

// NetConn returns the connection below, for alive.
func (c *countedConn) NetConn() net.Conn { return c.Conn }

func (c *countedConn) Write(p []byte) (int, error) {
	c.written.Add(int64(len(p)))
	n, err := c.Conn.Write(p)
	if n < len(p) {
		c.written.Add(int64(n - len(p)))
	}
	return n, err
}

// isCertificate reports whether err is about the certificate that the other side showed.
func isCertificate(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		roots        x509.SystemRootsError
	)
	return errors.As(err, &verification) || errors.As(err, &authority) ||
		errors.As(err, &hostname) ||
		errors.As(err, &invalid) || errors.As(err, &roots)
}

// hostOf returns the host of a Location header, for telling where a redirect wanted to go without
// repeating the URL.
func hostOf(location string) string {
	u, err := url.Parse(location)
	switch {
	case err != nil:
		return "an unreadable address"
	case u.Host == "":
		return "the same host"
	}
	return u.Host
}

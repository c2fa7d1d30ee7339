package wechat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// direct makes exchanges over connections of its own, one request at a time on each, in the
// goroutine of the caller.
//
// Why not http.Transport: it hands each request to two further goroutines and back, which is half
// of what a send costs this process, and it repeats requests by rules of its own. One exchange is
// all that is wanted here, and whether a byte of it has left is then simply what Write returned.
// The answer is still read by net/http's parser.
type direct struct {
	plain   dial // for http
	secure  dial // for https
	maxIdle int  // connections kept for a host

	mu       sync.Mutex
	hosts    map[string]*idleConns
	sweeping bool // a timer will call sweep
}

// dial makes a connection, as net.Dialer.DialContext does.
type dial func(ctx context.Context, network, addr string) (net.Conn, error)

// idleConns are a host's connections without a request on them, the one used last at the end:
// taking that first lets the others grow old and go.
type idleConns struct{ conns []*directConn }

// directConn is one connection, used by one exchange at a time.
type directConn struct {
	net.Conn
	limit  io.LimitedReader // over the connection: bounds what an answer's head may cost
	reader *bufio.Reader
	out    []byte // the request, head and body: one write
	tmpl   *http.Request
	head   []byte // of tmpl, up to the length of the body

	idle     time.Time // since when it has none
	deadline time.Time // of the exchange before
}

func newDirect(d *dialer, maxIdle int) *direct {
	return &direct{plain: d.plain, secure: d.secure, maxIdle: maxIdle,
		hosts: make(map[string]*idleConns)}
}

// exchange makes one exchange on a connection that lives. left tells whether a byte of the request
// may have left.
func (d *direct) exchange(
	ctx context.Context, tmpl *http.Request, m *Message, buf []byte,
) (a answer, left bool, err error) {
	for {
		c, reused, err := d.conn(ctx, tmpl)
		if err != nil {
			return answer{}, false, ended(ctx, err)
		}
		a, left, keep, err := c.exchange(ctx, tmpl, m, buf)
		if err == nil && keep {
			d.keepIdle(tmpl, c)
		} else {
			_ = c.Close() // what went wrong on it is known already
		}
		if err != nil && reused && !left && ctx.Err() == nil {
			continue // found dead before a byte was written: nothing was sent
		}
		return a, left, ended(ctx, err)
	}
}

// ended puts the end of ctx in the place of the timeout by which it ended an exchange.
func ended(ctx context.Context, err error) error {
	var timeout interface{ Timeout() bool }
	if err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
		return err
	}
	if end := ctx.Err(); end != nil {
		return end
	}
	return context.DeadlineExceeded // the connection's deadline is ctx's and came a moment earlier
}

// conn takes an idle connection that still lives, or makes a new one.
func (d *direct) conn(
	ctx context.Context, tmpl *http.Request,
) (c *directConn, reused bool, err error) {
	now := time.Now()
	for {
		c := d.takeIdle(tmpl)
		if c == nil {
			break
		}
		if now.After(c.deadline) {
			_ = c.SetDeadline(time.Time{}) // else alive could not look; a failure it sees itself
		}
		if now.Sub(c.idle) < idleTimeout && alive(c.Conn) {
			return c, true, nil
		}
		_ = c.Close() // the other side has closed it, or will soon
	}
	connect := d.plain
	if tmpl.URL.Scheme == "https" {
		connect = d.secure
	}
	raw, err := connect(ctx, "tcp", address(tmpl))
	if err != nil {
		return nil, false, err
	}
	c = &directConn{Conn: raw, limit: io.LimitedReader{R: raw}}
	c.reader = bufio.NewReaderSize(&c.limit, 4096)
	return c, false, nil
}

// address returns host and port of a request's URL.
func address(r *http.Request) string {
	if r.URL.Port() != "" {
		return r.URL.Host
	}
	if r.URL.Scheme == "https" {
		return net.JoinHostPort(r.URL.Hostname(), "443")
	}
	return net.JoinHostPort(r.URL.Hostname(), "80")
}

func (d *direct) takeIdle(tmpl *http.Request) *directConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.hosts[tmpl.URL.Host]
	if h == nil || len(h.conns) == 0 {
		return nil
	}
	last := len(h.conns) - 1
	c := h.conns[last]
	h.conns[last] = nil
	h.conns = h.conns[:last]
	return c
}

func (d *direct) keepIdle(tmpl *http.Request, c *directConn) {
	c.idle = time.Now()
	d.mu.Lock()
	h := d.hosts[tmpl.URL.Host]
	if h == nil {
		h = &idleConns{}
		d.hosts[tmpl.URL.Host] = h
	}
	h.conns = append(h.conns, c)
	var old *directConn
	if len(h.conns) > d.maxIdle {
		old = h.conns[0]
		h.conns = slices.Delete(h.conns, 0, 1)
	}
	if !d.sweeping {
		d.sweeping = true
		time.AfterFunc(idleTimeout, d.sweep)
	}
	d.mu.Unlock()
	if old != nil {
		_ = old.Close() // nothing was under way on it
	}
}

// sweep closes what has been idle for too long, and comes again as long as there is anything idle:
// after a burst no socket stays behind half closed.
func (d *direct) sweep() {
	var old []*directConn
	d.mu.Lock()
	since, left := time.Now().Add(-idleTimeout), 0
	for host, h := range d.hosts {
		n := 0
		for n < len(h.conns) && !h.conns[n].idle.After(since) {
			n++
		}
		old = append(old, h.conns[:n]...)
		h.conns = slices.Delete(h.conns, 0, n)
		left += len(h.conns)
		if len(h.conns) == 0 {
			delete(d.hosts, host)
		}
	}
	if d.sweeping = left > 0; d.sweeping {
		time.AfterFunc(idleTimeout/2, d.sweep)
	}
	d.mu.Unlock()
	for _, c := range old {
		_ = c.Close() // nothing was under way on it
	}
}

// closeIdle closes every connection that has no request on it.
func (d *direct) closeIdle() {
	d.mu.Lock()
	hosts := d.hosts
	d.hosts = make(map[string]*idleConns)
	d.mu.Unlock()
	for _, h := range hosts {
		for _, c := range h.conns {
			_ = c.Close() // nothing was under way on it
		}
	}
}

// exchange writes the request and reads the answer. keep tells whether the connection may carry
// another one.
func (c *directConn) exchange(
	ctx context.Context, tmpl *http.Request, m *Message, buf []byte,
) (a answer, left, keep bool, err error) {
	c.deadline, _ = ctx.Deadline() // the wire always sets one
	if err := c.SetDeadline(c.deadline); err != nil {
		return answer{}, false, false, err
	}
	// A context that ends early ends the exchange through the deadline. If it ends just as the
	// exchange does, that may still be about to happen, and would then strike the exchange after
	// this one.
	release := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !release() {
			keep = false
		}
	}()

	if c.tmpl != tmpl { // one for each token, that is for hours
		c.tmpl, c.head = tmpl, appendHead(nil, tmpl)
	}
	c.out = append(c.out[:0], c.head...)
	if tmpl.Method == http.MethodPost {
		// Always: the front end of WeChat answers 412 to a body without.
		c.out = append(c.out, "Content-Length: "...)
		c.out = strconv.AppendInt(c.out, int64(len(m.Packet)), 10)
		c.out = append(c.out, "\r\n"...)
	}
	if m.Traceparent != "" {
		c.out = append(c.out, traceHeader+": "...)
		c.out = append(c.out, m.Traceparent...)
		c.out = append(c.out, "\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, m.Packet...)
	n, err := c.Write(c.out)
	if cap(c.out) > 128<<10 {
		c.out = nil
	}
	if err != nil {
		return answer{}, n > 0, false, err
	}
	resp, err := c.readHead(tmpl)
	if err != nil {
		return answer{}, true, false, err
	}
	defer func() { _ = resp.Body.Close() }()
	a = answer{status: resp.StatusCode, header: resp.Header}
	c.limit.N = maxReply + 8<<10 // chunk sizes and trailers come on top of the body
	a.body, err = readAll(resp.Body, buf)
	if err != nil {
		return answer{}, true, false, err
	}
	a.tooLong = len(a.body) > maxReply
	// What is left in the reader belongs to nobody: such a peer is not asked again.
	keep = !resp.Close && !a.tooLong && c.reader.Buffered() == 0 &&
		a.status != http.StatusSwitchingProtocols
	return a, true, keep, nil
}

// maxInterim is how many 1xx answers are read over before the real one.
const maxInterim = 5

func (c *directConn) readHead(tmpl *http.Request) (*http.Response, error) {
	c.limit.N = maxReplyHeader
	for range maxInterim {
		resp, err := http.ReadResponse(c.reader, tmpl)
		if err != nil {
			if c.limit.N <= 0 {
				return nil, fmt.Errorf("the answer's head is larger than %d bytes", maxReplyHeader)
			}
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // after the request was written an end is no regular one
			}
			return nil, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, nil
		}
	}
	return nil, errors.New("only interim answers came")
}

// appendHead writes a request's first line and its own headers as they go over the wire.
func appendHead(b []byte, r *http.Request) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.URL.RequestURI()...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Host...)
	b = append(b, "\r\n"...)
	for name, values := range r.Header {
		for _, v := range values {
			b = append(b, name...)
			b = append(b, ": "...)
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

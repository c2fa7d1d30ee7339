package wechat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"
)

// wire makes single HTTP exchanges: over connections of its own (direct) with a client of
// NewHTTPClient, else, which is to say through a proxy or with a foreign client, over the client's
// RoundTrip. It never uses http.Client.Do, because one exchange is all that is ever wanted and Do
// adds only what does harm here: it parses the Location of a redirect before it asks whether to
// follow, puts the URL with the token into a Referer and into every error, and keeps cookies.
type wire struct {
	direct  *direct // nil: rt makes the exchanges
	rt      http.RoundTripper
	timeout time.Duration
	traced  bool // rt calls the hooks of httptrace
}

// traceHeader is as W3C writes it: in small letters.
const traceHeader = "traceparent"

// usualReplySize is the size, in bytes, of the buffer that nearly every answer fits into: it then
// costs one allocation.
const usualReplySize = 128

func newWire(hc *http.Client) wire {
	w := wire{rt: http.DefaultTransport, timeout: defaultTimeout}
	if hc != nil && hc.Transport != nil {
		w.rt = hc.Transport
	}
	if hc != nil && hc.Timeout > 0 {
		w.timeout = hc.Timeout
	}
	if s, ok := w.rt.(*directTransport); ok {
		w.direct = s.direct
	}
	_, w.traced = w.rt.(*http.Transport)
	return w
}

// answer is what came back: status and headers, and the body as far as it fits into maxReply.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	tooLong bool
}

// exchangeState is the state of one exchange: one allocation holds the hook, the body's reader and
// a buffer for a usual answer. It is not pooled: net/http may read the body after RoundTrip has
// returned.
type exchangeState struct {
	trace         httptrace.ClientTrace
	reader        bytes.Reader
	hadConn       bool         // a connection was handed out
	reused        bool         // … that had been used before
	conn          *countedConn // nil if it was not one of ours
	writtenBefore int64        // bytes written on it by earlier exchanges
	buf           [usualReplySize]byte
}

func (f *exchangeState) gotConn(info httptrace.GotConnInfo) {
	f.hadConn, f.reused = true, info.Reused
	if f.conn, _ = info.Conn.(*countedConn); f.conn != nil {
		f.writtenBefore = f.conn.written.Load()
	}
}

// maxStale is how many connections that turn out to be dead before a byte is written are replaced
// for one exchange.
const maxStale = 4

// exchange sends tmpl with a message and reads the answer, within w.timeout. When it fails, left
// tells whether a byte of the request may have left; a connection found dead before that is
// replaced here, since nothing was sent. tmpl is shared between exchanges and is not changed.
func (w *wire) exchange(
	ctx context.Context, tmpl *http.Request, m *Message,
) (a answer, left bool, err error) {
	if own, ok := ctx.Deadline(); !ok || time.Until(own) > w.timeout {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, w.timeout)
		defer cancel()
	}
	if w.direct != nil {
		return w.direct.exchange(ctx, tmpl, m, make([]byte, 0, usualReplySize))
	}
	for stale := 1; ; stale++ {
		f := new(exchangeState)
		a, err = w.roundTrip(ctx, tmpl, m, f)
		if err == nil {
			return a, true, nil
		}
		left = w.mayHaveLeft(f, err)
		if left || !f.reused || stale == maxStale || ctx.Err() != nil {
			return answer{}, left, err
		}
	}
}

func (w *wire) roundTrip(
	ctx context.Context, tmpl *http.Request, m *Message, f *exchangeState,
) (answer, error) {
	f.trace.GotConn = f.gotConn
	req := tmpl.WithContext(httptrace.WithClientTrace(ctx, &f.trace))
	if m.Traceparent != "" {
		req.Header = req.Header.Clone()
		req.Header.Set(traceHeader, m.Traceparent)
	}
	if body := m.Packet; len(body) > 0 {
		// bytes.Reader and io.NopCloser are types that net/http knows: it then sends headers and
		// body in one write. The front end of WeChat answers 412 to a body without Content-Length.
		// There is no GetBody, so that net/http never repeats the request by itself; exchange does,
		// and by the count of bytes.
		f.reader.Reset(body)
		req.Body = io.NopCloser(&f.reader)
		req.ContentLength = int64(len(body))
	}
	resp, err := w.rt.RoundTrip(req)
	if err != nil {
		return answer{}, withContext(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header}
	a.body, err = readAll(resp.Body, f.buf[:0])
	if err != nil {
		return answer{}, withContext(ctx, err)
	}
	a.tooLong = len(a.body) > maxReply
	return a, nil
}

// mayHaveLeft reports whether a byte of f's request may have left, given that the exchange failed
// with err.
func (w *wire) mayHaveLeft(f *exchangeState, err error) bool {
	switch {
	case f.conn != nil:
		return f.conn.written.Load() > f.writtenBefore
	case f.hadConn:
		return true // somebody else's connection: it cannot be known
	case w.traced:
		return false // never had a connection
	}
	var op *net.OpError
	return !errors.As(err, &op) || op.Op != "dial"
}

// withContext makes the end of ctx visible in err, which net/http reports in several ways.
func withContext(ctx context.Context, err error) error {
	if end := ctx.Err(); end != nil && !errors.Is(err, end) {
		return fmt.Errorf("%w: %w", end, err)
	}
	return err
}

// readAll reads r into buf, to the end or until more than maxReply bytes are there, whatever would
// come next: what bounds the connection below would look like an answer cut short. Reading to the
// end gives the connection back for reuse; a body that is too long costs the connection, which is
// right.
func readAll(r io.Reader, buf []byte) ([]byte, error) {
	for len(buf) <= maxReply {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), maxReply+1)])
		buf = buf[:len(buf)+n]
		switch {
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil && len(buf) <= maxReply:
			return nil, err
		}
	}
	return buf, nil
}

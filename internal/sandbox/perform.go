package sandbox

import (
	"bytes"
	"compress/gzip"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// contentType is what the real API answers with, misspelt charset included: whoever parses the
// header instead of the body should find out. Shared, so that setting it costs nothing.
var contentType = []string{"application/json; encoding=utf-8"}

// respond lets the client see the outcome. The ticket is handed back before the client can know
// that the call is over; otherwise its next call could arrive while this one still counts as in
// flight.
func (s *Sandbox) respond(w http.ResponseWriter, r *http.Request, o *outcome, t *callInFlight) {
	if o.delay > 0 && !s.pause(r.Context(), o.delay) {
		abortConnection() // the client went away, or the sandbox is being closed
	}
	if o.silent && (o.rule == nil || o.rule.Reset == "") {
		s.hang(r.Context())
	}
	w.Header()["Content-Type"] = contentType
	if o.rule == nil {
		if o.status != http.StatusOK {
			w.WriteHeader(o.status)
		}
		//nolint:gosec // G705: an answer of the API, which programs read
		_, _ = w.Write(o.body) // an error means that the client has gone: nothing to do about it
		return
	}
	o.rule.setHeaders(w.Header())
	switch rule := o.rule; {
	case rule.Reset != "":
		s.journal.done(t)
		reset(w)
	case rule.Hang:
		s.hang(r.Context())
	case rule.Raw != "":
		s.raw(w, r, o, t)
	case rule.EndlessHeader:
		s.endlessHeader(w)
	case rule.Truncate > 0:
		s.sendTruncated(w, o, min(rule.Truncate, len(o.body)-1), t)
	case rule.HangUp:
		s.sendTruncated(w, o, len(o.body), t)
	case rule.Drip > 0:
		s.drip(w, r, o)
	case rule.GzipBomb > 0:
		gzipBomb(w, o.status, rule.GzipBomb)
	case rule.PadBody > int64(len(o.body)):
		pad(w, o, rule.PadBody)
	default:
		w.WriteHeader(o.status)
		//nolint:gosec // G705: an answer of the API, which programs read
		_, _ = w.Write(o.body)
	}
}

func (r *Rule) setHeaders(h http.Header) {
	if r.ContentType != "" {
		h.Set("Content-Type", r.ContentType)
	}
	if r.RetryAfter != "" {
		h.Set("Retry-After", r.RetryAfter)
	}
	if r.Redirect != "" {
		h.Set("Location", r.Redirect)
	}
	if r.PadHeader > 0 {
		h.Set("X-Padding", strings.Repeat("x", r.PadHeader))
	}
	for name, value := range r.Headers {
		h.Set(name, value)
	}
}

// hang waits until there is nobody left to answer.
func (s *Sandbox) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-s.closing:
	}
	abortConnection()
}

// abortConnection closes a connection that net/http believes to be good. A handler that returned
// would have answered: 200 and nothing else.
func abortConnection() { panic(http.ErrAbortHandler) }

// pause waits and says whether there is still somebody to answer.
func (s *Sandbox) pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-s.closing:
		return false
	}
}

// reset closes the connection with an RST. Lingering for zero seconds is what makes the kernel send
// one instead of a FIN.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: net/http resets the stream, the nearest thing
	}
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapped.NetConn() // below TLS, which would say goodbye first
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// sendTruncated announces the whole body, sends n bytes of it and closes the connection.
func (s *Sandbox) sendTruncated(w http.ResponseWriter, o *outcome, n int, t *callInFlight) {
	w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
	w.WriteHeader(o.status)
	//nolint:gosec // G705: an answer of the API, which programs read
	_, _ = w.Write(o.body[:max(n, 0)])
	s.journal.done(t)
	_ = http.NewResponseController(w).Flush()
	abortConnection()
}

// drip sends byte after byte. The last one is left to net/http to flush, after the call has ceased
// to be in flight.
func (s *Sandbox) drip(w http.ResponseWriter, r *http.Request, o *outcome) {
	w.Header().Set("Content-Length", strconv.Itoa(len(o.body)))
	w.WriteHeader(o.status)
	for i := range o.body {
		if i > 0 {
			if http.NewResponseController(w).Flush() != nil || !s.pause(r.Context(), o.rule.Drip) {
				return
			}
		}
		//nolint:gosec // G705: an answer of the API, which programs read
		if _, err := w.Write(o.body[i : i+1]); err != nil {
			return
		}
	}
}

// pad sends the body and blanks behind it, which JSON allows, up to size bytes. It ends when the
// client has had enough.
func pad(w http.ResponseWriter, o *outcome, size int64) {
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(o.status)
	//nolint:gosec // G705: an answer of the API, which programs read
	if _, err := w.Write(o.body); err != nil {
		return
	}
	blanks := bytes.Repeat([]byte(" "), 32<<10)
	for left := size - int64(len(o.body)); left > 0; left -= int64(len(blanks)) {
		if left < int64(len(blanks)) {
			blanks = blanks[:left]
		}
		if _, err := w.Write(blanks); err != nil {
			return
		}
	}
}

// mebibyte is 1 MiB of blanks, packed. Members of a gzip stream may follow one another, so any size
// is made by repeating it.
var mebibyte = sync.OnceValue(func() []byte {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = zw.Write(bytes.Repeat([]byte(" "), 1<<20)) // into memory: cannot fail
	_ = zw.Close()
	return packed.Bytes()
})

func gzipBomb(w http.ResponseWriter, status int, size int64) {
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	for ; size > 0; size -= 1 << 20 {
		if _, err := w.Write(mebibyte()); err != nil {
			return
		}
	}
}

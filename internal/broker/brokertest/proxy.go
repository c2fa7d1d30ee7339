package brokertest

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker"
)

// Proxy is a way to a broker that can be long, or be cut, or made deaf: what the broker
// says is then lost while it hears everything.
type Proxy struct {
	t        testing.TB
	to       string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	delay   time.Duration
	cut     bool
	deaf    bool
	closed  bool
	deafAt  []byte        // what is said to the broker makes it deaf
	stalled chan struct{} // closed when what the broker says may pass again; nil while it may
	choked  chan struct{} // likewise, what it is told
	refused int
	conns   map[net.Conn]bool
}

// NewProxy opens a way to a broker; it ends with the test.
func NewProxy(t testing.TB, b *Broker) *Proxy {
	t.Helper()
	return NewProxyTo(t, strings.TrimPrefix(b.URL(), "nats://"))
}

// NewProxyTo opens a way to an address, where nothing need listen yet.
func NewProxyTo(t testing.TB, address string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &Proxy{t: t, to: address, listener: l, conns: make(map[net.Conn]bool)}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mend()
		p.mu.Unlock()
		_ = l.Close()
		p.Cut()
		p.running.Wait()
	})
	return p
}

// URL is where it listens.
func (p *Proxy) URL() string { return "nats://" + p.listener.Addr().String() }

// Refused is how many connections it has ended at once because it was cut.
func (p *Proxy) Refused() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused
}

// Connect makes a connection through the proxy that ends with the test.
func (p *Proxy) Connect() *broker.Conn {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), Patience)
	defer cancel()
	conn, err := broker.Connect(ctx, broker.Options{URL: p.URL(), Name: p.t.Name()})
	require.NoError(p.t, err)
	p.t.Cleanup(conn.Close)
	return conn
}

// Delay makes everything on connections that are made from now on take so long,
// each way.
func (p *Proxy) Delay(each time.Duration) { p.set(func() { p.delay = each }) }

// Cut ends every connection and lets none through until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		_ = c.Close()
	}
}

// Deafen loses what the broker says from now on, until the connection is made
// anew after Mend.
func (p *Proxy) Deafen() { p.set(func() { p.deaf = true }) }

// DeafenAt is Deafen as soon as the broker is told something that contains text:
// it hears that, and its answer is the first that is lost.
func (p *Proxy) DeafenAt(text string) { p.set(func() { p.deafAt = []byte(text) }) }

// Stall holds back what the broker says until Mend.
func (p *Proxy) Stall() { p.set(func() { p.stalled = make(chan struct{}) }) }

// Choke reads nothing more of what the broker is told until Mend, on the
// connections that there are and on those that come.
func (p *Proxy) Choke() { p.set(func() { p.choked = make(chan struct{}) }) }

// Mend lets connections, and what was held back, through again.
func (p *Proxy) Mend() { p.set(p.mend) }

func (p *Proxy) mend() {
	p.cut, p.deaf, p.deafAt = false, false, nil
	for _, held := range []*chan struct{}{&p.stalled, &p.choked} {
		if *held != nil {
			close(*held)
			*held = nil
		}
	}
}

func (p *Proxy) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.running.Go(func() { p.carry(near) })
	}
}

func (p *Proxy) carry(near net.Conn) {
	defer func() { _ = near.Close() }()
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	p.mu.Lock()
	if p.cut || p.closed {
		p.refused++
		p.mu.Unlock()
		return
	}
	p.conns[near], p.conns[far] = true, true
	p.mu.Unlock()
	defer p.set(func() { delete(p.conns, near); delete(p.conns, far) })

	var both sync.WaitGroup
	both.Go(func() {
		p.pass(saying{p: p, to: far}, near)
		_ = far.Close()
	})
	both.Go(func() {
		p.pass(hearing{p, near}, far)
		_ = near.Close()
	})
	both.Wait()
}

// pass carries what one side says to the other, after the delay, until one of them
// ends.
func (p *Proxy) pass(to io.Writer, from net.Conn) {
	p.mu.Lock()
	delay := p.delay
	p.mu.Unlock()
	if delay == 0 {
		_, _ = io.Copy(to, from)
		return
	}
	type parcel struct {
		due  time.Time
		data []byte
	}
	const most = 1 << 14 // parcels on their way; then the sender waits
	way := make(chan parcel, most)
	var carrying sync.WaitGroup
	carrying.Go(func() {
		ended := false
		for x := range way {
			if ended {
				continue
			}
			time.Sleep(time.Until(x.due))
			if _, err := to.Write(x.data); err != nil {
				ended = true
				_ = from.Close()
			}
		}
	})
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			way <- parcel{time.Now().Add(delay), bytes.Clone(buf[:n])}
		}
		if err != nil {
			break
		}
	}
	close(way)
	carrying.Wait()
}

// saying is the way there, on which DeafenAt listens.
type saying struct {
	p  *Proxy
	to net.Conn
}

func (s saying) Write(b []byte) (int, error) {
	s.p.mu.Lock()
	if s.p.deafAt != nil && bytes.Contains(b, s.p.deafAt) {
		s.p.deaf, s.p.deafAt = true, nil
	}
	choked := s.p.choked
	s.p.mu.Unlock()
	if choked != nil {
		<-choked
	}
	return s.to.Write(b)
}

// hearing is the way back, which Deafen closes.
type hearing struct {
	p  *Proxy
	to net.Conn
}

func (h hearing) Write(b []byte) (int, error) {
	h.p.mu.Lock()
	deaf, stalled := h.p.deaf, h.p.stalled
	h.p.mu.Unlock()
	if deaf {
		return len(b), nil
	}
	if stalled != nil {
		<-stalled
	}
	return h.to.Write(b)
}

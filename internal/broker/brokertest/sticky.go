package brokertest

import (
	"net"
	"sync"

	"github.com/nats-io/nats.go"
)

// StickyWay is a way to an embedded broker on which a write can get stuck: it
// neither succeeds nor fails, whatever deadline it has.
type StickyWay struct {
	Stuck chan struct{} // has a value for each write that got stuck

	to       nats.InProcessConnProvider
	mu       sync.Mutex
	released chan struct{} // closed when writes go on; nil while none gets stuck
}

// NewStickyWay opens one to an embedded server, for broker.Options.InProcess.
// What is stuck must be released before the connection is closed.
func NewStickyWay(to nats.InProcessConnProvider) *StickyWay {
	return &StickyWay{Stuck: make(chan struct{}, 1000), to: to}
}

// InProcessConn implements nats.InProcessConnProvider.
func (w *StickyWay) InProcessConn() (net.Conn, error) {
	c, err := w.to.InProcessConn()
	return stickyConn{c, w}, err
}

// Stick has every write get stuck from now on.
func (w *StickyWay) Stick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.released == nil {
		w.released = make(chan struct{})
	}
}

// Release lets all writes go on.
func (w *StickyWay) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.released != nil {
		close(w.released)
		w.released = nil
	}
}

type stickyConn struct {
	net.Conn
	w *StickyWay
}

func (c stickyConn) Write(b []byte) (int, error) {
	c.w.mu.Lock()
	released := c.w.released
	c.w.mu.Unlock()
	if released != nil {
		c.w.Stuck <- struct{}{}
		<-released
	}
	return c.Conn.Write(b)
}

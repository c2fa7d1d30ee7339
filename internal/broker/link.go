package broker

import (
	"net"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// writeTimeout bounds one write to the broker. nats.go holds its lock while it
	// writes, so a broker that reads no more blocks everybody who publishes. It is
	// well below the lease of a worker (12 s): a heartbeat that was due just before
	// still reaches the next connection in time.
	writeTimeout = 4 * time.Second

	dialTimeout = 2 * time.Second
)

// link is a connection that ends with its first failed write. nats.go drops
// what it could not write and goes on with the same connection when no byte of
// it was taken; a subscription among that would be lost without a word.
type link struct {
	net.Conn
	failed func(error)
}

func (l *link) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	if err != nil {
		_ = l.Close() // the reader notices, and nats.go connects anew
		l.failed(err)
	}
	return n, err
}

// dialer makes links over TCP.
type dialer struct{ c *Conn }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: dialTimeout}).Dial(network, address)
	if err != nil {
		return nil, err
	}
	return &link{conn, d.c.markDisconnected}, nil
}

// inProcess makes links to an embedded server.
type inProcess struct {
	to nats.InProcessConnProvider
	c  *Conn
}

func (p inProcess) InProcessConn() (net.Conn, error) {
	conn, err := p.to.InProcessConn()
	if err != nil {
		return nil, err
	}
	return &link{conn, p.c.markDisconnected}, nil
}

//go:build unix

package wechat

import (
	"errors"
	"net"
	"syscall"
)

// alive reports whether an idle connection may be used: nothing is to be read on it, neither an end
// nor bytes nobody asked for. A request written to a connection that the other side has closed
// would be an unknown outcome, while one found closed before costs nothing.
func alive(c net.Conn) bool {
	for {
		inner, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = inner.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true // it cannot be known
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EWOULDBLOCK)
		return true
	})
	return err == nil && quiet
}

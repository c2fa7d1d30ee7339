package brokertest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// The ports of FreeAddress lie below those that systems give to whoever asks for
// any (from 32768 on Linux, from 49152 elsewhere). Each process has a range of
// its own: the packages of one `go test` run at once.
const (
	firstPort = 12000
	ranges    = 20
	rangeSize = 1000
)

// ports is this process's range.
var ports struct {
	mu     sync.Mutex
	anchor net.Listener // on the first of them, while the process lives: the range is taken
	first  int
	given  int
}

// FreeAddress is an address of this machine where nothing listens, for a
// listener that comes later, or goes and comes back. Nobody else gets it
// meanwhile: no other test, no connection of another's, and not that of the very
// client that tries to reach the listener, which would so connect to itself.
func FreeAddress(t testing.TB) string {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	for i, begin := 0, rand.IntN(ranges); ports.anchor == nil && i < ranges; i++ {
		ports.first = firstPort + (begin+i)%ranges*rangeSize
		ports.anchor, _ = listen(ports.first) // an error: another process's
	}
	require.NotNil(t, ports.anchor, "%d processes have addresses of tests already", ranges)
	for range rangeSize {
		port := ports.first + 1 + ports.given%(rangeSize-1)
		ports.given++
		l, err := listen(port)
		if err != nil {
			// some other program's, or a test's that has not ended, after all have been given once
			continue
		}
		require.NoError(t, l.Close())
		return l.Addr().String()
	}
	require.FailNow(t, "no address is free")
	return ""
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

package brokertest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Ports of FreeAddress: below those that systems give to whoever asks for any
// (from 32768 on Linux, from 49152 elsewhere).
const firstPort, lastPort = 12000, 32000

var givenPorts sync.Map // int → true: those of this process

// FreeAddress is an address of this machine where nothing listens, for a
// listener that comes later, or goes and comes back. The port is one that the
// system gives to no connection, which could have it meanwhile: another test's,
// or that of the very client that tries to reach the listener and so connects to
// itself. Another process's test may draw the same one, once in 20,000 times.
func FreeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		l, err := net.Listen("tcp", address)
		if err != nil {
			continue // taken
		}
		require.NoError(t, l.Close())
		if _, given := givenPorts.LoadOrStore(port, true); !given {
			return address
		}
	}
	require.FailNow(t, "no address is free")
	return ""
}

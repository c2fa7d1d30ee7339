package root_test

import (
	"bufio"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

// tap is a way to the broker that notes which subjects its clients publish to.
type tap struct {
	to       string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn
	open  int // clients whose last word has not been passed on yet
	used  map[string]bool
}

// newTap opens a way to an address; it ends with the test.
func newTap(t *testing.T, to string) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &tap{to: to, listener: l, used: make(map[string]bool)}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

func (p *tap) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, near, far)
		p.open++
		p.mu.Unlock()
		p.running.Go(func() {
			_, _ = io.Copy(near, far)
			_ = near.Close()
		})
		p.running.Go(func() {
			p.listen(far, bufio.NewReader(near))
			_ = far.Close()
			p.mu.Lock()
			p.open--
			p.mu.Unlock()
		})
	}
}

// listen passes on what a client says, a line of the protocol at a time.
func (p *tap) listen(to io.Writer, from *bufio.Reader) {
	for {
		line, err := from.ReadString('\n')
		if _, failed := io.WriteString(to, line); err != nil || failed != nil {
			return
		}
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "PUB" && words[0] != "HPUB" {
			continue
		}
		p.mu.Lock()
		p.used[words[1]] = true
		p.mu.Unlock()
		size, err := strconv.ParseInt(words[len(words)-1], 10, 64)
		if err != nil {
			return
		}
		if _, err := io.CopyN(to, from, size+int64(len("\r\n"))); err != nil {
			return
		}
	}
}

// take returns the subjects that were published to since it was called last, when all clients have
// gone.
func (p *tap) take(t *testing.T) []string {
	t.Helper()
	require.Eventually(t, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.open == 0
	}, brokertest.Patience, time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	var subjects []string
	for s := range p.used {
		subjects = append(subjects, s)
	}
	clear(p.used)
	return subjects
}

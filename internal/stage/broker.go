package stage

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/broker"
)

// BrokerProcess is a broker in a process of its own, so that it can be killed:
// the test binary, run again with brokerOrder in its environment.
type BrokerProcess struct {
	s       *Stage
	address string
	cmd     *exec.Cmd
}

// brokerOrder has a process of the test binary be a broker: its value is the
// address, a space and the folder.
const brokerOrder = "KEFU_STAGE_BROKER"

// StartBroker starts a broker that workers use from now on.
func (s *Stage) StartBroker() *BrokerProcess {
	s.T.Helper()
	b := &BrokerProcess{s: s, address: s.NATS}
	b.Start()
	s.T.Cleanup(func() { b.Kill() })
	s.UseBroker("nats://" + b.address)
	return b
}

// Start starts it (again), with the same files.
func (b *BrokerProcess) Start() {
	b.s.T.Helper()
	self, err := os.Executable()
	b.s.NoError(err)
	b.cmd = exec.Command(self)
	b.cmd.Env = append(os.Environ(), brokerOrder+"="+b.address+" "+b.s.store())
	b.cmd.Stdout, b.cmd.Stderr = b.s.Output, b.s.Output
	b.s.NoError(b.cmd.Start())
	b.s.Eventually(func() bool {
		conn, err := net.DialTimeout("tcp", b.address, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, Patience, 5*time.Millisecond, "the broker does not come up: %s", deferred(b.s.Output.Tail))
}

// Kill ends it with SIGKILL.
func (b *BrokerProcess) Kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait() // its exit status says what we know
}

// beBroker is what such a process does.
func beBroker(order string) int {
	var address, dir string
	if _, err := fmt.Sscan(order, &address, &dir); err != nil {
		fmt.Fprintln(os.Stderr, brokerOrder, err)
		return 2
	}
	e, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: address, Dir: dir})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer e.Close()
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return 0
}

// Run is for TestMain: it runs the tests and removes what they built. Every
// package whose tests start brokers needs it.
func Run(m *testing.M) int {
	if order := os.Getenv(brokerOrder); order != "" {
		return beBroker(order)
	}
	defer removeBuilds()
	return m.Run()
}

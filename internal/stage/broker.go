package stage

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/kefuhq/kefu/internal/broker"
)

// BrokerProcess is a broker in a process of its own, so that it can be killed:
// the test binary, run again with brokerOrder in its environment.
type BrokerProcess struct {
	s     *Stage
	order order
	cmd   *exec.Cmd
}

// brokerOrder has a process of the test binary be a broker; its value is an
// order.
const brokerOrder = "KEFU_STAGE_BROKER"

// order says which broker a process is to be.
type order struct {
	Listen, Dir string
	Name        string   // of a node of a cluster; empty: a broker alone
	Cluster     string   // its address for the other nodes
	Routes      []string // theirs
}

// StartBroker starts a broker that workers use from now on.
func (s *Stage) StartBroker() *BrokerProcess {
	s.T.Helper()
	b := s.process(order{Listen: s.NATS, Dir: s.store()})
	s.UseBroker("nats://" + s.NATS)
	return b
}

// StartCluster starts three brokers that workers use from now on, every object
// on each of them.
func (s *Stage) StartCluster() []*BrokerProcess {
	s.T.Helper()
	const nodes = 3
	orders := make([]order, nodes)
	var urls, routes []string
	for i := range orders {
		orders[i] = order{Listen: s.FreeAddress(), Cluster: s.FreeAddress(), Name: fmt.Sprint("node", i), Dir: filepath.Join(s.store(), fmt.Sprint(i))}
		urls = append(urls, "nats://"+orders[i].Listen)
		routes = append(routes, "nats://"+orders[i].Cluster)
	}
	out := make([]*BrokerProcess, nodes)
	for i, o := range orders {
		o.Routes = routes
		out[i] = s.process(o)
	}
	s.o.NATS = append(s.o.NATS, "replicas: 3")
	s.UseBroker(strings.Join(urls, ","))
	return out
}

func (s *Stage) process(o order) *BrokerProcess {
	s.T.Helper()
	b := &BrokerProcess{s: s, order: o}
	b.Start()
	s.T.Cleanup(b.Kill)
	return b
}

// Start starts it (again), with the same files.
func (b *BrokerProcess) Start() {
	b.s.T.Helper()
	self, err := os.Executable()
	b.s.NoError(err)
	text, err := json.Marshal(b.order)
	b.s.NoError(err)
	b.cmd = exec.Command(self)
	b.cmd.Env = append(os.Environ(), brokerOrder+"="+string(text))
	b.cmd.Stdout, b.cmd.Stderr = b.s.Output, b.s.Output
	b.s.NoError(b.cmd.Start())
	b.s.Eventually(func() bool {
		conn, err := net.DialTimeout("tcp", b.order.Listen, time.Second)
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
func beBroker(text string) int {
	var o order
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		return 1
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended // or SIGKILL: nothing is left to be closed
	return 0
}

func (o order) run() error {
	if o.Name == "" {
		_, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: o.Listen, Dir: o.Dir})
		return err
	}
	client, err := net.ResolveTCPAddr("tcp", o.Listen)
	if err != nil {
		return err
	}
	cluster, err := net.ResolveTCPAddr("tcp", o.Cluster)
	if err != nil {
		return err
	}
	var routes []*url.URL
	for _, r := range o.Routes {
		u, err := url.Parse(r)
		if err != nil {
			return err
		}
		routes = append(routes, u)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: o.Name, Host: client.IP.String(), Port: client.Port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: o.Dir,
		Cluster: server.ClusterOpts{Name: "kefu", Host: cluster.IP.String(), Port: cluster.Port}, Routes: routes,
	})
	if err != nil {
		return err
	}
	s.Start()
	return nil
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

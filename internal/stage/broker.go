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
	"github.com/kefuhq/kefu/internal/broker/brokertest"
)

// BrokerProcess is a broker in a process of its own, so that it can be killed:
// the test binary, run again with brokerOrder in its environment.
type BrokerProcess struct {
	s     *Stage
	order order
	cmd   *exec.Cmd
	ways  []*brokertest.Proxy // from and to the other nodes, of a cluster that can be severed
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
	Advertise   string   // the address that others learn by hearsay; empty: the true one
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
	orders := s.cluster()
	for i := range orders {
		for _, to := range orders {
			orders[i].Routes = append(orders[i].Routes, "nats://"+to.Cluster)
		}
	}
	return s.startCluster(orders)
}

// StartSeverableCluster is StartCluster with nodes that can be cut off from the
// others.
func (s *Stage) StartSeverableCluster() []*BrokerProcess {
	s.T.Helper()
	orders := s.cluster()
	ways := make([][]*brokertest.Proxy, len(orders))
	for i := range orders {
		orders[i].Advertise = s.FreeAddress() // or they would find ways of their own
		for j, to := range orders {
			if i != j {
				way := brokertest.NewProxyTo(s.T, to.Cluster)
				orders[i].Routes = append(orders[i].Routes, way.URL())
				ways[i], ways[j] = append(ways[i], way), append(ways[j], way)
			}
		}
	}
	nodes := s.startCluster(orders)
	for i := range nodes {
		nodes[i].ways = ways[i]
	}
	return nodes
}

func (s *Stage) cluster() []order {
	s.T.Helper()
	orders := make([]order, 3)
	for i := range orders {
		orders[i] = order{Listen: s.FreeAddress(), Cluster: s.FreeAddress(),
			Name: fmt.Sprint("node", i), Dir: filepath.Join(s.store(), fmt.Sprint(i))}
	}
	return orders
}

func (s *Stage) startCluster(orders []order) []*BrokerProcess {
	s.T.Helper()
	var nodes []*BrokerProcess
	var urls []string
	for _, o := range orders {
		nodes = append(nodes, s.process(o))
		urls = append(urls, nodes[len(nodes)-1].URL())
	}
	s.o.NATS = append(s.o.NATS, "replicas: 3")
	s.UseBroker(strings.Join(urls, ","))
	return nodes
}

// URL is where it listens for clients.
func (b *BrokerProcess) URL() string { return "nats://" + b.order.Listen }

// Name is what a node of a cluster is called.
func (b *BrokerProcess) Name() string { return b.order.Name }

// Isolate cuts a node of a severable cluster off from the others. Clients reach
// all of them as before.
func (b *BrokerProcess) Isolate() {
	for _, way := range b.ways {
		way.Cut()
	}
}

// Rejoin ends Isolate.
func (b *BrokerProcess) Rejoin() {
	for _, way := range b.ways {
		way.Mend()
	}
}

// LameDuck has a node say that it is going down, and returns when it has ended.
func (b *BrokerProcess) LameDuck() {
	b.s.T.Helper()
	b.s.NoError(b.cmd.Process.Signal(syscall.SIGUSR2))
	b.s.NoError(b.cmd.Wait())
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
	var node *server.Server
	err := json.Unmarshal([]byte(text), &o)
	if err == nil {
		node, err = o.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "broker:", err)
		return 1
	}
	said := make(chan os.Signal, 1)
	signal.Notify(said, syscall.SIGTERM, syscall.SIGUSR2)
	if <-said == syscall.SIGUSR2 && node != nil {
		node.LameDuckShutdown()
	}
	return 0 // nothing is left to be closed
}

// run starts it. What it returns is nil for a broker alone.
func (o order) run() (*server.Server, error) {
	if o.Name == "" {
		_, err := broker.StartEmbedded(broker.EmbeddedOptions{Listen: o.Listen, Dir: o.Dir})
		return nil, err
	}
	client, err := net.ResolveTCPAddr("tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	cluster, err := net.ResolveTCPAddr("tcp", o.Cluster)
	if err != nil {
		return nil, err
	}
	var routes []*url.URL
	for _, r := range o.Routes {
		u, err := url.Parse(r)
		if err != nil {
			return nil, err
		}
		routes = append(routes, u)
	}
	node, err := server.NewServer(&server.Options{
		ServerName: o.Name, Host: client.IP.String(), Port: client.Port, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: o.Dir,
		Cluster: server.ClusterOpts{Name: "kefu", Host: cluster.IP.String(), Port: cluster.Port,
			Advertise: o.Advertise}, Routes: routes,
		// a client has to be gone by then
		LameDuckGracePeriod: 4 * time.Second, LameDuckDuration: 5 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	node.Start()
	return node, nil
}

// Run is for TestMain: it runs the tests and removes what they built. Every
// package whose tests start brokers needs it.
func Run(m *testing.M) int {
	if order := os.Getenv(brokerOrder); order != "" {
		return beBroker(order)
	}
	defer removeBuilds()
	brokertest.Overlap()
	return m.Run()
}

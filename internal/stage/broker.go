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

// BrokerProcess is a broker in a process of its own, so that it can be killed: the test binary, run
// again with brokerSpecEnv in its environment.
type BrokerProcess struct {
	s       *Stage
	spec    brokerSpec
	cmd     *exec.Cmd
	proxies []*brokertest.Proxy // from and to the other nodes, of a cluster that can be severed
}

// brokerSpecEnv has a process of the test binary be a broker; its value is a brokerSpec in JSON.
const brokerSpecEnv = "KEFU_STAGE_BROKER"

// brokerSpec says which broker a process is to be.
type brokerSpec struct {
	Listen, Dir string
	Name        string   // of a node of a cluster; empty: a broker alone
	Cluster     string   // its address for the other nodes
	Routes      []string // theirs
	Advertise   string   // the address that others learn by hearsay; empty: the true one
}

// StartBroker starts a broker that workers use from now on.
func (s *Stage) StartBroker() *BrokerProcess {
	s.T.Helper()
	b := s.process(brokerSpec{Listen: s.NATS, Dir: s.store()})
	s.UseBroker("nats://" + s.NATS)
	return b
}

// StartCluster starts three brokers that workers use from now on, every object on each of them.
func (s *Stage) StartCluster() []*BrokerProcess {
	s.T.Helper()
	specs := s.cluster()
	for i := range specs {
		for _, to := range specs {
			specs[i].Routes = append(specs[i].Routes, "nats://"+to.Cluster)
		}
	}
	return s.startCluster(specs)
}

// StartSeverableCluster is StartCluster with nodes that can be cut off from the others.
func (s *Stage) StartSeverableCluster() []*BrokerProcess {
	s.T.Helper()
	specs := s.cluster()
	proxies := make([][]*brokertest.Proxy, len(specs))
	for i := range specs {
		specs[i].Advertise = s.FreeAddress() // or they would connect past the proxies
		for j, to := range specs {
			if i != j {
				proxy := brokertest.NewProxyTo(s.T, to.Cluster)
				specs[i].Routes = append(specs[i].Routes, proxy.URL())
				proxies[i], proxies[j] = append(proxies[i], proxy), append(proxies[j], proxy)
			}
		}
	}
	nodes := s.startCluster(specs)
	for i := range nodes {
		nodes[i].proxies = proxies[i]
	}
	return nodes
}

func (s *Stage) cluster() []brokerSpec {
	s.T.Helper()
	specs := make([]brokerSpec, 3)
	for i := range specs {
		specs[i] = brokerSpec{Listen: s.FreeAddress(), Cluster: s.FreeAddress(),
			Name: fmt.Sprint("node", i), Dir: filepath.Join(s.store(), fmt.Sprint(i))}
	}
	return specs
}

func (s *Stage) startCluster(specs []brokerSpec) []*BrokerProcess {
	s.T.Helper()
	var nodes []*BrokerProcess
	var urls []string
	for _, o := range specs {
		nodes = append(nodes, s.process(o))
		urls = append(urls, nodes[len(nodes)-1].URL())
	}
	s.options.NATS = append(s.options.NATS, "replicas: 3")
	s.UseBroker(strings.Join(urls, ","))
	return nodes
}

// URL returns the address for clients.
func (b *BrokerProcess) URL() string { return "nats://" + b.spec.Listen }

// Name returns the name of a cluster's node.
func (b *BrokerProcess) Name() string { return b.spec.Name }

// Isolate cuts a node of a severable cluster off from the others. Clients reach all of them as
// before.
func (b *BrokerProcess) Isolate() {
	for _, proxy := range b.proxies {
		proxy.Cut()
	}
}

// Rejoin ends Isolate.
func (b *BrokerProcess) Rejoin() {
	for _, proxy := range b.proxies {
		proxy.Mend()
	}
}

// LameDuck has a node say that it is going down, and returns when it has ended.
func (b *BrokerProcess) LameDuck() {
	b.s.T.Helper()
	b.s.NoError(b.cmd.Process.Signal(syscall.SIGUSR2))
	b.s.NoError(b.cmd.Wait())
}

func (s *Stage) process(o brokerSpec) *BrokerProcess {
	s.T.Helper()
	b := &BrokerProcess{s: s, spec: o}
	b.Start()
	s.T.Cleanup(b.Kill)
	return b
}

// Start starts it (again), with the same files.
func (b *BrokerProcess) Start() {
	b.s.T.Helper()
	self, err := os.Executable()
	b.s.NoError(err)
	text, err := json.Marshal(b.spec)
	b.s.NoError(err)
	b.cmd = exec.Command(self)
	b.cmd.Env = append(os.Environ(), brokerSpecEnv+"="+string(text))
	b.cmd.Stdout, b.cmd.Stderr = b.s.Output, b.s.Output
	b.s.NoError(b.cmd.Start())
	b.s.Eventually(func() bool {
		conn, err := net.DialTimeout("tcp", b.spec.Listen, time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, Patience, 5*time.Millisecond, "the broker does not come up: %s", lazyText(b.s.Output.Tail))
}

// Kill ends it with SIGKILL.
func (b *BrokerProcess) Kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait() // its exit status says what we know
}

// runBroker runs the broker that a brokerSpec in JSON describes, and returns the exit code.
func runBroker(text string) int {
	var o brokerSpec
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
func (o brokerSpec) run() (*server.Server, error) {
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

// Run is for TestMain: it runs the tests and removes what they built. Every package whose tests
// start brokers needs it.
func Run(m *testing.M) int {
	if spec := os.Getenv(brokerSpecEnv); spec != "" {
		return runBroker(spec)
	}
	defer removeBuilds()
	brokertest.Overlap()
	return m.Run()
}

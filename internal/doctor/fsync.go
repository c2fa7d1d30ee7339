package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// syncSeen is how a nats-server writes to its disk.
type syncSeen struct {
	server   string
	always   bool
	interval time.Duration
	err      string // it does not say
}

// seeSync asks the monitoring of nats-servers. There is no other way for a client: only the system
// account may ask a server for its settings. How long a publish takes says nothing, since a sync on
// a good disk costs less than a round trip.
func seeSync(ctx context.Context, s *scene) ([]syncSeen, error) {
	if _, err := s.account(); isOff(err) {
		return nil, skipf("JetStream is off")
	}
	if len(s.Monitor) == 0 {
		if s.Config.NATS.IsEmbedded() {
			return []syncSeen{{server: "the embedded broker", always: true}}, nil
		}
		if _, err := s.broker(); err != nil {
			return nil, err
		}
		return nil, &skip{"no client can see when nats-server writes to its disk; by default a " +
			"power cut loses what was acknowledged in the last 2 minutes",
			"Look for sync_interval: always in its jetstream block, or have it asked: " +
				"--monitor http://HOST:8222"}
	}
	var seen []syncSeen
	for _, address := range s.Monitor {
		one, err := askMonitor(ctx, address)
		if err != nil {
			one = syncSeen{server: hostOf(address), err: err.Error()}
		}
		seen = append(seen, one)
	}
	return seen, nil
}

// maxMonitor bounds an answer of the monitoring, in bytes.
const maxMonitor = 4 << 20

func askMonitor(ctx context.Context, address string) (syncSeen, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	url := strings.TrimSuffix(strings.TrimSuffix(address, "/"), "/varz") + "/varz"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return syncSeen{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return syncSeen{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMonitor))
	if err != nil {
		return syncSeen{}, err
	}
	var varz struct {
		Name      string `json:"server_name"`
		JetStream struct {
			Config *struct {
				SyncAlways   bool          `json:"sync_always"`
				SyncInterval time.Duration `json:"sync_interval"`
			} `json:"config"`
		} `json:"jetstream"`
	}
	if err := json.Unmarshal(body, &varz); err != nil || varz.Name == "" {
		return syncSeen{}, fmt.Errorf("what answers at %s is no nats-server's monitoring", url)
	}
	if varz.JetStream.Config == nil {
		return syncSeen{}, fmt.Errorf("%s has no JetStream", varz.Name)
	}
	return syncSeen{server: varz.Name, always: varz.JetStream.Config.SyncAlways,
		interval: varz.JetStream.Config.SyncInterval}, nil
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	return u.Host
}

func judgeSync(servers []syncSeen) []Finding {
	var found []Finding
	var careful []string
	for _, s := range servers {
		switch {
		case s.err != "":
			found = append(found, risky(s.server+" does not say: "+s.err,
				"Give --monitor the address of its monitoring, http_port in nats-server's "+
					"configuration."))
		case s.always:
			careful = append(careful, s.server)
		default:
			found = append(found, risky(fmt.Sprintf("%s writes to its disk every %s: when the "+
				"power fails, what was acknowledged since is lost", s.server, s.interval),
				"Set sync_interval: always in nats-server's jetstream block, as "+
					"deploy/nats-server.conf does."))
		}
	}
	return or(found, "%s: each write is on disk before it is acknowledged",
		strings.Join(careful, ", "))
}

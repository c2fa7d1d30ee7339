package ops

import (
	"io"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestProbes(t *testing.T) {
	r := require.New(t)
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "kefu_seen_total", Help: "Seen."})
	reg.MustRegister(c)
	c.Inc()
	var troubles []string
	s, err := Listen("127.0.0.1:0", Handler(func() []string { return troubles }, reg))
	r.NoError(err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		resp, err := client.Get(s.URL + path)
		r.NoError(err)
		defer func() { r.NoError(resp.Body.Close()) }()
		body, err := io.ReadAll(resp.Body)
		r.NoError(err)
		return resp.StatusCode, string(body)
	}

	code, body := get("/readyz")
	r.Equal(200, code)
	r.Equal("ready\n", body)

	troubles = []string{"the broker is away", "lane bulk cannot be read"}
	code, body = get("/readyz")
	r.Equal(503, code)
	r.Equal("not ready:\n- the broker is away\n- lane bulk cannot be read\n", body)

	code, _ = get("/livez")
	r.Equal(200, code, "a broker that is away must not restart the worker")

	code, body = get("/metrics")
	r.Equal(200, code)
	r.Contains(body, "kefu_seen_total 1")

	code, _ = get("/debug/pprof/")
	r.Equal(404, code)
	r.NoError(s.Close())
}

func TestAPortInUseIsAnError(t *testing.T) {
	r := require.New(t)
	first, err := Listen("127.0.0.1:0", http.NotFoundHandler())
	r.NoError(err)
	_, err = Listen(first.URL[len("http://"):], http.NotFoundHandler())
	r.ErrorContains(err, "address already in use")
	r.NoError(first.Close())
}

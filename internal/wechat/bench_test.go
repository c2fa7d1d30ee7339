package wechat

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var benchPacket = []byte(`{"touser":"oABCD1234567890abcdefghijkl","msgtype":"text",` +
	`"text":{"content":"` + strings.Repeat("您好", 20) + `"}}`)

// BenchmarkSend measures a send beside the barest loop of net/http that does the same work ("bare":
// POSTs with http.Client.Do and compares the answer's text), in one run against servers in this
// process: in the clear, over TLS, and, which only net/http can, over HTTP/2. "ratio" is each one's
// time as a share of bare's in the clear.
func BenchmarkSend(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header()["Content-Type"] = []string{"application/json"}
		_, _ = io.WriteString(w, plainOK)
	})
	plain, secure := httptest.NewServer(handler), httptest.NewUnstartedServer(handler)
	defer plain.Close()
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	authority := filepath.Join(b.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(authority, cert, 0o600); err != nil {
		b.Fatal(err)
	}
	hc, err := NewHTTPClient(HTTPOptions{Timeout: 10 * time.Second, IdlePerHost: 256,
		CAFile: authority})
	if err != nil {
		b.Fatal(err)
	}
	defer hc.CloseIdleConnections()
	token := fixedToken(strings.Repeat("t", 136))
	ctx := context.Background()

	// As net/http likes it best: with a transport that http.Client knows.
	bare := &http.Client{Transport: hc.Transport.(*directTransport).Transport, Timeout: hc.Timeout}
	two := secure.Client()
	defer two.CloseIdleConnections()
	barely := func(hc *http.Client, base string) func() error {
		url := base + "/cgi-bin/message/custom/send?access_token=" + token.secret.Reveal()
		return func() error { return barePost(ctx, hc, url) }
	}
	send := func(base string) func() error {
		client := NewClient(hc, base, token)
		return func() error { return client.Send(ctx, benchPacket) }
	}
	ways := []struct {
		name string
		call func() error
	}{
		{"bare", barely(bare, plain.URL)},
		{"send", send(plain.URL)},
		{"bare-tls", barely(bare, secure.URL)},
		{"send-tls", send(secure.URL)},
		{"bare-http2", barely(two, secure.URL)},
	}
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(benchAtOnce)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := way.call(); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	// In turns, so that whatever else the machine does strikes all.
	b.Run("ratio", func(b *testing.B) {
		took := make([]time.Duration, len(ways))
		for b.Loop() {
			for i, way := range ways {
				took[i] += benchRound(b, way.call)
			}
		}
		for i, way := range ways[1:] {
			b.ReportMetric(took[i+1].Seconds()/took[0].Seconds(), way.name+"/bare")
		}
	})
}

const benchAtOnce = 32

// benchRound makes some thousand calls, benchAtOnce at once, and returns how long that took.
func benchRound(b *testing.B, call func() error) time.Duration {
	b.Helper()
	var wg sync.WaitGroup
	start := time.Now()
	for range benchAtOnce {
		wg.Go(func() {
			for range 100 {
				if err := call(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(start)
}

func barePost(ctx context.Context, hc *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(benchPacket))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != plainOK {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// BenchmarkCheck measures reading an answer that is not the plain ok.
func BenchmarkCheck(b *testing.B) {
	a := answer{status: 200, body: []byte(`{"errcode":45015,"errmsg":"response out of time limit ` +
		`or subscription is canceled rid: 5f7a1b2c-0a1b2c3d-1a2b3c4d"}`)}
	m := newMask(strings.Repeat("t", 136))
	b.ReportAllocs()
	for b.Loop() {
		if _, e := check(CallSend, &a, false, m); e == nil || e.Code != 45015 {
			b.Fatal(e)
		}
	}
}

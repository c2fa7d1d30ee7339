package sandbox

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// benchClientEnv makes the test binary the load of BenchmarkSend: "address count".
const benchClientEnv = "KEFU_SANDBOX_BENCH_CLIENT"

const benchConns = 64

// BenchmarkSend measures what one send costs the process that serves it: CPU time, user and system,
// as cpu-µs/send. The clients are another process, with 64 connections that each send one message
// after the other. "net/http" is a handler that reads the body and answers, to compare with.
func BenchmarkSend(b *testing.B) {
	for _, bc := range []struct {
		name    string
		handler http.Handler
	}{
		{"net/http", http.HandlerFunc(bareHandler)},
		{"default", benchSandbox(Options{})},
		{"drop bodies", benchSandbox(Options{DropBodies: true})},
		{"fast", benchSandbox(Options{Fast: true})},
		{"ten rules", benchSandbox(Options{}, tenRules()...)},
		{"latency 5 ms",
			benchSandbox(Options{Fast: true, Latency: Latency{Min: 5 * time.Millisecond}})},
	} {
		b.Run(bc.name, func(b *testing.B) {
			srv := httptest.NewServer(bc.handler)
			defer srv.Close()
			exe, err := os.Executable()
			require.NoError(b, err)
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(),
				fmt.Sprintf("%s=%s %d", benchClientEnv, srv.Listener.Addr(), b.N))
			cmd.Stderr = os.Stderr
			before := cpuTime(b)
			b.ResetTimer()
			require.NoError(b, cmd.Run())
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(b.N),
				"cpu-µs/send")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "send/s")
		})
	}
}

// BenchmarkServe is the sandbox's own part of it, without net/http and the network.
func BenchmarkServe(b *testing.B) {
	for _, bc := range []struct {
		name string
		sb   *Sandbox
	}{
		{"default", benchSandbox(Options{})},
		{"fast", benchSandbox(Options{Fast: true})},
	} {
		b.Run(bc.name, func(b *testing.B) {
			body := []byte(benchMessage(1))
			w := discardWriter{}
			r := httptest.NewRequest("POST",
				"/cgi-bin/message/custom/send?access_token=bench-token", nil)
			r.ContentLength = int64(len(body))
			reader := bytes.NewReader(body)
			r.Body = io.NopCloser(reader)
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				bc.sb.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkScanPacket(b *testing.B) {
	msg := benchMessage(1)
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if !scanPacket(msg).ok {
			b.Fatal("not accepted")
		}
	}
}

type discardWriter http.Header

func (w discardWriter) Header() http.Header         { return http.Header(w) }
func (w discardWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w discardWriter) WriteHeader(int)             {}

func benchSandbox(opts Options, rules ...Rule) *Sandbox {
	sb := New(opts)
	sb.Grant(app, "bench-token")
	for _, r := range rules {
		sb.Add(r)
	}
	return sb
}

func tenRules() (rules []Rule) {
	for i := range 10 {
		rules = append(rules, Rule{Call: CallSend, OpenID: fmt.Sprint("nobody", i), Errcode: 45015})
	}
	return rules
}

func bareHandler(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header()["Content-Type"] = contentType
	_, _ = w.Write(okBody)
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func benchMessage(i int) string {
	return message(fmt.Sprintf("oUser%023d", i),
		"亲，您的订单 202611240001 已经发货，预计明天送达，请注意查收。"+
			"点击查看物流信息：https://shop.example/o/1")
}

// benchClient sends count messages. It speaks HTTP by hand to leave the processor to the server as
// far as it can.
func benchClient(load string) {
	addr, count, _ := strings.Cut(load, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		panic(err)
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(benchConns, n) {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				panic(err)
			}
			defer func() { _ = conn.Close() }()
			br := bufio.NewReader(conn)
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				body := benchMessage(int(i % 10_000))
				_, err := fmt.Fprintf(conn,
					"POST /cgi-bin/message/custom/send?access_token=bench-token HTTP/1.1\r\n"+
						"Host: %s\r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: %d\r\n"+
						"Content-Type: application/json; charset=utf-8\r\n\r\n%s",
					addr, len(body), body)
				if err != nil {
					panic(err)
				}
				readAnswer(br)
			}
		})
	}
	wg.Wait()
}

func readAnswer(br *bufio.Reader) {
	for length := 0; ; {
		line, err := br.ReadSlice('\n')
		if err != nil {
			panic(err)
		}
		if v, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(v)))
		}
		if len(line) > 2 {
			continue
		}
		answer, err := br.Peek(length)
		if err != nil || !bytes.Contains(answer, []byte(`"errcode":0`)) {
			panic(fmt.Sprintf("%s %v", answer, err))
		}
		_, _ = br.Discard(length)
		return
	}
}

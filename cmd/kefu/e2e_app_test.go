package main_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kefuhq/kefu/internal/sandbox"
	"github.com/kefuhq/kefu/internal/stage"
	"github.com/kefuhq/kefu/schema"
)

// TestAnOperatorLooksAtAHeldAppAndProbesIt is the story of an address that is
// missing in WeChat's list.
func TestAnOperatorLooksAtAHeldAppAndProbesIt(t *testing.T) {
	t.Parallel()
	s := stage.New(t, stage.Options{})
	refused := s.API.Add(sandbox.Rule{Call: "token", Errcode: 40164,
		Errmsg: "invalid ip 203.0.113.9 ipv6 ::ffff:203.0.113.9, not in whitelist"})
	s.Start()
	receipts := s.Receipts()
	_, code := s.Kefu("app", "probe")
	s.Equal(3, code, "it is not held")
	for i := range 20 {
		s.Publish(stage.Live+fmt.Sprintf("u%d", i),
			fmt.Sprintf(`{"touser":"u%d","msgtype":"text","text":{"content":"hello"}}`, i))
	}
	s.Publish(stage.Bulk+"c", `{"touser":"u","msgtype":"text","text":{"content":"hello"}}`,
		"Kefu-Send-At", time.Now().Add(time.Hour).Format(time.RFC3339))
	s.Eventually(func() bool {
		out, _ := s.Kefu("app", "status")
		return strings.Contains(out, "203.0.113.9")
	}, stage.Patience, 100*time.Millisecond, "the address that WeChat saw is told")
	out, code := s.Kefu("app", "status", stage.App, "-o", "json")
	s.Zero(code)
	var status struct {
		State   string
		Live    struct{ Queued int }
		Workers int
		Readers []struct {
			Worker string
			Shards []int
			Queued int
		}
		Holds []struct {
			Kind, Call string
			Errcode    int
			Until      time.Time
		}
		Do string
	}
	s.NoError(json.Unmarshal([]byte(out), &status))
	s.Equal("held", status.State)
	s.Equal(20, status.Live.Queued)
	s.Equal(1, status.Workers)
	s.Len(status.Readers, 1)
	s.Equal([]int{0, 1, 2, 3}, status.Readers[0].Shards)
	s.Equal(20, status.Readers[0].Queued)
	s.Len(status.Holds, 1)
	s.Equal("config", status.Holds[0].Kind)
	s.Equal("token", status.Holds[0].Call)
	s.Equal(40164, status.Holds[0].Errcode)
	s.True(status.Holds[0].Until.After(time.Now()), "it is tried again")
	s.NotEmpty(status.Do)

	_, code = s.Kefu("app", "probe")
	s.Equal(1, code, "it is still held")
	s.Contains(s.Output.String(), "is still held: token: config: errcode 40164")
	s.Empty(s.Letters())

	s.True(s.API.Remove(refused))
	out, code = s.Kefu("app", "probe")
	s.Equal(0, code, s.Output.Tail())
	s.Contains(out, "is open again")
	for _, r := range receipts(20) {
		s.Equal(schema.StateSent, r.State)
		s.Equal(1, r.Attempts)
	}
	out, _ = s.Kefu("app", "status")
	s.Regexp(`(?m)^state +open$`, out)

	_, code = s.Kefu("app", "pause")
	s.Zero(code)
	_, code = s.Kefu("app", "probe")
	s.Equal(1, code, "an operator's hold is lifted, not tried")
	s.NoError(s.Stop(syscall.SIGTERM))
}

// TestAppsComeAndGoWithTheFile changes the configuration of a running worker.
func TestAppsComeAndGoWithTheFile(t *testing.T) {
	t.Parallel()
	const other = "wx0000000000000002"
	s := stage.New(t, stage.Options{Sandbox: sandbox.Options{Apps: map[string]string{
		stage.App: stage.CanarySecret, other: stage.CanarySecret,
	}}})
	p := s.Start()
	receipts := s.Receipts()
	text := `{"touser":"u","msgtype":"text","text":{"content":"hello"}}`
	said := func(what string) {
		t.Helper()
		s.Eventually(func() bool { return strings.Contains(s.Output.String(), what) },
			stage.Patience, 10*time.Millisecond, what)
	}

	s.Configure(fmt.Sprintf("  - {appid: %s, secret_file: %q}\n", other, s.Dir+"/secret"))
	said("configuration taken over")
	s.Publish("kefu.send."+other+".live.u", text)
	s.Equal(schema.StateSent, receipts(1)[0].State, "an app that came with the file")

	s.Configure("  - {appid: " + other + ", sekret_file: x}\n")
	said("the changed configuration is not taken over")
	s.Publish("kefu.send."+other+".live.u", text)
	s.Equal(schema.StateSent, receipts(1)[0].State, "a mistake changes nothing")

	s.Configure("")
	p.Signal(syscall.SIGHUP)
	said("app given up")
	s.Publish("kefu.send."+other+".live.u", text)
	s.Publish(stage.Live+"u", text)
	r := receipts(1)[0]
	s.Equal(stage.App, r.AppID, "the others go on")
	s.EqualValues(1, s.Stored(schema.SendStream(other)), "its queue is kept, unread")
	s.NoError(s.Stop(syscall.SIGTERM))
}

// TestAWorkerThatFailsEndsThoughNobodyReadsItsLog is the story of a supervisor that waits for the
// process before it reads the pipe.
func TestAWorkerThatFailsEndsThoughNobodyReadsItsLog(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		config func(s *stage.Stage)
		code   int
	}{
		"its configuration has a mistake": {
			func(s *stage.Stage) { s.Configure("unknown_key: 1\n") }, 2,
		},
		"its address is in use": {func(s *stage.Stage) {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			s.NoError(err)
			s.T.Cleanup(func() { _ = taken.Close() })
			s.Configure("console: {}\n")
			text, err := os.ReadFile(s.Config())
			s.NoError(err)
			listen := regexp.MustCompile(`(?m)^(worker:\n  listen: ).*$`)
			anew := listen.ReplaceAllString(string(text), "${1}"+taken.Addr().String())
			s.NoError(os.WriteFile(s.Config(), []byte(anew), 0o600))
		}, 1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := stage.New(t, stage.Options{Unread: true})
			c.config(s)
			var ended *exec.ExitError
			s.ErrorAs(s.Launch().Wait(), &ended)
			s.Equal(c.code, ended.ExitCode())
		})
	}
}

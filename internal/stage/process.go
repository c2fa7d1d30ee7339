package stage

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Process is a worker process.
type Process struct {
	s      *Stage
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // once exited is closed

	mu     sync.Mutex
	probes string
}

// Launch starts `kefu worker` and returns at once.
func (s *Stage) Launch(env ...string) *Process {
	s.T.Helper()
	p := &Process{s: s, exited: make(chan struct{}), probes: "http://" + s.probes}
	p.cmd = exec.Command(s.binary(), "worker", "--config", s.Config(), "--log-level", "debug")
	p.cmd.Env = append(os.Environ(), env...)
	read, write, err := os.Pipe()
	s.NoError(err)
	if s.options.Unread {
		s.fill(write)
	}
	p.cmd.Stdout, p.cmd.Stderr = write, write
	s.NoError(p.cmd.Start())
	s.NoError(write.Close())
	var reading sync.WaitGroup
	if !s.options.Unread {
		reading.Go(func() { p.read(read) })
	}
	go func() {
		p.err = p.cmd.Wait()
		reading.Wait()
		_ = read.Close()
		close(p.exited)
	}()
	s.T.Cleanup(p.Kill) // in case the test failed before it stopped it
	return p
}

// fill writes to a pipe until it takes no more.
func (s *Stage) fill(pipe *os.File) {
	s.T.Helper()
	raw, err := pipe.SyscallConn()
	s.NoError(err)
	s.NoError(raw.Write(func(fd uintptr) bool {
		for err == nil {
			_, err = syscall.Write(int(fd), []byte{'\n'})
		}
		return true
	}))
	s.ErrorIs(err, syscall.EAGAIN)
}

// read keeps what the process prints, and finds out where its probes are.
func (p *Process) read(r io.Reader) {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		_, _ = p.s.Output.Write([]byte(line))
		var entry struct{ Msg, URL string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "probes and metrics" {
			p.mu.Lock()
			p.probes = entry.URL
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Probes returns the URL of the process's probes and metrics, once it has said so.
func (p *Process) Probes() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.probes
}

// Readiness asks /readyz: its status (0 while nobody answers) and what it says.
func (p *Process) Readiness() (status int, says string) {
	resp, err := http.Get(p.Probes() + "/readyz")
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body) // half an answer says enough
	return resp.StatusCode, string(body)
}

// Ready waits until it takes intents.
func (p *Process) Ready() {
	p.s.T.Helper()
	var last atomic.Value
	p.s.Eventually(func() bool {
		if !p.Running() {
			return true
		}
		status, says := p.Readiness()
		last.Store(says)
		return status == http.StatusOK
	}, Patience, 20*time.Millisecond, "the worker did not get ready: %s\n%s",
		lazyText(func() string { return fmt.Sprint(last.Load()) }), lazyText(p.s.Output.Tail))
	p.s.True(p.Running(), "the worker ended:\n%s", lazyText(p.s.Output.Tail))
}

// PID returns the id of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Signal sends a signal.
func (p *Process) Signal(sig os.Signal) {
	p.s.T.Helper()
	if err := p.cmd.Process.Signal(sig); !errors.Is(err, os.ErrProcessDone) {
		p.s.NoError(err)
	}
}

// Freeze sends SIGSTOP and waits until every thread stands still, which on a busy machine is not at
// once. SIGCONT ends it.
func (p *Process) Freeze() {
	p.s.T.Helper()
	p.Signal(syscall.SIGSTOP)
	p.s.Eventually(func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		for _, t := range threads {
			stat, err := os.ReadFile(t)
			// pid (name) state …
			if at := bytes.LastIndexByte(stat, ')'); err != nil || at < 0 ||
				!bytes.HasPrefix(stat[at:], []byte(") T")) {
				return false
			}
		}
		return err == nil && len(threads) > 0
	}, Patience, time.Millisecond, "the worker does not stand still")
}

// Stop sends a signal and waits for the end; see Wait.
func (p *Process) Stop(sig os.Signal) error {
	p.s.T.Helper()
	p.Signal(sig)
	return p.Wait()
}

// Wait waits for the end: nil for exit code 0, else an *exec.ExitError.
func (p *Process) Wait() error {
	p.s.T.Helper()
	select {
	case <-p.exited:
		return p.err
	case <-time.After(Patience):
		p.s.FailNow("the worker does not end", p.s.Output.Tail())
		return nil
	}
}

// Kill ends it with SIGKILL, if it has not ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // a frozen one is not reaped
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// builds are the binaries that were made for this test process, by tags.
var builds sync.Map // string → func() (string, error)

func (s *Stage) binary() string {
	s.T.Helper()
	tags := ""
	if s.options.Crash {
		tags = "failpoints"
	}
	build, _ := builds.LoadOrStore(tags, sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "kefu-e2e-")
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, "kefu")
		out, err := exec.Command("go", "build", "-tags", tags, "-o", path,
			"github.com/kefuhq/kefu/cmd/kefu").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	}))
	path, err := build.(func() (string, error))()
	s.NoError(err)
	return path
}

func removeBuilds() {
	builds.Range(func(_, build any) bool {
		if path, err := build.(func() (string, error))(); err == nil {
			// the temporary folder's own clean-up would get it some day
			_ = os.RemoveAll(filepath.Dir(path))
		}
		return true
	})
}

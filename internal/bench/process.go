package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/procfs"
)

// Hello is the line of JSON with which a process of a run says on its standard output that it is at
// work.
type Hello struct {
	URL string `json:"url,omitempty"` // of a broker
}

const (
	// startWait is how long a process may take until it is at work: a worker of hundreds of apps
	// makes thousands of consumers first.
	startWait = 2 * time.Minute
	// stopWait is how long it may take to end; workers have a grace of 30 s.
	stopWait = 45 * time.Second
)

// process is one of those a run is made of. It ends when its standard input does, and so with this
// process, however that ends.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	said  tail // on its error stream
	hello Hello

	ended chan struct{}
	err   error // once ended is closed
}

// start runs the program with args and returns when it is at work.
func (b *Bench) start(ctx context.Context, name string, args ...string) (*process, error) {
	//nolint:gosec // G204: the caller names the program, this one
	cmd := exec.Command(b.Program, args...)
	p := &process{name: name, cmd: cmd, ended: make(chan struct{})}
	p.cmd.Env = b.Environ
	p.cmd.Stderr = &p.said
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	greeted := make(chan error, 1)
	go func() {
		lines := bufio.NewReader(stdout)
		line, err := lines.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &p.hello)
		}
		greeted <- err
		_, _ = io.Copy(io.Discard, lines) // Wait may be called when all was read
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	late := time.NewTimer(startWait)
	defer late.Stop()
	select {
	case err = <-greeted:
	case <-late.C:
		err = fmt.Errorf("not at work after %s", startWait)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		p.kill()
		if ctx.Err() != nil {
			return nil, err
		}
		return nil, p.failed(err)
	}
	return p, nil
}

func (p *process) failed(err error) error {
	if said := p.said.String(); said != "" {
		return fmt.Errorf("the %s: %w; it said:\n%s", p.name, err, said)
	}
	return fmt.Errorf("the %s: %w", p.name, err)
}

// stop has the process end by itself.
func (p *process) stop() error {
	_ = p.stdin.Close()
	late := time.NewTimer(stopWait)
	defer late.Stop()
	select {
	case <-p.ended:
	case <-late.C:
		p.kill()
		return p.failed(fmt.Errorf("did not end within %s", stopWait))
	}
	if p.err != nil {
		return p.failed(p.err)
	}
	return nil
}

func (p *process) kill() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// running reports whether the process has not ended by itself.
func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// cost is what a process has used so far.
type cost struct {
	cpu       time.Duration // user and system
	peak, now int64         // bytes of memory
}

// readCost asks /proc, to a hundredth of a second. false: there is no /proc.
func readCost(pid int) (cost, bool) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return cost{}, false
	}
	stat, err := p.Stat()
	if err != nil {
		return cost{}, false
	}
	status, err := p.NewStatus()
	if err != nil {
		return cost{}, false
	}
	return cost{
		cpu:  time.Duration(stat.CPUTime() * float64(time.Second)),
		peak: int64(status.VmHWM),
		now:  int64(status.VmRSS),
	}, true
}

// tail keeps the last lines of what is written to it.
type tail struct {
	mu    sync.Mutex
	lines []string
	rest  []byte
}

const tailLines = 20

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rest = append(t.rest, p...)
	for {
		line, rest, found := bytes.Cut(t.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		t.lines = append(t.lines, string(line))
		t.lines = t.lines[max(0, len(t.lines)-tailLines):]
		t.rest = rest
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.Join(t.lines, "\n") + "\n" + string(t.rest))
}

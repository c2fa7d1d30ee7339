//go:build browser

package browser

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// dev is a running `kefu dev`, or another command of the same configuration.
type dev struct {
	*require.Assertions
	t                  *testing.T
	dir, file          string
	console, api, nats string
}

const configuration = `
apps:
  - {appid: wx0000000000000001, name: 旗舰店, secret_file: SECRET}
  - {appid: wx0000000000000002, name: 会员服务号, secret_file: SECRET}
  - {appid: wx0000000000000003, name: Überseehandel, secret_file: SECRET}
`

const (
	app1 = "wx0000000000000001"
	app2 = "wx0000000000000002"
	app3 = "wx0000000000000003"
)

// startDev starts kefu dev on ports of its own.
func startDev(t *testing.T) *dev {
	t.Helper()
	d := &dev{Assertions: require.New(t), t: t, dir: t.TempDir()}
	secret := filepath.Join(d.dir, "secret")
	d.NoError(os.WriteFile(secret, []byte("0123456789abcdef0123456789abcdef\n"), 0o600))
	d.file = filepath.Join(d.dir, "kefu.yaml")
	d.NoError(os.WriteFile(d.file,
		[]byte(strings.ReplaceAll(configuration, "SECRET", secret)), 0o600))
	out := d.launch("dev", "--nats-listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0",
		"--probes-listen", "127.0.0.1:0", "--console-listen", "127.0.0.1:0")
	text := out.until("Ctrl-C stops it.")
	find := func(name string) string {
		m := regexp.MustCompile(`(?m)^  ` + name + `\s+(\S+://\S+)`).FindStringSubmatch(text)
		d.NotNil(m, text)
		return m[1]
	}
	d.console, d.api, d.nats = find("console"), find("API"), find("broker")
	return d
}

// output collects what a process prints.
type output struct {
	*require.Assertions
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (o *output) until(part string) string {
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		text := o.text.String()
		o.mu.Unlock()
		if strings.Contains(text, part) {
			return text
		}
		select {
		case <-o.more:
		case <-deadline:
			o.Fail("it never printed "+part, text)
		}
	}
}

// launch starts a command that runs until the test ends.
func (d *dev) launch(args ...string) *output {
	d.t.Helper()
	cmd := exec.Command(binary, append(args, "--config", d.file)...)
	cmd.Dir = d.dir
	r, w, err := os.Pipe()
	d.NoError(err)
	cmd.Stdout, cmd.Stderr = w, w
	d.NoError(cmd.Start())
	d.NoError(w.Close())
	o := &output{Assertions: d.Assertions, more: make(chan struct{}, 1)}
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadString('\n')
			o.mu.Lock()
			o.text.WriteString(line)
			o.mu.Unlock()
			select {
			case o.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	})
	d.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		timer.Stop()
		reading.Wait()
		_ = r.Close()
	})
	return o
}

// kefu runs a command and returns what it prints, whatever its exit code.
func (d *dev) kefu(args ...string) string {
	d.t.Helper()
	cmd := exec.Command(binary, append(args, "--config", d.file)...)
	cmd.Dir, cmd.Env = d.dir, append(os.Environ(), "KEFU_NATS_URL="+d.nats,
		"KEFU_WECHAT_BASE_URL="+d.api, "NO_COLOR=1", "LANG=en_US.UTF-8")
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// rule scripts the API.
func (d *dev) rule(rule map[string]any) {
	d.t.Helper()
	body, err := json.Marshal(rule)
	d.NoError(err)
	resp, err := http.Post(d.api+"/sandbox/rules", "application/json", bytes.NewReader(body))
	d.NoError(err)
	answer, err := io.ReadAll(resp.Body)
	d.NoError(err)
	d.NoError(resp.Body.Close())
	d.Less(resp.StatusCode, 300, string(answer))
}

// campaign starts a campaign to so many people, some of whom the API refuses.
func (d *dev) campaign(name string, n int, more ...string) {
	d.t.Helper()
	d.rule(map[string]any{"call": "send", "appid": app1, "share": 0.05, "errcode": 45015})
	file := filepath.Join(d.dir, name+".txt")
	var people strings.Builder
	for i := range n {
		fmt.Fprintf(&people, "person-%d\n", i)
	}
	d.NoError(os.WriteFile(file, []byte(people.String()), 0o600))
	packet := filepath.Join(d.dir, "packet.json")
	d.NoError(os.WriteFile(packet, []byte(`{"msgtype":"text","text":{"content":"春季上新"}}`), 0o600))
	out := d.kefu(append([]string{"campaign", "start", name, file, "--template", packet, "--app", app1,
		"--yes"}, more...)...)
	d.Contains(out, name)
}

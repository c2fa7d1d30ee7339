package sandbox_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kefuhq/kefu/internal/cli"
	"github.com/kefuhq/kefu/internal/cli/clitest"
	"github.com/kefuhq/kefu/internal/cli/root"
)

// startSandbox runs the command until the test ends and returns its address; stop ends it early and
// returns the exit code.
func startSandbox(t *testing.T, line string) (url string, stop func() int) {
	t.Helper()
	results, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var notes bytes.Buffer
	p := cli.Process{In: strings.NewReader(""), Out: out, Err: &notes, Search: []string{}}
	go func() {
		done <- root.Run(ctx, clitest.Args("sandbox --quiet --listen 127.0.0.1:0 "+line), p)
		_ = out.Close()
	}()
	url, err := bufio.NewReader(results).ReadString('\n')
	require.NoError(t, err)
	stop = func() int {
		cancel()
		return <-done
	}
	t.Cleanup(cancel)
	return strings.TrimSpace(url), stop
}

// post calls the sandbox and returns what it answers.
func post(t *testing.T, url, body string) map[string]any {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url,
		strings.NewReader(body))
	require.NoError(t, err)
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	var answer map[string]any
	require.NoError(t, json.NewDecoder(response.Body).Decode(&answer))
	return answer
}

func TestTheSandboxServesUntilItIsStopped(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "rules.json")
	require.NoError(t, os.WriteFile(rules, []byte(`{"call":"send","openid":"oBusy","errcode":-1}`),
		0o600))
	url, stop := startSandbox(t, "--latency 0s..1ms --token-ttl 90s --rules "+rules)

	token := post(t, url+"/cgi-bin/stable_token",
		`{"grant_type":"client_credential","appid":"wx1","secret":"any"}`)
	require.InDelta(t, 90, token["expires_in"], 0)
	send := url + "/cgi-bin/message/custom/send?access_token=" + token["access_token"].(string)
	require.InDelta(t, 0, post(t, send, clitest.GoodPacket)["errcode"], 0)
	require.InDelta(t, -1,
		post(t, send, strings.Replace(clitest.GoodPacket, "o1", "oBusy", 1))["errcode"], 0)

	require.Equal(t, cli.ExitDone, stop())
}

func TestTheSandboxIsAsStrictAsItIsTold(t *testing.T) {
	t.Parallel()
	settings := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(settings, []byte(`{"messages":{"text_bytes":5}}`), 0o600))
	apps := filepath.Join(t.TempDir(), "apps.json")
	require.NoError(t, os.WriteFile(apps, []byte(`{"wx1":"mine"}`), 0o600))
	url, stop := startSandbox(t, "--like today --apps "+apps+" --settings "+settings)

	stable := url + "/cgi-bin/stable_token"
	require.InDelta(t, 40125,
		post(t, stable,
			`{"grant_type":"client_credential","appid":"wx1","secret":"any"}`)["errcode"], 0)
	require.InDelta(t, 40013,
		post(t, stable,
			`{"grant_type":"client_credential","appid":"wx2","secret":"mine"}`)["errcode"], 0)
	token := post(t, stable, `{"grant_type":"client_credential","appid":"wx1","secret":"mine"}`)
	send := url + "/cgi-bin/message/custom/send?access_token=" + token["access_token"].(string)
	require.InDelta(t, 45015,
		post(t, send, strings.Replace(clitest.GoodPacket, "hello", "hi", 1))["errcode"], 0,
		"--like today")
	require.InDelta(t, 45002,
		post(t, send, `{"touser":"o1","msgtype":"text","text":{"content":"longer"}}`)["errcode"], 0,
		"--settings")
	require.Equal(t, cli.ExitDone, stop())
}

func TestBadSettingsAreRefusedBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	settings := filepath.Join(t.TempDir(), "settings.json")
	require.NoError(t, os.WriteFile(settings, []byte(`{"windows":5}`), 0o600))
	for line, says := range map[string]string{
		"--like tomorrow": `--like "tomorrow" is not document or today`,
		"--apps nowhere":  "--apps: open nowhere: ",
		"--apps " + settings: "--apps " + settings +
			`: not JSON such as {"wx0000000000000001": "its secret"}`,
		"--settings nowhere": "--settings: open nowhere: ",
		"--settings " + settings: "--settings " + settings +
			`: settings: json: unknown field "windows"`,
	} {
		got := clitest.Run(t, clitest.Try{Args: clitest.Args("sandbox " + line)})
		require.Equal(t, cli.ExitUsage, got.Code, line)
		require.Contains(t, got.Err, says)
	}
}

func TestTheSandboxTellsItsAddressAsJSON(t *testing.T) {
	t.Parallel()
	line, stop := startSandbox(t, "-o ndjson")
	var answer struct {
		URL   string
		Rules int
	}
	require.NoError(t, json.Unmarshal([]byte(line), &answer))
	require.True(t, strings.HasPrefix(answer.URL, "http://127.0.0.1:"))
	require.Equal(t, cli.ExitDone, stop())
}

func TestTheSandboxSaysWhatToTry(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // it starts, says so, and stops
	got := clitest.Run(t, clitest.Try{Args: clitest.Args("sandbox --listen 127.0.0.1:0"), Ctx: ctx})
	require.Equal(t, cli.ExitDone, got.Code)
	url := strings.TrimSpace(got.Out)
	require.Contains(t, got.Err, "KEFU_WECHAT_BASE_URL="+url)
	require.Contains(t, got.Err, "curl -s "+url+"/")
	require.Contains(t, got.Err, "Have 5 % of sends busy")
	require.True(t, strings.HasSuffix(got.Err, "Ctrl-C stops it.\nstopped\n"), got.Err)
}

func TestAnAddressInUseIsOneSentence(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, taken.Close()) })
	address := taken.Addr().String()
	require.Equal(t,
		clitest.Ended(cli.ExitFailed, "",
			"kefu: "+address+" is in use by another program: choose another address with --listen; port 0 picks a free one\n"),
		clitest.Run(t, clitest.Try{Args: clitest.Args("sandbox --listen " + address)}))
}

func TestBadRulesAreRefusedBeforeAnythingRuns(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		`[{"call":"send"},{"reset":"never"}]`: "rule 2: rule: reset: not unread, before or after",
		`{"cal":"send"}`:                      `unknown field "cal"`,
		`[{"call":`:                           "unexpected end of JSON input",
	} {
		path := filepath.Join(t.TempDir(), "rules.json")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		got := clitest.Run(t, clitest.Try{Args: []string{"sandbox", "--rules", path}})
		require.Equal(t, cli.ExitUsage, got.Code)
		require.Contains(t, got.Err, path)
		require.Contains(t, got.Err, says)
	}
}

func TestFilesOfTheSandboxMayBeginWithAByteOrderMark(t *testing.T) {
	t.Parallel()
	path := func(name, text string) string {
		file := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(file, []byte("\ufeff"+text), 0o600))
		return file
	}
	url, stop := startSandbox(t,
		"--rules "+path("rules.json", `{"call":"send","openid":"oBusy","errcode":-1}`)+
			" --settings "+path("settings.json", `{"messages":{"text_bytes":5}}`)+" --apps "+
			path("apps.json", `{"wx1":"mine"}`))
	token := post(t, url+"/cgi-bin/stable_token",
		`{"grant_type":"client_credential","appid":"wx1","secret":"mine"}`)
	send := url + "/cgi-bin/message/custom/send?access_token=" + token["access_token"].(string)
	require.InDelta(t, -1,
		post(t, send, strings.Replace(clitest.GoodPacket, "o1", "oBusy", 1))["errcode"], 0)
	require.InDelta(t, 45002,
		post(t, send, strings.Replace(clitest.GoodPacket, "hi", "longer", 1))["errcode"], 0)
	require.Equal(t, cli.ExitDone, stop())
}
